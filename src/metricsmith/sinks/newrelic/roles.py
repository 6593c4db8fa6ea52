"""What becomes of each series of a layout: which type of metric, and what belongs together."""

from __future__ import annotations

from enum import IntEnum

import numpy as np

from metricsmith.model.arrays import I64, Bool
from metricsmith.model.batch import Layout
from metricsmith.model.labels import PAIR
from metricsmith.model.metadata import MetricType
from metricsmith.model.series import SeriesTable
from metricsmith.model.series_types import ByType

PERCENTILES = b".percentiles"
"""Put after the name of a summary's quantiles: New Relic's own integrations name them so."""


class Role(IntEnum):
    """What a sample is in its family; what no type is known of has none."""

    UNKNOWN = 0
    GAUGE = 1
    COUNTER = 2
    SUM = 3
    COUNT = 4
    BUCKET = 5
    CREATED = 6
    QUANTILE = 7


_PARTS = {"_sum": Role.SUM, "_count": Role.COUNT, "_bucket": Role.BUCKET, "_created": Role.CREATED}


def role_of(name: str, family: str, type_: MetricType) -> Role:
    """Return what samples of a name are; the type of their family decides."""
    suffix = name[len(family) :]
    if type_ is MetricType.COUNTER:
        return Role.CREATED if suffix == "_created" else Role.COUNTER
    if type_ is MetricType.HISTOGRAM:
        return _PARTS.get(suffix, Role.GAUGE)
    if type_ is MetricType.SUMMARY:
        return _PARTS.get(suffix, Role.QUANTILE)
    return Role.GAUGE


class Plan:
    """What becomes of a layout. Points stand in the order gauges, counts, summaries.

    Shapes:
        gauges, counts, sums, counts_of_sums, skipped: places in the layout.
        counted: those of counts, then of counts of sums.
        places: (Q,) in the layout, of each point. kind: (Q,) int64.
        counters: the series whose values are remembered: of counts, of counts of sums, and of sums.
    """

    def __init__(
        self,
        layout: Layout,
        distinct: bool,
        places: tuple[I64, I64, I64, I64, I64],
        ids: tuple[np.ndarray, np.ndarray],
    ) -> None:
        """`ids` are the series of gauges and of summaries as they are sent."""
        self.distinct = distinct
        self.gauges, self.counts, self.sums, self.counts_of_sums, self.skipped = places
        self.places = np.concatenate((self.gauges, self.counts, self.sums))
        self.kind = np.repeat(np.arange(3), [len(self.gauges), len(self.counts), len(self.sums)])
        sent = np.concatenate((ids[0], layout.ids[self.counts], ids[1])).astype(np.uint32)
        self.output = Layout(sent, layout.stream, layout.metadata)
        self.counted = np.concatenate((self.counts, self.counts_of_sums))
        self.counters = Layout(layout.ids[np.concatenate((self.counted, self.sums))])
        self._mask: Bool | None = None
        self._chosen = self.output

    def subset(self, mask: Bool) -> Layout:
        """Return the layout of some points: the same object as long as they are the same."""
        if self._mask is None or not np.array_equal(mask, self._mask):
            self._mask = mask
            self._chosen = Layout(self.output.ids[mask], self.output.stream, self.output.metadata)
        return self._chosen


class Planner:
    """Makes plans."""

    def __init__(self, table: SeriesTable, buckets: bool) -> None:
        self._table, self._buckets = table, buckets
        self._roles = ByType(table, role_of)
        self._summaries: set[int] = set()

    def are_gauges(self, layout: Layout) -> Bool:
        """Return which series are sent as they are, as far as is known.

        Shapes:
            returns: (P,)
        """
        roles = self._known(layout)
        gauges: Bool = (roles == Role.GAUGE) | (roles == Role.QUANTILE)
        return gauges & ~np.isin(layout.ids, list(self._summaries))

    def plan(self, layout: Layout) -> Plan:
        """Return what becomes of a layout."""
        roles = self._known(layout)
        sums, counts_of_sums = self._pairs(layout, roles)
        alone = (roles == Role.SUM) | (roles == Role.COUNT)
        alone[sums] = alone[counts_of_sums] = False
        counted = alone | (roles == Role.COUNTER)
        skipped = roles == Role.CREATED
        if self._buckets:
            counted |= roles == Role.BUCKET
        else:
            skipped |= roles == Role.BUCKET
        gauges = np.flatnonzero((roles == Role.GAUGE) | (roles == Role.QUANTILE))
        gauge_ids = layout.ids[gauges].copy()
        for at in np.flatnonzero(roles[gauges] == Role.QUANTILE).tolist():
            gauge_ids[at] = self._named(int(gauge_ids[at]), b"", PERCENTILES)
        summary_ids = [self._named(int(series), b"_sum", b"") for series in layout.ids[sums].tolist()]
        self._summaries.update(summary_ids)
        distinct = layout.stream is not None or len(np.unique(layout.ids)) == len(layout)
        places = (gauges, np.flatnonzero(counted), sums, counts_of_sums, np.flatnonzero(skipped))
        return Plan(layout, distinct, places, (gauge_ids, np.array(summary_ids, dtype=np.uint32)))

    def _known(self, layout: Layout) -> I64:
        """Return the role of each series; without a type, the name decides whether it is a counter."""
        roles = self._roles.judge(layout)
        for place in np.flatnonzero(roles == Role.UNKNOWN).tolist():
            name = self._table.key(int(layout.ids[place])).partition(PAIR)[0]
            roles[place] = Role.COUNTER if name.endswith(b"_total") else Role.GAUGE
        return roles

    def _pairs(self, layout: Layout, roles: I64) -> tuple[I64, I64]:
        """Return the places of sums, and of the counts of the same label sets."""
        found: dict[bytes, int] = {}
        for place in np.flatnonzero(roles == Role.COUNT).tolist():
            found[self._stem(layout, place, b"_count")] = place
        sums, counts = [], []
        for place in np.flatnonzero(roles == Role.SUM).tolist():
            count = found.get(self._stem(layout, place, b"_sum"))
            if count is not None:
                sums.append(place)
                counts.append(count)
        return np.array(sums, dtype=np.int64), np.array(counts, dtype=np.int64)

    def _stem(self, layout: Layout, place: int, suffix: bytes) -> bytes:
        name, mark, labels = self._table.key(int(layout.ids[place])).partition(PAIR)
        return name.removesuffix(suffix) + mark + labels

    def _named(self, series: int, suffix: bytes, instead: bytes) -> int:
        name, mark, labels = self._table.key(series).partition(PAIR)
        return self._table.intern(name.removesuffix(suffix) + instead + mark + labels)
