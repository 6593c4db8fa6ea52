"""Requests of OTLP to plans: resources, scopes and metrics; points are read in `points`."""

from __future__ import annotations

from dataclasses import dataclass, field

from metricsmith.errors import LimitExceeded, WireError
from metricsmith.model.metadata import Metadata, MetricType
from metricsmith.wire.otlp.attributes import check_attributes, read_attributes, read_text
from metricsmith.wire.otlp.names import metric_name, unit_name
from metricsmith.wire.otlp.plan import PlanBuilder
from metricsmith.wire.otlp.points import PointReader
from metricsmith.wire.otlp.series import KnownSeries
from metricsmith.wire.otlp.settings import OtlpSettings, Translation
from metricsmith.wire.protobuf import (
    BYTES,
    VARINT,
    bytes_field,
    expect,
    read_fields,
    read_varint,
)

_DELTA, _CUMULATIVE = 1, 2
_POINTS = 0x0A
_GAUGE, _SUM, _HISTOGRAM, _EXPONENTIAL, _SUMMARY = 5, 7, 9, 10, 11
_TYPES = {
    _GAUGE: MetricType.GAUGE,
    _SUM: MetricType.GAUGE,
    _HISTOGRAM: MetricType.HISTOGRAM,
    _SUMMARY: MetricType.SUMMARY,
}


@dataclass(slots=True)
class _Metric:
    """A Metric, its points not read yet."""

    texts: dict[int, str] = field(default_factory=lambda: {1: "", 2: "", 3: ""})
    kind: int = 0
    points: list[tuple[int, int]] = field(default_factory=list)
    temporality: int = 0
    monotonic: bool = False

    @property
    def counter(self) -> bool:
        return self.kind == _SUM and self.monotonic


