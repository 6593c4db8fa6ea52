"""Metric messages on a message bus: two frames, the topic `metrics.<service>` and the message's JSON.

Any program that speaks ZeroMQ reads and writes them. What JSON cannot carry, that a series has ended, is
left out; NaN and infinities are texts, as `wire.messages` reads them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import orjson

from metricsmith.model.arrays import F64, I64
from metricsmith.model.batch import Batch, Layout
from metricsmith.model.labels import NAME_LABEL, metric_name
from metricsmith.model.series import SeriesTable
from metricsmith.wire.messages import MAX_METRICS, SERVICE, format_timestamp, json_value

TOPIC_PREFIX = "metrics."
_DUMP = orjson.OPT_SERIALIZE_NUMPY
_PARTS = ("le", "quantile")
"""Labels that tell the parts of one histogram or summary apart."""


@dataclass(frozen=True, slots=True)
class _Group:
    """The series of one message: topic, key, what stands around the metrics, and where their values are."""

    topic: bytes
    key: bytes
    head: bytes
    tail: bytes
    names: tuple[str, ...]
    places: I64


class MessageEncoder:
    """Turns batches into messages; how series fall into messages is found once per layout."""

    def __init__(self, series: SeriesTable, service: str) -> None:
        """`service` is that of series without such a label."""
        self._series, self._service = series, service

    def messages(self, batch: Batch) -> Iterator[tuple[bytes, bytes]]:
        """Yield topic and JSON of the messages of a batch, one per service, tags and time."""
        for group, body in self._bodies(batch):
            yield group.topic, body

    def keyed(self, batch: Batch) -> Iterator[tuple[bytes, bytes]]:
        """Yield key and JSON of the same messages.

        The messages of a series have one key, always, and so have those of all parts of a histogram or
        summary: who takes a share of the keys can make quantiles and averages of them.
        """
        for group, body in self._bodies(batch):
            yield group.key, body

    def _bodies(self, batch: Batch) -> Iterator[tuple[_Group, bytes]]:
        groups: list[_Group] = batch.layout.derive(self, self._groups)
        for group in groups:
            if isinstance(batch.time_ms, int) and batch.stale is None:
                yield group, _message(group, group.names, batch.value[group.places], batch.time_ms)
            else:
                yield from self._apart(batch, group)

    def _apart(self, batch: Batch, group: _Group) -> Iterator[tuple[_Group, bytes]]:
        places = group.places
        kept = ~batch.stales()[places]
        times, values = batch.times()[places][kept], batch.value[places][kept]
        names = [name for name, keep in zip(group.names, kept.tolist(), strict=True) if keep]
        for time_ms in np.unique(times).tolist():
            now = np.flatnonzero(times == time_ms)
            for taken in _once_each(names, now.tolist()):
                chosen = [names[i] for i in taken]
                yield group, _message(group, chosen, values[taken], time_ms)

    def _groups(self, layout: Layout) -> list[_Group]:
        members: dict[tuple[str, tuple[tuple[str, str], ...]], list[int]] = {}
        for place, series in enumerate(layout.ids.tolist()):
            labels = self._series.labels(series)
            labels.pop(NAME_LABEL, None)
            service = labels.pop(SERVICE, self._service)
            members.setdefault((service, tuple(labels.items())), []).append(place)
        return [
            self._group(layout, service, tags, places[at : at + MAX_METRICS])
            for (service, tags), places in members.items()
            for at in range(0, len(places), MAX_METRICS)
        ]

    def _group(
        self, layout: Layout, service: str, tags: Sequence[tuple[str, str]], places: list[int]
    ) -> _Group:
        ids = layout.ids[places].tolist()
        names = tuple(metric_name(self._series.key(series)) for series in ids)
        head = b'{"service":' + orjson.dumps(service) + b',"timestamp":"'
        topic = f"{TOPIC_PREFIX}{service}".encode()
        key = topic + _tail([(name, value) for name, value in tags if name not in _PARTS])
        return _Group(topic, key, head, _tail(tags), names, np.array(places, dtype=np.int64))


def _tail(tags: Sequence[tuple[str, str]]) -> bytes:
    return (b',"tags":' + orjson.dumps(dict(tags)) if tags else b"") + b"}"


def _message(group: _Group, names: Sequence[str], values: F64, time_ms: int) -> bytes:
    metrics: dict[str, float | str] = dict(zip(names, values.tolist(), strict=True))
    if not np.isfinite(values).all():
        metrics = {name: json_value(float(value)) for name, value in metrics.items()}
    time = format_timestamp(time_ms).encode()
    return b"".join((group.head, time, b'","metrics":', orjson.dumps(metrics, option=_DUMP), group.tail))


def _once_each(names: Sequence[str], places: list[int]) -> Iterator[list[int]]:
    """Yield places such that no name comes twice: a batch without stream may repeat a series."""
    rounds: list[list[int]] = []
    met: dict[str, int] = {}
    for place in places:
        number = met.get(names[place], 0)
        met[names[place]] = number + 1
        if number == len(rounds):
            rounds.append([])
        rounds[number].append(place)
    yield from rounds


@dataclass(frozen=True, slots=True)
class TopicFilter:
    """Which topics are taken: patterns in which `*` stands for any text, dots included.

    ZeroMQ subscribes by prefix, so the part before the first wildcard is
    subscribed to, and the rest is checked here.
    """

    patterns: tuple[str, ...]

    def prefixes(self) -> list[bytes]:
        """Return what to subscribe to.

        >>> TopicFilter(("metrics.*", "a.*.b", "c")).prefixes()
        [b'a.', b'c', b'metrics.']
        """
        return sorted({pattern.partition("*")[0].encode() for pattern in self.patterns})

    def takes(self, topic: str) -> bool:
        """Return whether a topic matches one of the patterns.

        >>> TopicFilter(("metrics.*.b",)).takes("metrics.a.c.b"), TopicFilter(("a",)).takes("ab")
        (True, False)
        """
        return any(_matches(pattern.split("*"), topic) for pattern in self.patterns)


def _matches(parts: Sequence[str], topic: str) -> bool:
    first, *middle = parts
    if not middle:
        return topic == first
    if not topic.startswith(first) or len(topic) < len(first) + len(middle[-1]):
        return False
    at, end = len(first), len(topic) - len(middle[-1])
    for part in middle[:-1]:
        at = topic.find(part, at, end)
        if at < 0:
            return False
        at += len(part)
    return topic.endswith(middle[-1])
