"""Export requests of OTLP metrics: all but times and values is written once, for samples in rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from metricsmith.wire.otlp.template import COUNT, DOUBLE, START, TIME, Hole, RequestTemplate
from metricsmith.wire.protobuf import bytes_field, varint

_WORD = bytes(8)
_CUMULATIVE = b"\x10\x02"
_MONOTONIC = b"\x18\x01"
_DATA = {
    "gauge": (5, b""),
    "sum": (7, _CUMULATIVE + _MONOTONIC),
    "histogram": (9, _CUMULATIVE),
    "summary": (11, b""),
}
"""Number of a metric's data by its kind, and what stands there beside points."""
_ENDED = {"gauge": b"\x40\x01", "sum": b"\x40\x01", "histogram": b"\x50\x01", "summary": b"\x40\x01"}
"""Flags of a point that says that its series ends: no recorded value."""


def attributes(values: Mapping[bytes, bytes], number: int) -> bytes:
    """Return attributes that are texts, as fields of that number."""
    return b"".join(
        bytes_field(number, bytes_field(1, name) + bytes_field(2, bytes_field(1, text)))
        for name, text in values.items()
    )


@dataclass(frozen=True, slots=True)
class Metric:
    """What a metric is besides its points. `kind` is gauge, sum, histogram or summary.

    `type` is what Prometheus calls it, where no kind says so.
    """

    name: bytes
    kind: str
    unit: str = ""
    help: str = ""
    type: str = ""


@dataclass(slots=True)
class _Point:
    parts: list[bytes] = field(default_factory=list)
    holes: list[Hole] = field(default_factory=list)
    size: int = 0

    def add(self, *parts: bytes) -> None:
        self.parts += parts
        self.size += sum(map(len, parts))

    def word(self, tag: bytes, kind: int, row: int, minus: int = -1) -> None:
        """Add a field of eight bytes that are filled in; `minus` is the row that is taken away."""
        self.add(tag)
        self.holes.append((kind, self.size, row, minus))
        self.add(_WORD)


class RequestBuilder:
    """Gathers the points of a request. `ended` points say that their series end."""

    def __init__(self, ended: bool = False) -> None:
        self._ended = ended
        self._resources: dict[bytes, dict[Metric, list[_Point]]] = {}

    def number(
        self, resource: bytes, metric: Metric, labels: Mapping[bytes, bytes], row: int, start: int
    ) -> None:
        """Add a point of a gauge or a sum; `start` is the row with its start in seconds, or -1."""
        point = self._point(row, start)
        point.word(b"\x21", DOUBLE, row)
        self._end(resource, metric, point, attributes(labels, 7))

    def histogram(
        self,
        resource: bytes,
        metric: Metric,
        labels: Mapping[bytes, bytes],
        bounds: Sequence[float],
        rows: Sequence[int],
        sum_row: int,
        start: int,
    ) -> None:
        """Add a point of a histogram.

        `rows` are those of its buckets, which count what is below as well, the last is that of all;
        `bounds` has one less. `sum_row` and `start` are -1 where there is none.
        """
        point = self._point(rows[-1], start)
        point.word(b"\x21", COUNT, rows[-1])
        if sum_row >= 0:
            point.word(b"\x29", DOUBLE, sum_row)
        point.add(b"\x32", varint(8 * len(rows)))
        for number, row in enumerate(rows):
            point.word(b"", COUNT, row, rows[number - 1] if number else -1)
        point.add(bytes_field(7, np.asarray(bounds, dtype="<f8").tobytes()))
        self._end(resource, metric, point, attributes(labels, 9))

    def summary(
        self,
        resource: bytes,
        metric: Metric,
        labels: Mapping[bytes, bytes],
        quantiles: Sequence[tuple[float, int]],
        count_row: int,
        sum_row: int,
        start: int,
    ) -> None:
        """Add a point of a summary: each quantile with its row."""
        point = self._point(count_row, start)
        point.word(b"\x21", COUNT, count_row)
        point.word(b"\x29", DOUBLE, sum_row)
        for quantile, row in quantiles:
            point.add(b"\x32", varint(18), b"\x09", np.float64(quantile).tobytes())
            point.word(b"\x11", DOUBLE, row)
        self._end(resource, metric, point, attributes(labels, 7))

    def build(self, scope: bytes) -> RequestTemplate:
        """Return the request; `scope` is the content of its instrumentation scope."""
        template = RequestTemplate()
        for resource, metrics in self._resources.items():
            written = [(_head(metric), metric.kind, points) for metric, points in metrics.items()]
            sizes = [_metric_size(*each) for each in written]
            own_scope = bytes_field(1, scope)
            scope_size = len(own_scope) + sum(1 + len(varint(size)) + size for size in sizes)
            own = bytes_field(1, resource)
            template.add(b"\x0a", varint(len(own) + 1 + len(varint(scope_size)) + scope_size), own)
            template.add(b"\x12", varint(scope_size), own_scope)
            for (head, kind, points), size in zip(written, sizes, strict=True):
                number, rest = _DATA[kind]
                template.add(b"\x12", varint(size), head)
                template.add(varint(number << 3 | 2), varint(_points_size(points) + len(rest)))
                for point in points:
                    template.add(b"\x0a", varint(point.size))
                    template.add_with(point.parts, point.holes)
                template.add(rest)
        return template.close()

    def _point(self, row: int, start: int) -> _Point:
        point = _Point()
        if start >= 0:
            point.word(b"\x11", START, start)
        point.word(b"\x19", TIME, row)
        return point

    def _end(self, resource: bytes, metric: Metric, point: _Point, labels: bytes) -> None:
        point.add(labels)
        if self._ended:
            point.add(_ENDED[metric.kind])
        self._resources.setdefault(resource, {}).setdefault(metric, []).append(point)


def _head(metric: Metric) -> bytes:
    parts = [bytes_field(1, metric.name)]
    parts += [bytes_field(n, t.encode()) for n, t in ((2, metric.help), (3, metric.unit)) if t]
    if metric.type:
        parts.append(attributes({b"prometheus.type": metric.type.encode()}, 12))
    return b"".join(parts)


def _points_size(points: list[_Point]) -> int:
    return sum(1 + len(varint(point.size)) + point.size for point in points)


def _metric_size(head: bytes, kind: str, points: list[_Point]) -> int:
    number, rest = _DATA[kind]
    size = _points_size(points) + len(rest)
    return len(head) + len(varint(number << 3 | 2)) + len(varint(size)) + size
