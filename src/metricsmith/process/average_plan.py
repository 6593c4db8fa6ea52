"""What belongs together in a layout: sum and count of a label set, and the buckets of a histogram."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from metricsmith.model.arrays import F64, I64, U32
from metricsmith.model.batch import Layout
from metricsmith.model.bucket_quantile import BUCKET_LABEL, bucket_bound, have_quantiles
from metricsmith.model.labels import PAIR, VALUE
from metricsmith.model.metadata import Metadata, MetricType
from metricsmith.model.series import SeriesTable
from metricsmith.model.series_state import SeriesState
from metricsmith.model.series_types import ByType
from metricsmith.process.derived import DerivedLayout
from metricsmith.process.rounds import is_one_round

_AVERAGED = (MetricType.HISTOGRAM, MetricType.SUMMARY)
_LE = BUCKET_LABEL.encode() + VALUE
_AVERAGE = b"_avg"
NO_GROUP = 1 << 32
"""Above all series ids: the group of what is no part of a histogram or summary."""


class Role(IntEnum):
    """What a sample is in its family."""

    OTHER = 0
    SUM = 1
    COUNT = 2
    BUCKET = 3
    CREATED = 4


_ROLES = {"_sum": Role.SUM, "_count": Role.COUNT, "_bucket": Role.BUCKET, "_created": Role.CREATED}


def role_of(name: str, family: str, type_: MetricType) -> Role:
    """Return what samples of a name are; the type of their family decides, a suffix alone means nothing."""
    return _ROLES.get(name[len(family) :], Role.OTHER) if type_ in _AVERAGED else Role.OTHER


def quantile_suffix(quantile: float) -> str:
    """Return the end of the name of a quantile's series.

    >>> quantile_suffix(0.95), quantile_suffix(0.999)
    ('_p95', '_p99_9')
    """
    return "_p" + f"{quantile * 100:.10g}".replace(".", "_")


@dataclass(frozen=True, slots=True)
class Histograms:
    """Histograms with the same upper bounds.

    Shapes:
        upper: (B,) ascending, the last +Inf. places: (B, H) in the layout.
        numbers: (H,) each one's place among all histograms of the layout.
    """

    upper: F64
    places: I64
    members: Layout
    numbers: I64


@dataclass(frozen=True, slots=True)
class AveragePlan:
    """What is computed out of a layout.

    Derived series stand in this order: averages, then per quantile the histograms.

    Shapes:
        groups: (P,) the average's series of each part, else NO_GROUP.
        sums, counts: (A,) places in the layout. last_places: (H,) of each histogram's highest bucket.
    """

    one_round: bool
    groups: I64
    sums: I64
    counts: I64
    averages: Layout
    histograms: Sequence[Histograms]
    last_places: I64
    derived: Layout
    output: DerivedLayout


class AveragePlanner:
    """Makes plans; what follows from labels alone is remembered per series."""

    def __init__(
        self, table: SeriesTable, known: SeriesState, kept: frozenset[Role], quantiles: Sequence[float]
    ) -> None:
        self._table, self._known, self._kept = table, known, kept
        self._suffixes = [quantile_suffix(q).encode() for q in quantiles]
        self._roles = ByType(table, role_of)

    def plan(self, layout: Layout) -> AveragePlan:
        """Return what is computed out of a layout."""
        roles = self._roles.judge(layout)
        kept = np.flatnonzero(np.isin(roles, [int(role) for role in self._kept]))
        parts = np.flatnonzero((roles == Role.SUM) | (roles == Role.COUNT) | (roles == Role.BUCKET))
        target, bound = self._remembered(layout.ids[parts], roles[parts])
        groups = np.full(len(layout), NO_GROUP, dtype=np.int64)
        groups[parts] = target
        sums, counts, average_ids = _pairs(roles[parts], parts, target)
        buckets = (roles[parts] == Role.BUCKET) & ~np.isnan(bound) & bool(self._suffixes)
        histograms, last_places, histogram_ids = _histograms(
            layout, parts[buckets], target[buckets], bound[buckets]
        )
        derived = np.concatenate(
            (average_ids, *(self._quantiles_of(histogram_ids, s) for s in self._suffixes))
        )
        metadata = self._metadata(layout.metadata)
        return AveragePlan(
            is_one_round(layout),
            groups,
            sums,
            counts,
            Layout(average_ids),
            histograms,
            last_places,
            Layout(derived),
            DerivedLayout(layout, kept, derived, metadata),
        )

    def _remembered(self, ids: U32, roles: I64) -> tuple[I64, F64]:
        """Return the average's series that each part belongs to, and the upper bounds of buckets.

        Shapes:
            ids, roles, returns: (N,)
        """
        slots = self._known.slots(Layout(ids))
        target, bound = self._known.columns["target"], self._known.columns["bound"]
        for place in np.flatnonzero(target[slots] < 0).tolist():
            suffix, slot = _SUFFIXES[Role(int(roles[place]))], slots[place]
            name, *pairs = self._table.key(int(ids[place])).split(PAIR)
            bounds = [pair.removeprefix(_LE) for pair in pairs if pair.startswith(_LE)]
            rest = [pair for pair in pairs if not pair.startswith(_LE)]
            target[slot] = self._table.intern(PAIR.join([name.removesuffix(suffix) + _AVERAGE, *rest]))
            bound[slot] = bucket_bound(bounds[0].decode()) if bounds else np.nan
        return target[slots].astype(np.int64), bound[slots]

    def _quantiles_of(self, averages: U32, suffix: bytes) -> U32:
        keys = (self._table.key(series).partition(PAIR) for series in averages.tolist())
        return self._table.intern_many(
            name.removesuffix(_AVERAGE) + suffix + mark + labels for name, mark, labels in keys
        )

    def _metadata(self, metadata: Mapping[str, Metadata]) -> dict[str, Metadata]:
        known: dict[str, Metadata] = {}
        for family, about in metadata.items():
            if about.type not in _AVERAGED:
                continue
            known[f"{family}_avg"] = Metadata(MetricType.GAUGE, about.unit, f"Average of {family}.")
            if about.type is MetricType.HISTOGRAM:
                for suffix in self._suffixes:
                    name = family + suffix.decode()
                    known[name] = Metadata(MetricType.GAUGE, about.unit, f"Quantile of {family}.")
        return known


_SUFFIXES = {role: suffix.encode() for suffix, role in _ROLES.items()}


def _pairs(roles: I64, places: I64, target: I64) -> tuple[I64, I64, U32]:
    """Return the places of sums and of the counts that go with them, and the series of the averages."""
    is_sum, is_count = roles == Role.SUM, roles == Role.COUNT
    both, of_sums, of_counts = np.intersect1d(target[is_sum], target[is_count], return_indices=True)
    order = np.argsort(of_sums)
    ids = both[order].astype(np.uint32)
    return places[is_sum][of_sums[order]], places[is_count][of_counts[order]], ids


def _histograms(layout: Layout, places: I64, target: I64, bound: F64) -> tuple[list[Histograms], I64, U32]:
    """Return histograms by their upper bounds, the places of their highest buckets, and their series."""
    order = np.lexsort((bound, target))
    starts = np.flatnonzero(np.diff(target[order], prepend=-1))
    members = np.split(order, starts[1:]) if len(starts) else []
    alike: dict[bytes, list[I64]] = {}
    for rows in members:
        if have_quantiles(bound[rows]):
            alike.setdefault(bound[rows].tobytes(), []).append(rows)
    found, last, ids, number = [], [], [], 0
    for same in alike.values():
        rows = np.stack(same, axis=1)
        cells = places[rows]
        found.append(
            Histograms(
                bound[rows[:, 0]],
                cells,
                Layout(layout.ids[cells.ravel()]),
                np.arange(number, number + len(same)),
            )
        )
        number += len(same)
        last.append(cells[-1])
        ids.append(target[rows[-1]])
    if not found:
        return [], places[:0], np.empty(0, dtype=np.uint32)
    return found, np.concatenate(last), np.concatenate(ids).astype(np.uint32)
