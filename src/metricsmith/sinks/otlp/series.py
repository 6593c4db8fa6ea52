"""What series are to OpenTelemetry: points of their own, or parts of a histogram or summary."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from itertools import pairwise

import numpy as np

from metricsmith.model.arrays import I64
from metricsmith.model.batch import Layout
from metricsmith.model.labels import PAIR, split_key
from metricsmith.model.metadata import Metadata, MetricType
from metricsmith.model.series import SeriesTable
from metricsmith.model.series_types import ByType, family_of
from metricsmith.sinks.otlp.units import ucum
from metricsmith.wire.otlp.encode import Metric, RequestBuilder, attributes
from metricsmith.wire.otlp.template import RequestTemplate

Labels = tuple[tuple[bytes, bytes], ...]
_GROUPED = 1 << 32
_CREATED = b"_created"
_JOB, _INSTANCE = b"job", b"instance"
_IDENTITY = {_JOB: b"service.name", _INSTANCE: b"service.instance.id"}
_SAID = {MetricType.GAUGE, MetricType.COUNTER, MetricType.HISTOGRAM, MetricType.SUMMARY}
"""Types that a kind of metric says already."""


class Role(IntEnum):
    """What a series is; of some no type was ever told."""

    UNTOLD = 0
    GAUGE = 1
    COUNTER = 2
    BUCKET = 3
    HISTOGRAM_COUNT = 4
    HISTOGRAM_SUM = 5
    QUANTILE = 6
    SUMMARY_COUNT = 7
    SUMMARY_SUM = 8
    CREATED = 9


_STEMS = {
    Role.COUNTER: b"_total", Role.BUCKET: b"_bucket", Role.HISTOGRAM_COUNT: b"_count",
    Role.HISTOGRAM_SUM: b"_sum", Role.SUMMARY_COUNT: b"_count", Role.SUMMARY_SUM: b"_sum",
    Role.CREATED: _CREATED,
}  # fmt: skip
_OWN_LABEL = {Role.BUCKET: b"le", Role.QUANTILE: b"quantile"}
_BY_SUFFIX = {
    MetricType.HISTOGRAM: {
        "_bucket": Role.BUCKET, "_count": Role.HISTOGRAM_COUNT, "_sum": Role.HISTOGRAM_SUM,
        "_created": Role.CREATED,
    },
    MetricType.SUMMARY: {
        "": Role.QUANTILE, "_count": Role.SUMMARY_COUNT, "_sum": Role.SUMMARY_SUM, "_created": Role.CREATED,
    },
    MetricType.COUNTER: {"": Role.COUNTER, "_total": Role.COUNTER, "_created": Role.CREATED},
}  # fmt: skip


def role_of(name: str, family: str, type: MetricType) -> Role:
    """Return what a series is by its name and its family."""
    return _BY_SUFFIX.get(type, {}).get(name.removeprefix(family), Role.GAUGE)


def _untold(name: str, metadata: Mapping[str, Metadata]) -> Role:
    if name.endswith("_total"):
        return Role.COUNTER
    counter = metadata.get(f"{name.removesuffix('_created')}_total") if name.endswith("_created") else None
    return Role.CREATED if counter is not None and counter.type is MetricType.COUNTER else Role.GAUGE


@dataclass(slots=True)
class _Whole:
    """Rows of what belongs together in one point."""

    parts: list[tuple[float, int]] = field(default_factory=list)
    count: int = -1
    sum: int = -1
    rows: list[int] = field(default_factory=list)


class Shapes:
    """Makes requests of layouts, with room for samples. Remembers types that were told before."""

    def __init__(self, table: SeriesTable, resource: Mapping[str, str], scope: bytes) -> None:
        self._table, self._scope = table, scope
        self._resource = {name.encode(): value.encode() for name, value in resource.items()}
        self._by_type = ByType(table, role_of)

    def roles(self, layout: Layout) -> I64:
        """Return the role of each series of a layout; without a type, the name's `_total` is a counter's.

        Shapes:
            returns: (P,)
        """
        found = self._by_type.judge(layout)
        for place in np.flatnonzero(found == Role.UNTOLD).tolist():
            name, _ = self.key(int(layout.ids[place]))
            found[place] = _untold(name.decode(), layout.metadata)
        return found

    def groups(self, layout: Layout) -> I64:
        """Return a number for each series, the same for those that may become one point.

        Shapes:
            returns: (P,)
        """
        found = layout.ids.astype(np.int64)
        for place, (series, role) in enumerate(zip(layout.ids.tolist(), self.roles(layout), strict=True)):
            name, labels = self.key(series)
            if role != Role.GAUGE or name.endswith(_CREATED):
                stem, labels = stem_of(name, labels, Role.CREATED if name.endswith(_CREATED) else Role(role))
                base = PAIR.join([stem, *(part for pair in labels for part in pair)])
                found[place] = _GROUPED + zlib.crc32(base)
        return found

    def template(self, layout: Layout, roles: I64, times: I64 | None, ended: bool = False) -> RequestTemplate:
        """Return the request of a layout's series, whose samples have one time each, or all the same.

        Shapes:
            roles: (P,). times: (P,) or None.
        """
        layer = _Layer(self, layout.metadata, RequestBuilder(ended))
        for row, (series, role) in enumerate(zip(layout.ids.tolist(), roles.tolist(), strict=True)):
            layer.add(row, series, Role(role), 0 if times is None else int(times[row]))
        return layer.finish().build(self._scope)

    def key(self, series: int) -> tuple[bytes, Labels]:
        """Return the metric name and the labels of a series."""
        name, pairs = split_key(self._table.key(series))
        return name, tuple(pairs)

    def resource(self, labels: Labels) -> tuple[bytes, dict[bytes, bytes]]:
        """Return the attributes of the resource that labels name, and the labels that are left."""
        left = dict(labels)
        own = {_IDENTITY[name]: left.pop(name) for name in _IDENTITY if name in left}
        return attributes(own | self._resource, 1), left


def stem_of(name: bytes, labels: Labels, role: Role) -> tuple[bytes, Labels]:
    """Return name and labels that the parts of one point have in common."""
    own = _OWN_LABEL.get(role)
    return name.removesuffix(_STEMS.get(role, b"")), tuple(pair for pair in labels if pair[0] != own)


class _Layer:
    """The series of one layout on their way into a request."""

    def __init__(self, shapes: Shapes, metadata: Mapping[str, Metadata], builder: RequestBuilder) -> None:
        self._shapes, self._metadata, self._builder = shapes, metadata, builder
        self._metrics: dict[tuple[bytes, str], Metric] = {}
        self._numbers: list[tuple[int, bytes, Labels, Role, tuple[bytes, Labels, int]]] = []
        self._wholes: dict[tuple[str, bytes, Labels, int], _Whole] = {}
        self._created: dict[tuple[bytes, Labels, int], int] = {}

    def add(self, row: int, series: int, role: Role, time_ms: int) -> None:
        name, labels = self._shapes.key(series)
        stem, common = stem_of(name, labels, role)
        if name.endswith(_CREATED):
            self._created[(name.removesuffix(_CREATED), labels, time_ms)] = row
        match role:
            case Role.CREATED:
                pass  # it is told as the start of others
            case Role.GAUGE | Role.COUNTER:
                self._numbers.append((row, name, labels, role, (stem, labels, time_ms)))
            case _:
                kind = "histogram" if role <= Role.HISTOGRAM_SUM else "summary"
                whole = self._wholes.setdefault((kind, stem, common, time_ms), _Whole())
                whole.rows.append(row)
                self._add_part(whole, row, role, name, labels)

    def _add_part(self, whole: _Whole, row: int, role: Role, name: bytes, labels: Labels) -> None:
        if role in _OWN_LABEL:
            try:
                bound = float(dict(labels).get(_OWN_LABEL[role], b""))
            except ValueError:
                bound = np.nan  # sent by itself, with what is left
            whole.parts.append((bound, row))
        elif role in (Role.HISTOGRAM_COUNT, Role.SUMMARY_COUNT):
            whole.count = row
        else:
            whole.sum = row
        self._numbers.append((row, name, labels, Role.GAUGE, (name, labels, 0)))

    def finish(self) -> RequestBuilder:
        """Write all, what is whole as one point each."""
        in_wholes: set[int] = set()
        for (kind, stem, common, time_ms), whole in self._wholes.items():
            start = self._created.get((stem, common, time_ms), -1)
            resource, left = self._shapes.resource(common)
            bounds = sorted(whole.parts)
            metric = self._metric(stem, kind)
            if kind == "histogram" and _is_histogram(bounds):
                self._builder.histogram(
                    resource,
                    metric,
                    left,
                    [b for b, _ in bounds[:-1]],
                    [r for _, r in bounds],
                    whole.sum,
                    start,
                )
            elif kind == "summary" and whole.count >= 0 and whole.sum >= 0 and _ascend(bounds):
                self._builder.summary(resource, metric, left, bounds, whole.count, whole.sum, start)
            else:
                continue
            in_wholes.update(whole.rows)
        for row, name, labels, role, born in self._numbers:
            if row not in in_wholes:
                resource, own = self._shapes.resource(labels)
                kind = "sum" if role is Role.COUNTER else "gauge"
                start = self._created.get(born, -1) if kind == "sum" else -1
                self._builder.number(resource, self._metric(name, kind), own, row, start)
        return self._builder

    def _metric(self, name: bytes, kind: str) -> Metric:
        found = self._metrics.get((name, kind))
        if found is None:
            text = name.decode()
            family = family_of(text, self._metadata)
            known = self._metadata[family] if family else Metadata(MetricType.GAUGE)
            said = known.type.value if kind == "gauge" and known.type not in _SAID else ""
            found = self._metrics[(name, kind)] = Metric(name, kind, ucum(text, known.unit), known.help, said)
        return found


def _is_histogram(bounds: list[tuple[float, int]]) -> bool:
    return bool(bounds) and bounds[-1][0] == np.inf and _ascend(bounds)


def _ascend(bounds: list[tuple[float, int]]) -> bool:
    numbers = [bound for bound, _ in bounds]
    return not np.isnan(numbers).any() and all(a < b for a, b in pairwise(numbers))
