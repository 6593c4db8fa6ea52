"""What a collector gives, in any of the forms that it may have, to named values."""

from __future__ import annotations

import inspect
import math
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from metricsmith.collector import Value
from metricsmith.errors import LimitExceeded, SourceError
from metricsmith.model.labels import NAME_LABEL, encode_labels
from metricsmith.model.metadata import Metadata, MetricType
from metricsmith.sources.python.limits import Limits

Name: TypeAlias = tuple[str, tuple[tuple[str, str], ...]]
"""A metric's name and its labels, sorted, none empty: equal names are equal series."""
Timed: TypeAlias = tuple[Name, float, int]
"""A sample with its own time in ms."""
MAX_NAME = 255
MAX_DEPTH = 4
MAX_TIME_S = 253_402_300_800.0
_IN_TEXT = {MetricType.COUNTER: "_total", MetricType.INFO: "_info"}
"""What the text format's name of a family has besides that of prometheus_client."""


def key_of(name: Name) -> bytes:
    """Return the canonical key of a series.

    >>> key_of(("up", (("job", "shop"),)))
    b'up\\xffjob\\xfeshop'
    """
    metric, labels = name
    return encode_labels({**dict(labels), NAME_LABEL: metric})


@dataclass(slots=True)
class Rows:
    """Samples of one collection. `timed` ones have a time of their own.

    `problems` counts what was left out, by reason; `told` has an example of each.

    Shapes:
        names, values: one per sample without a time.
    """

    names: list[Name] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    timed: list[Timed] = field(default_factory=list)
    metadata: dict[str, Metadata] = field(default_factory=dict)
    problems: Counter[str] = field(default_factory=Counter)
    told: dict[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.names) + len(self.timed)

    def problem(self, reason: str, message: str) -> None:
        """Count something that was left out."""
        self.problems[reason] += 1
        self.told.setdefault(reason, message)


