"""A limit on series and label values: what is beyond is folded into `__overflow__`, and told."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from pydantic import Field

from metricsmith.contracts import Context, PartConfig
from metricsmith.model.arrays import F64, I64, Bool
from metricsmith.model.batch import Batch, Layout
from metricsmith.model.labels import NAME_LABEL, encode_labels
from metricsmith.model.metadata import MetricType
from metricsmith.model.series_state import SeriesState
from metricsmith.model.series_types import ByType
from metricsmith.model.settings_types import DurationMs
from metricsmith.process.choice import MAX_SELECTORS, SelectorText, SeriesChoice
from metricsmith.process.grouping import Groups, group
from metricsmith.process.overflow import OVERFLOW, Admission, Limits, Room, fold
from metricsmith.process.rounds import in_rounds, is_one_round

log = logging.getLogger(__name__)

DAY_MS = 86_400_000
ALWAYS_EXEMPT = ("le", "quantile")
"""Folding these would break the histogram or summary that they belong to."""
_SUM, _ACCUMULATE, _LARGEST = 0, 1, 2
_CUMULATIVE = (MetricType.COUNTER, MetricType.HISTOGRAM, MetricType.SUMMARY)
_STATES = (MetricType.GAUGE, MetricType.INFO, MetricType.STATESET)


class CardinalityGuardConfig(PartConfig):
    """Settings of a `cardinality_guard` processor."""

    match: tuple[SelectorText, ...] = Field(
        (), max_length=MAX_SELECTORS, description="Only series that one of these matches; default all."
    )
    series_per_metric: int = Field(
        10_000,
        ge=1,
        le=10_000_000,
        description="Most series of one metric; of a new one all labels are folded.",
    )
    values_per_label: int = Field(
        1_000, ge=1, le=10_000_000, description="Most values of one label in one metric; new ones are folded."
    )
    labels: dict[str, int] = Field(
        {},
        max_length=1000,
        description="Most values of single labels, by name, instead of `values_per_label`.",
    )
    exempt: tuple[str, ...] = Field(
        ("job", "instance"),
        max_length=1000,
        description="Labels that are never folded, beside le and quantile.",
    )
    expiry: DurationMs = Field(
        3_600_000,
        ge=1000,
        le=30 * DAY_MS,
        description="A series not seen for this time, or twice as long at most, gives its place to another.",
    )


@dataclass(frozen=True, slots=True)
class _Place:
    """What a series was admitted as."""

    admission: Admission
    key: bytes


@dataclass(frozen=True, slots=True)
class _Plan:
    """Where the samples of a layout go.

    Places of the output: first the series that go on as they are, then the groups of folded ones.

    Shapes:
        kept: (K,) places in the layout. folded: (F,) places, to which `groups` refers; kinds: (G,).
    """

    generation: int
    one_round: bool
    group_of: I64
    kept: I64
    folded: I64
    groups: Groups
    kinds: I64
    sources: Layout
    targets: Layout
    output: Layout


class CardinalityGuardProcessor:
    """Lets as many series and label values pass as there is room for, and folds those that are new beyond.

    Of folded series, counters and the parts of histograms become one that
    grows by what each of them grows; gauges become their largest, and what has
    no known type its sum. Whoever has a place keeps it while it is seen.
    """

    Config: ClassVar[type[CardinalityGuardConfig]] = CardinalityGuardConfig

    def __init__(self, config: CardinalityGuardConfig, context: Context) -> None:
        self._config, self._context = config, context
        exempt = frozenset((*ALWAYS_EXEMPT, *config.exempt))
        self._room = Room(Limits(config.series_per_metric, config.values_per_label, config.labels, exempt))
        self._choice = SeriesChoice(context.series, config.match) if config.match else None
        self._types = ByType(context.series, _kind)
        keep_s = config.expiry / 1000
        self._state = SeriesState(context.clock, keep_s, target=-1, before=np.nan)
        self._totals = SeriesState(context.clock, keep_s, total=0)
        self._admitted: dict[int, _Place] = {}

    def process(self, batch: Batch) -> Batch | None:
        self._release()
        cell = batch.layout.derive(self, lambda layout: [self._plan(layout)])
        if cell[0].generation != self._state.generation:
            cell[0] = self._plan(batch.layout)
        plan = cell[0]
        self._state.slots(batch.layout)
        if not len(plan.folded):
            return batch
        self._context.telemetry.count(
            "metricsmith_samples_folded_total", len(plan.folded), component=self._context.name
        )
        if plan.one_round:
            return self._round(batch, plan)
        return in_rounds(
            batch,
            plan.group_of,
            plan.folded,
            plan.kept,
            lambda part: self._round(part, self._plan(part.layout)),
        )

    def _release(self) -> None:
        self._totals.release()
        table = self._context.series
        for series in self._state.release().tolist():
            if series in self._admitted:
                place = self._admitted.pop(series)
                self._room.leave(table.labels(series), place.admission, place.key)

    def _plan(self, layout: Layout) -> _Plan:
        targets = self._targets(layout)
        is_folded = targets != layout.ids
        # A series that is called like an overflow belongs to it.
        is_folded |= np.isin(targets, targets[is_folded])
        kept, folded = np.flatnonzero(~is_folded), np.flatnonzero(is_folded)
        ids, groups = group(targets[folded])
        kinds = self._types.judge(layout)[folded][groups.order[groups.starts]]
        output = np.concatenate((layout.ids[kept], ids.astype(np.uint32)))
        return _Plan(
            self._state.generation,
            is_one_round(layout),
            targets,
            kept,
            folded,
            groups,
            kinds,
            Layout(layout.ids[folded]),
            Layout(ids.astype(np.uint32)),
            Layout(output, layout.stream, layout.metadata),
        )

    def _targets(self, layout: Layout) -> I64:
        """Return the series that each becomes; new ones are given a place, or folded.

        Shapes:
            returns: (P,)
        """
        slots, target = self._state.slots(layout), self._state.columns["target"]
        new = np.flatnonzero(target[slots] < 0)
        chosen = np.ones(len(new), dtype=np.bool_)
        if self._choice is not None:
            chosen = self._choice.mask(layout.ids[new])
        for place, guarded in zip(new.tolist(), chosen.tolist(), strict=True):
            series = int(layout.ids[place])
            if not guarded:
                target[slots[place]] = series
            elif series not in self._admitted:  # else it is in the batch twice
                target[slots[place]] = self._admit(series)
        return target[slots].astype(np.int64)

    def _admit(self, series: int) -> int:
        labels = self._context.series.labels(series)
        admission = self._room.by_values(labels)
        if not self._room.has_room(labels, _key(labels, admission)):
            admission = self._room.all_folded(labels)
        place = self._admitted[series] = _Place(admission, _key(labels, admission))
        self._room.enter(labels, admission, place.key)
        if not admission.folded:
            return series
        self._tell(labels.get(NAME_LABEL, ""), admission)
        return self._context.series.intern(encode_labels(fold(labels, admission)))

    def _tell(self, metric: str, admission: Admission) -> None:
        if admission.full:
            reason, what = "series", f"has {self._config.series_per_metric} series"
        else:
            names = ", ".join(admission.folded)
            reason, what = "values", f"has as many values of {names} as are allowed"
        self._context.telemetry.problem(
            log,
            "metricsmith_series_folded_total",
            f"{self._context.name}: {metric} {what}: new ones are folded into {OVERFLOW}",
            subject=f"{metric} {reason} {' '.join(admission.folded)}",
            component=self._context.name,
            reason=reason,
        )

    def _round(self, batch: Batch, plan: _Plan) -> Batch:
        value = batch.value[plan.folded]
        present = np.ones(len(value), dtype=np.bool_)
        if batch.stale is not None:
            present = ~batch.stale[plan.folded]
        times = batch.time_ms if isinstance(batch.time_ms, int) else batch.time_ms[plan.folded]
        total, found = plan.groups.reduce("sum", value, present, times)
        largest, _ = plan.groups.reduce("max", value, present, times)
        grown, _ = plan.groups.reduce("sum", self._grown(plan, value, present), present, times)
        slots = self._totals.slots(plan.targets)
        totals = self._totals.columns["total"]
        with np.errstate(over="ignore"):
            higher = totals[slots] + np.where(plan.kinds == _ACCUMULATE, grown, 0.0)
        totals[slots] = np.where(np.isfinite(higher), higher, 0.0)  # one absurd sample must not stay for ever
        folded = np.choose(plan.kinds, [total, totals[slots], largest])
        stale = None
        if batch.stale is not None:
            stale = np.concatenate((batch.stale[plan.kept], ~found))
            folded = np.where(found, folded, np.nan)
        time_ms: int | I64 = batch.time_ms
        if not isinstance(time_ms, int):
            time_ms = np.concatenate((time_ms[plan.kept], plan.groups.latest(times, present)))
        return Batch(plan.output, time_ms, np.concatenate((batch.value[plan.kept], folded)), stale)

    def _grown(self, plan: _Plan, value: F64, present: Bool) -> F64:
        """Return by how much each folded series has grown; all of it when it is new or began anew.

        Shapes:
            value, present, returns: (F,)
        """
        slots, before = self._state.slots(plan.sources), self._state.columns["before"]
        last = before[slots]
        with np.errstate(invalid="ignore", over="ignore"):
            grown = np.where(value >= last, value - last, value)
        usable = present & np.isfinite(value)
        before[slots[usable]] = value[usable]
        return np.where(usable, grown, 0.0)


def _key(labels: dict[str, str], admission: Admission) -> bytes:
    folded = fold(labels, admission)
    return encode_labels({name: value for name, value in folded.items() if name not in ALWAYS_EXEMPT})


def _kind(name: str, family: str, type_: MetricType) -> int:
    """Return how folded samples of a name become one."""
    quantile = type_ is MetricType.SUMMARY and name == family
    if type_ in _STATES or quantile:
        return _LARGEST
    return _ACCUMULATE if type_ in _CUMULATIVE else _SUM
