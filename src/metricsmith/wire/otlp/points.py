"""Data points of OTLP to columns of a plan: each kind of point, field by field."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field

import numpy as np

from metricsmith.errors import LimitExceeded, WireError
from metricsmith.wire.otlp.attributes import check_attributes
from metricsmith.wire.otlp.plan import Kind, PlanBuilder
from metricsmith.wire.otlp.series import KnownSeries, MetricSeries
from metricsmith.wire.protobuf import BYTES, FIXED64, VARINT, bytes_field, expect, read_fields, read_varint

_NO_VALUE = 1
_START, _TIME, _DOUBLE, _INT = 0x11, 0x19, 0x21, 0x31
_USUAL_BYTES = 18


@dataclass(slots=True)
class _Point:
    """What one point holds; offsets of numbers, 0 bytes where it has none."""

    time_at: int
    attributes: list[bytes] = field(default_factory=list)
    flags: int = 0

    @property
    def stale(self) -> bool:
        return bool(self.flags & _NO_VALUE)

    @property
    def key(self) -> bytes:
        return b"".join(bytes_field(7, content) for content in self.attributes)


class PointReader:
    """Reads the points of one request."""

    def __init__(self, data: bytes, known: KnownSeries, columns: PlanBuilder, most_samples: int) -> None:
        self._data, self._known, self._columns, self._most = data, known, columns, most_samples

    def numbers(self, metric: MetricSeries, points: list[tuple[int, int]]) -> None:
        """Read points of a gauge or a sum."""
        data, columns = self._data, self._columns
        add_id, add_value, add_time = columns.ids.append, columns.value_at.append, columns.time_at.append
        add_kind, add_slot = columns.kinds.append, columns.other_slots.append
        find = metric.known.get
        for start, stop in points:
            # Start, time and value as every sender writes them, then attributes that are known: they are
            # read from front to back, so equal bytes are the same attributes and nothing else.
            at = start + 9 if data[start] == _START else start
            if data[at] == _TIME and at + _USUAL_BYTES <= stop:
                tag = data[at + 9]
                found = find(data[at + _USUAL_BYTES : stop]) if tag in (_DOUBLE, _INT) else None
                if found is not None:
                    add_id(found[0])
                    add_value(at + 10)
                    add_time(at + 1)
                    add_kind(tag == _INT)  # of the kinds, a double is 0 and an integer 1
                    if at > start:
                        add_slot(start + 1)
                    continue
            self._number(metric, start, stop)
        self._check_count()

    def _number(self, metric: MetricSeries, at: int, end: int) -> None:
        columns = self._columns
        point = _Point(columns.zero)
        value_at, kind_of_value = -1, Kind.DOUBLE
        for number, kind, start, stop in read_fields(self._data, at, end):
            match number:
                case 4 | 6:
                    expect(kind, FIXED64, "NumberDataPoint", number)
                    value_at, kind_of_value = start, Kind.DOUBLE if number == 4 else Kind.INT
                    columns.other_slots.append(start)
                case 5:
                    self._skip_exemplar(kind, start, stop)
                case _:
                    self._common(point, number, kind, start, stop, 7, 8)
        if point.stale:
            value_at = columns.zero
        if value_at < 0:
            columns.reject("no_value", 1, f"{metric.name}: a point has neither asDouble nor asInt")
            return
        series = self._known.number(metric, point.key)
        self._add(point, series, value_at, kind_of_value)

    def histograms(self, metric: MetricSeries, points: list[tuple[int, int]]) -> None:
        """Read points of a histogram with explicit bounds."""
        for start, stop in points:
            self._histogram(metric, start, stop)
            self._check_count()

    def _histogram(self, metric: MetricSeries, at: int, end: int) -> None:
        columns, data = self._columns, self._data
        point = _Point(columns.zero)
        count_at, sum_at = columns.zero, -1
        buckets, bounds = array("q"), []
        for number, kind, start, stop in read_fields(data, at, end):
            match number:
                case 4 | 5 | 11 | 12:
                    expect(kind, FIXED64, "HistogramDataPoint", number)
                    columns.other_slots.append(start)
                    count_at = start if number == 4 else count_at
                    sum_at = start if number == 5 else sum_at
                case 6 | 7 if kind in (BYTES, FIXED64) and (stop - start) % 8 == 0:
                    if number == 6:
                        buckets.extend(range(start, stop, 8))
                    else:
                        bounds.append(data[start:stop])
                case 6 | 7:
                    raise WireError(f"got {stop - start} bytes for field {number} of HistogramDataPoint")
                case 8:
                    self._skip_exemplar(kind, start, stop)
                case _:
                    self._common(point, number, kind, start, stop, 9, 10)
        columns.other_slots.extend(buckets)
        limits = b"".join(bounds)
        if point.stale:
            buckets = array("q", [columns.zero] * (len(limits) // 8 + 1))
            count_at = sum_at = columns.zero
        wrong = _wrong_buckets(limits, len(buckets))
        if wrong:
            columns.reject("bad_buckets", 1, f"{metric.name}: {wrong}")
            return
        *series, last, count, total = self._known.histogram(metric, point.key, limits)
        first, head = len(columns.bucket_starts), len(columns.ids)
        for bucket_series, bucket_at in zip(series, buckets, strict=False):  # the last one is the count
            self._add(point, bucket_series, bucket_at, Kind.BUCKET)
            columns.bucket_starts.append(first)
        self._add(point, last, count_at, Kind.COUNT)
        self._add(point, count, count_at, Kind.COUNT)
        if sum_at >= 0:
            self._add(point, total, sum_at, Kind.DOUBLE)
        columns.tails.extend(range(head + 1, len(columns.ids)))

    def summaries(self, metric: MetricSeries, points: list[tuple[int, int]]) -> None:
        """Read points of a summary."""
        for start, stop in points:
            self._summary(metric, start, stop)
            self._check_count()

    def _summary(self, metric: MetricSeries, at: int, end: int) -> None:
        columns, data = self._columns, self._data
        point = _Point(columns.zero)
        count_at = sum_at = columns.zero
        quantiles: list[tuple[bytes, int]] = []
        for number, kind, start, stop in read_fields(data, at, end):
            match number:
                case 4 | 5:
                    expect(kind, FIXED64, "SummaryDataPoint", number)
                    columns.other_slots.append(start)
                    count_at = start if number == 4 else count_at
                    sum_at = start if number == 5 else sum_at
                case 6:
                    expect(kind, BYTES, "SummaryDataPoint", number)
                    quantiles.append(self._quantile(start, stop))
                    check_attributes(len(quantiles))
                case _:
                    self._common(point, number, kind, start, stop, 7, 8)
        key = b"".join(quantile for quantile, _ in quantiles)
        *series, count, total = self._known.summary(metric, point.key, key)
        for quantile_series, (_, value_at) in zip(series, quantiles, strict=True):
            self._add(point, quantile_series, value_at, Kind.DOUBLE)
        self._add(point, count, count_at, Kind.COUNT)
        self._add(point, total, sum_at, Kind.DOUBLE)

    def _quantile(self, at: int, end: int) -> tuple[bytes, int]:
        quantile, value_at = bytes(8), self._columns.zero
        for number, kind, start, stop in read_fields(self._data, at, end):
            if number in (1, 2):
                expect(kind, FIXED64, "ValueAtQuantile", number)
            if number == 1:
                quantile = self._data[start:stop]
            elif number == 2:
                value_at = start
                self._columns.other_slots.append(start)
        return quantile, value_at

    def _common(
        self, point: _Point, number: int, kind: int, start: int, stop: int, attributes: int, flags: int
    ) -> None:
        # Fields that all kinds of points have: start and time under the same numbers, others given.
        if number in (2, 3):
            expect(kind, FIXED64, "a data point", number)
            self._columns.other_slots.append(start)
            if number == 3:
                point.time_at = start
        elif number == attributes:
            expect(kind, BYTES, "a data point", number)
            point.attributes.append(self._data[start:stop])
            check_attributes(len(point.attributes))
        elif number == flags:
            expect(kind, VARINT, "a data point", number)
            point.flags = read_varint(self._data, start, stop)[0]

    def _add(self, point: _Point, series: int, value_at: int, kind: Kind) -> None:
        columns = self._columns
        if point.stale:
            columns.stale.append(len(columns.ids))
        columns.add(series, value_at, point.time_at, kind)

    def _skip_exemplar(self, kind: int, start: int, stop: int) -> None:
        expect(kind, BYTES, "a data point", 5)
        self._columns.exemplars += 1
        if stop > start:
            self._columns.holes.extend((start, stop))

    def _check_count(self) -> None:
        if len(self._columns.ids) > self._most:
            raise LimitExceeded(f"got more samples in a request than {self._most:,} (send fewer per request)")


def _wrong_buckets(bounds: bytes, buckets: int) -> str:
    """Return what is wrong with the buckets of a histogram; empty when nothing is."""
    limits = np.frombuffer(bounds, "<f8")
    if buckets != len(limits) + 1 and (buckets or len(limits)):
        return f"got {buckets} bucket counts and {len(limits)} bounds, wanted one count more than bounds"
    if not np.isfinite(limits).all() or (np.diff(limits) <= 0).any():
        return "got bounds that do not rise, wanted finite ones in order"
    return ""
