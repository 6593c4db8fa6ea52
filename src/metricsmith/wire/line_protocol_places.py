"""Where InfluxDB keeps a series: its measurement, tags and field, and the series that these are again."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from metricsmith.model.labels import NAME_LABEL, encode_pairs, split_key
from metricsmith.model.matchers import Matcher, MatchOp

MAX_TEMPLATE = 200
DEFAULT_TEMPLATE = "{service}_metrics"
VALUE_FIELD = b"value"
"""The field of a series whose name is in its measurement."""
ENDED_FIELD = b"metricsmith_ended"
"""The text field that lists fields whose series ended."""
NAME = "name"
_FALLBACK = b"metrics"
_REFERENCE = re.compile(r"\{([^{}]+)\}")
_EDGES = b"_-.:/ "

Pairs = Sequence[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a series is kept; tags are sorted by name."""

    measurement: bytes
    tags: tuple[tuple[bytes, bytes], ...]
    field: bytes


class Places:
    """Places by a template of measurements, such as `{service}_metrics`; no two series share one.

    A label that is the template's only reference is not a tag besides, and
    `{name}` alone leaves the field `value`. Otherwise all labels are tags, and
    the field is the metric. Series without the label, or whose value would make
    the same measurement as theirs, are in the `fallback`: the template without
    its reference, and there the label is a tag.

    >>> Places("{service}_metrics").of(b"cpu\\xffhost\\xfea\\xffservice\\xfedb")
    Place(measurement=b'db_metrics', tags=((b'host', b'a'),), field=b'cpu')
    >>> Places("{service}_metrics").of(b"cpu").measurement, Places("{name}").of(b"cpu").field
    (b'metrics', b'value')
    """

    def __init__(self, template: str = DEFAULT_TEMPLATE) -> None:
        check_template(template)
        parts = _REFERENCE.split(template)
        self._texts = [text.encode() for text in parts[0::2]]
        self._labels = [NAME if label == NAME_LABEL else label for label in parts[1::2]]
        self._named = self._labels == [NAME]
        self._label = self._labels[0] if len(self._labels) == 1 and not self._named else ""
        self._label_bytes = self._label.encode()
        self.fallback = b"".join(self._texts).strip(_EDGES) or _FALLBACK

    def of(self, key: bytes) -> Place:
        """Return where a series is kept, by its canonical key."""
        name, pairs = split_key(key)
        if self._named:
            return Place(self._between(name), tuple(pairs), VALUE_FIELD)
        if self._label:
            value = dict(pairs).get(self._label_bytes)
            measurement = self.fallback if value is None else self._between(value)
            if measurement != self.fallback:
                pairs = [pair for pair in pairs if pair[0] != self._label_bytes]
            return Place(measurement, tuple(pairs), name)
        return Place(self._expanded(name, pairs), tuple(pairs), name)

    def key(self, measurement: bytes, tags: Iterable[tuple[bytes, bytes]], field: bytes) -> bytes | None:
        """Return the key of the series at a place, None for what is none of ours; empty tags are none."""
        pairs = [(name, value) for name, value in tags if value]
        name = self.metric(measurement, field)
        if name is None or any(label == NAME_LABEL.encode() for label, _ in pairs):
            return None
        if (told := self.told(measurement)) is not None:
            pairs = [pair for pair in pairs if pair[0] != self._label_bytes] + [told]
        elif len(self._labels) > 1 and self._expanded(name, pairs) != measurement:
            return None
        return encode_pairs(name, pairs)

    def metric(self, measurement: bytes, field: bytes) -> bytes | None:
        """Return the metric of a field, None where it is none of ours."""
        if self._named:
            return self._within(measurement) if field == VALUE_FIELD else None
        if self._label:
            ours = measurement == self.fallback or self._within(measurement) is not None
            return field if ours else None
        return field if self._labels or measurement == self._expanded(b"", ()) else None

    def is_ours(self, measurement: bytes) -> bool:
        """Return whether a measurement may have series of ours."""
        return self.metric(measurement, VALUE_FIELD) is not None

    def told(self, measurement: bytes) -> tuple[bytes, bytes] | None:
        """Return the label that a measurement tells of all its series, if it does."""
        if not self._label or measurement == self.fallback:
            return None
        value = self._within(measurement)
        return None if value is None else (self._label_bytes, value)

    def may_match(self, measurement: bytes, matchers: Sequence[Matcher]) -> bool:
        """Return whether a measurement may have series that satisfy all conditions, as far as it tells."""
        if (told := self.told(measurement)) is None:
            return True
        return all(m.matches(told[1].decode()) for m in matchers if m.name == self._label)

    def measurements(self, matchers: Sequence[Matcher]) -> list[bytes] | None:
        """Return the only measurements that can have series that satisfy all conditions; None for any."""
        label = NAME_LABEL if self._named else self._label
        if not self._labels:
            return [self._expanded(b"", ())]
        for matcher in matchers:
            if label and matcher.name == label and matcher.op is MatchOp.EQ:
                if matcher.value:
                    return [self._between(matcher.value.encode())]
                return [] if self._named else [self.fallback]
        return None

    def _between(self, text: bytes) -> bytes:
        return self._texts[0] + text + self._texts[1]

    def _within(self, measurement: bytes) -> bytes | None:
        before, after = self._texts
        inner = len(measurement) - len(before) - len(after)
        if inner < 1 or not (measurement.startswith(before) and measurement.endswith(after)):
            return None
        return measurement[len(before) : len(before) + inner]

    def _expanded(self, name: bytes, pairs: Pairs) -> bytes:
        labels = dict(pairs) | {NAME.encode(): name}
        parts = [self._texts[0]]
        for label, text in zip(self._labels, self._texts[1:], strict=True):
            parts += (labels.get(label.encode(), b""), text)
        return b"".join(parts) or self.fallback


def check_template(template: str) -> str:
    """Return a template of measurements; a ValueError says what is wrong with it."""
    wanted = f"wanted a measurement such as {DEFAULT_TEMPLATE} or {{{NAME}}}"
    if not template or len(template) > MAX_TEMPLATE or not template.isprintable():
        raise ValueError(f'got "{template[:40]}", {wanted} of at most {MAX_TEMPLATE} printable characters')
    rest = _REFERENCE.sub("", template)
    if "{" in rest or "}" in rest:
        raise ValueError(f'got "{template}" with a brace that is part of no reference, {wanted}')
    return template