class RequestReader:
    """Reads one ExportMetricsServiceRequest into the columns of a plan."""

    def __init__(
        self, data: bytes, settings: OtlpSettings, known: KnownSeries, columns: PlanBuilder, most_samples: int
    ) -> None:
        self._data, self._settings, self._known, self._columns = data, settings, known, columns
        self._most, self._parts = most_samples, 0
        self._points = PointReader(data, known, columns, most_samples)

    def read(self, end: int) -> None:
        """Read the message that ends at `end`.

        Raises:
            WireError: malformed.
            LimitExceeded: too many samples, or bytes of new labels.
        Source:
            opentelemetry-proto 1.x, `metrics_service.proto` and `metrics.proto`.
        """
        for number, kind, start, stop in read_fields(self._data, 0, end):
            if number == 1:
                expect(kind, BYTES, "ExportMetricsServiceRequest", number)
                self._resource_metrics(start, stop)

    def _resource_metrics(self, at: int, end: int) -> None:
        self._count_part()
        resource = b""
        for number, kind, start, stop in read_fields(self._data, at, end):
            if number in (1, 2):
                expect(kind, BYTES, "ResourceMetrics", number)
            if number == 1:
                resource += self._attribute_fields(start, stop)
        first = len(self._columns.ids)
        for number, _, start, stop in read_fields(self._data, at, end):
            if number == 2:
                self._scope_metrics(resource, start, stop)
        if len(self._columns.ids) > first:
            self._columns.resources.append((first, self._known.resource(resource).info))

    def _scope_metrics(self, resource: bytes, at: int, end: int) -> None:
        self._count_part()
        scope = b""
        for number, kind, start, stop in read_fields(self._data, at, end):
            if number in (1, 2, 3):
                expect(kind, BYTES, "ScopeMetrics", number)
            if number == 1:
                scope += self._data[start:stop]
            elif number == 3:
                scope += bytes_field(_SCHEMA_URL, self._data[start:stop])
        if not self._settings.promote_scope_metadata:
            scope = b""
        labels = self._scope_labels(scope)
        for number, _, start, stop in read_fields(self._data, at, end):
            if number == 2:
                self._metric(resource, scope, labels, self._read_metric(start, stop))

    def _scope_labels(self, scope: bytes) -> dict[str, str]:
        labels: dict[str, str] = {}
        attributes = b""
        for number, kind, start, stop in read_fields(scope, 0, len(scope)):
            if kind == BYTES and number in _SCOPE_TEXTS:
                labels[_SCOPE_TEXTS[number]] = read_text(scope, start, stop)
            elif kind == BYTES and number == 3:
                attributes += bytes_field(1, scope[start:stop])
        named = self._known.labels(read_attributes(attributes))
        return {**{f"otel_scope_{name}": value for name, value in named.items()}, **labels}

    def _read_metric(self, at: int, end: int) -> _Metric:
        self._count_part()
        metric = _Metric()
        for number, kind, start, stop in read_fields(self._data, at, end):
            if number in metric.texts:
                expect(kind, BYTES, "Metric", number)
                metric.texts[number] = read_text(self._data, start, stop)
            elif number in (_GAUGE, _SUM, _HISTOGRAM, _EXPONENTIAL, _SUMMARY):
                expect(kind, BYTES, "Metric", number)
                if number != metric.kind:  # one of them: the last counts
                    metric.kind, metric.points = number, []
                self._find_points(metric, start, stop)
        return metric

    def _find_points(self, metric: _Metric, at: int, end: int) -> None:
        data, add = self._data, metric.points.append
        while at < end:
            if len(metric.points) >= self._most:
                raise LimitExceeded(f"got more points of a metric than {self._most:,}")
            if data[at] == _POINTS:
                length, start = data[at + 1], at + 2
                if length >= 0x80:
                    length, start = read_varint(data, at + 1, end)
                at = start + length
                if at > end:
                    raise WireError(f"got a point of {length} bytes, where {end - start} are left")
                add((start, at))
                continue
            number, kind, start, at = next(read_fields(data, at, end), (0, 0, end, end))
            if number == 1:
                expect(kind, BYTES, "a metric's data", number)
                add((start, at))
            elif number in (2, 3) and metric.kind in (_SUM, _HISTOGRAM, _EXPONENTIAL):
                expect(kind, VARINT, "a metric's data", number)
                value = read_varint(data, start, at)[0]
                if number == 2:
                    metric.temporality = value
                else:
                    metric.monotonic = bool(value)

    def _metric(self, resource: bytes, scope: bytes, scope_labels: dict[str, str], metric: _Metric) -> None:
        columns = self._columns
        columns.points += len(metric.points)
        name, unit = self._names(metric)
        if refused := _refusal(metric, name):
            columns.reject(refused[0], len(metric.points), refused[1])
            return
        series = self._known.metric(resource, scope, name, scope_labels)
        first = len(columns.ids)
        match metric.kind:
            case 5 | 7:
                self._points.numbers(series, metric.points)
            case 9:
                self._points.histograms(series, metric.points)
            case 11:
                self._points.summaries(series, metric.points)
        if metric.kind in (_SUM, _HISTOGRAM) and metric.temporality == _DELTA:
            columns.deltas.extend(range(first, len(columns.ids)))
        type = MetricType.COUNTER if metric.counter else _TYPES[metric.kind]
        columns.metadata[name] = Metadata(type, unit, metric.texts[2])

    def _names(self, metric: _Metric) -> tuple[str, str]:
        name, unit = metric.texts[1], metric.texts[3]
        if self._settings.translation_strategy is Translation.NONE:
            return name, unit_name(unit)
        gauge = metric.kind == _GAUGE
        return metric_name(name, unit, counter=metric.counter, gauge=gauge), unit_name(unit)

    def _count_part(self) -> None:
        # An empty resource, scope or metric takes two bytes to send and microseconds to read.
        self._parts += 1
        if self._parts > self._most:
            raise LimitExceeded(f"got more resources, scopes and metrics in a request than {self._most:,}")

    def _attribute_fields(self, at: int, end: int) -> bytes:
        # The attributes of a resource, without its other fields.
        fields = []
        for number, kind, start, stop in read_fields(self._data, at, end):
            if number == 1 and kind == BYTES:
                fields.append(bytes_field(1, self._data[start:stop]))
                check_attributes(len(fields))
        return b"".join(fields)


_SCHEMA_URL = 15
_SCOPE_TEXTS = {1: "otel_scope_name", 2: "otel_scope_version", _SCHEMA_URL: "otel_scope_schema_url"}


def _refusal(metric: _Metric, name: str) -> tuple[str, str] | None:
    """Return reason and message when the points of a metric cannot be taken."""
    said = metric.texts[1][:200]
    if metric.kind == _EXPONENTIAL:
        return (
            "exponential_histogram",
            f"{said}: exponential histograms are not supported"
            " (let the sender aggregate to explicit buckets)",
        )
    if metric.kind == 0:
        return "no_data", f"{said}: a metric has no data of a kind that is known"
    if not name:
        return "no_name", f"got the metric name {said!r}, wanted one with a letter or digit"
    if metric.kind in (_SUM, _HISTOGRAM) and metric.temporality not in (_DELTA, _CUMULATIVE):
        return "temporality", f"{said}: got no temporality, wanted delta or cumulative"
    return None