class Taker:
    """Takes what one collection gives, within limits. `plain` is the name of a number that has none."""

    def __init__(self, plain: str, limits: Limits) -> None:
        self.rows = Rows()
        self._plain, self._limits = plain, limits
        self._bare = tuple(sorted((label, text) for label, text in limits.labels.items() if text))
        self._items = 0

    def take(self, item: Any, depth: int = 0) -> None:
        """Take a value, or whatever holds values.

        Raises:
            LimitExceeded: more than the collector may give at once.
            SourceError: nothing that could be a value.
        """
        if item is None:
            self._count()
        elif isinstance(item, Value):
            self._typed(item)
        elif isinstance(item, tuple) and item and isinstance(item[0], str):
            self._triple(item)
        elif isinstance(item, str | bytes):
            raise SourceError(f"got {item!r:.80}, wanted a number, (name, value, labels) or a metric")
        elif isinstance(item, Mapping):
            for name, value in item.items():
                self._add(name, value, {}, None)
        elif hasattr(item, "samples") and hasattr(item, "documentation"):
            self._family(item)
        elif isinstance(item, Iterable) and not hasattr(item, "__float__"):
            if depth >= MAX_DEPTH:
                raise SourceError(f"got lists in lists, {depth} deep, wanted values")
            for inner in item:
                self.take(inner, depth + 1)
        else:
            self._add(self._plain, item, {}, None)

    async def take_asynchronous(self, result: Any) -> None:
        """Take what comes later, as `is_asynchronous` says.

        Raises:
            LimitExceeded, SourceError: as `take`.
        """
        if isinstance(result, AsyncGenerator):
            async with aclosing(result):  # also when it gives too much
                async for item in result:
                    self.take(item, 1)
        elif isinstance(result, AsyncIterable):
            async for item in result:
                self.take(item, 1)
        else:
            self.take(await result)

    def _typed(self, item: Value) -> None:
        known = self.rows.metadata.get(str(item.name))
        if known is None or (item.help and not known.help):
            try:
                type_ = MetricType(item.type)
            except ValueError:
                type_ = MetricType.UNKNOWN
            self.rows.metadata[str(item.name)] = Metadata(type_, str(item.unit), str(item.help))
        self._add(item.name, item.value, item.labels, None)

    def _triple(self, item: tuple[Any, ...]) -> None:
        if not 2 <= len(item) <= 3:
            raise SourceError(f"got a tuple of {len(item)}, wanted (name, value) or (name, value, labels)")
        labels = item[2] if len(item) == 3 and item[2] is not None else {}
        if not isinstance(labels, Mapping):
            raise SourceError(f"{item[0]:.80}: got labels {labels!r:.80}, wanted a mapping")
        self._add(item[0], item[1], labels, None)

    def _family(self, family: Any) -> None:
        name, metadata = described(family)
        self.rows.metadata.setdefault(name, metadata)
        for sample in family.samples:
            self._add(sample.name, sample.value, sample.labels, getattr(sample, "timestamp", None))

    def _count(self) -> None:
        self._items += 1
        if self._items > self._limits.max_samples:
            wanted = f"wanted at most {self._limits.max_samples} (max_samples)"
            raise LimitExceeded(f"got more than {self._limits.max_samples} samples at once, {wanted}")

    def _add(self, name: Any, value: Any, labels: Mapping[str, Any], timestamp: Any) -> None:
        self._count()
        if value is None:
            return
        try:
            number = float(value)
            named = self._named(name, labels)
            time_ms = None if timestamp is None else _time_ms(timestamp)
        except (TypeError, ValueError, OverflowError) as error:
            reason = "encoding" if isinstance(error, UnicodeError) else "value"
            self.rows.problem(reason, f"{name!s:.80}: {error!s:.200}")
            return
        if named is None:
            return
        if time_ms is None:
            self.rows.names.append(named)
            self.rows.values.append(number)
        else:
            self.rows.timed.append((named, number, time_ms))

    def _named(self, name: Any, labels: Mapping[str, Any]) -> Name | None:
        """Return the name of a series, None with a problem when it cannot have that name."""
        limits = self._limits
        if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME:
            self.rows.problem("name", f"got {name!r:.100}, wanted a name of 1 to {MAX_NAME} characters")
            return None
        name.encode()  # what is no text is told as that
        if not labels:
            return name, self._bare
        texts = {str(label): "" if text is None else str(text) for label, text in labels.items()}
        for label, text in texts.items():
            if not label or len(label) > MAX_NAME or label == NAME_LABEL:
                self.rows.problem("label", f"{name:.80}: got a label {label!r:.80}, wanted another name")
                return None
            label.encode()
            if len(text.encode()) > limits.max_label_length:
                wanted = f"wanted at most {limits.max_label_length} bytes"
                self.rows.problem("label", f"{name:.80}: the value of {label:.80} is too long, {wanted}")
                return None
        merged = {**limits.labels, **texts}
        if len(merged) > limits.max_labels:
            wanted = f"wanted at most {limits.max_labels}"
            self.rows.problem("label", f"{name:.80}: got {len(merged)} labels, {wanted}")
            return None
        return name, tuple(sorted((label, text) for label, text in merged.items() if text))


def is_asynchronous(result: Any) -> bool:
    """Return whether what a collector returned must be waited for."""
    return inspect.isawaitable(result) or isinstance(result, AsyncIterable)


def described(family: Any) -> tuple[str, Metadata]:
    """Return the name and the metadata of a metric family of prometheus_client."""
    name = str(family.name)
    try:
        type_ = MetricType("unknown" if family.type == "untyped" else family.type)
    except ValueError:
        type_ = MetricType.UNKNOWN
    suffix = _IN_TEXT.get(type_, "")
    if suffix and not name.endswith(suffix) and not any(s.name == name for s in family.samples):
        name += suffix
    return name, Metadata(type_, str(getattr(family, "unit", "") or ""), str(family.documentation))


def merged(described: Mapping[str, Metadata], found: Mapping[str, Metadata]) -> dict[str, Metadata]:
    """Return what is known of families: what a collection says wins over what `describe()` does.

    A description has no samples, so whether its counter's end in `_total` is not known from it.
    """
    told = {_stem(name) for name in found}
    return {**{name: known for name, known in described.items() if _stem(name) not in told}, **found}


def _stem(name: str) -> str:
    return name.removesuffix("_total").removesuffix("_info")


def _time_ms(timestamp: Any) -> int:
    seconds = float(timestamp)
    if not math.isfinite(seconds) or not 0 <= seconds < MAX_TIME_S:
        raise ValueError(f"got the timestamp {timestamp!r:.40}, wanted seconds since 1970")
    return round(seconds * 1000)
