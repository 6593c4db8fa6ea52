"""Histograms and summaries as averages and quantiles, for each label set by itself."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field, field_validator

from metricsmith.contracts import Context, PartConfig
from metricsmith.model.arrays import F64, I64, Bool
from metricsmith.model.batch import Batch
from metricsmith.model.bucket_quantile import bucket_quantile, monotonic, with_equal_bounds_merged
from metricsmith.model.series_state import SeriesState
from metricsmith.model.settings_types import DurationMs
from metricsmith.process.average_plan import NO_GROUP, AveragePlan, AveragePlanner, Histograms, Role
from metricsmith.process.counting import count_dropped
from metricsmith.process.derived import Derived
from metricsmith.process.rounds import in_rounds

DAY_MS = 86_400_000


class AverageConfig(PartConfig):
    """Settings of an `average` processor."""

    mode: Literal["delta", "lifetime"] = Field(
        "delta",
        description="`delta`: of what was observed since the batch before; `lifetime`: of all that was.",
    )
    quantiles: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = Field(
        (), max_length=20, description="Quantiles computed of each histogram, such as 0.95: `<family>_p95`."
    )
    keep_sum: bool = Field(False, description="Pass on `_sum`, too.")
    keep_buckets: bool = Field(False, description="Pass on `_bucket`, too.")
    keep_created: bool = Field(False, description="Pass on `_created`, too.")
    max_gap: DurationMs = Field(
        300_000,
        ge=1000,
        le=DAY_MS,
        description="Longest time between two batches; after a longer one a label set begins anew (delta).",
    )

    @field_validator("quantiles")
    @classmethod
    def _distinct(cls, quantiles: tuple[float, ...]) -> tuple[float, ...]:
        if len(set(quantiles)) < len(quantiles):
            raise ValueError("got a quantile twice, wanted distinct quantiles")
        return quantiles


class AverageProcessor:
    """Replaces the parts of a histogram or summary by `<family>_avg`, and by quantiles where asked for.

    The type of the family decides what is averaged. `_count` goes on. A label
    set without observations since the batch before has no average.
    """

    Config: ClassVar[type[AverageConfig]] = AverageConfig

    def __init__(self, config: AverageConfig, context: Context) -> None:
        self._config, self._context = config, context
        options = {
            Role.SUM: config.keep_sum,
            Role.BUCKET: config.keep_buckets,
            Role.CREATED: config.keep_created,
        }
        kept = frozenset(role for role in Role if options.get(role, True))
        clock, keep_s = context.clock, config.max_gap / 1000
        known = SeriesState(clock, keep_s, target=-1, bound=np.nan)
        self._planner = AveragePlanner(context.series, known, kept, config.quantiles)
        self._quantiles = [np.array([q]) for q in config.quantiles]
        self._totals = SeriesState(clock, keep_s, sum=np.nan, count=np.nan, time=np.nan)
        self._buckets = SeriesState(clock, keep_s, value=np.nan, time=np.nan)
        self._live = SeriesState(clock, keep_s, live=0)
        self._states = (known, self._totals, self._buckets, self._live)

    def process(self, batch: Batch) -> Batch | None:
        for state in self._states:
            state.release()
        plan = batch.layout.derive(self, self._planner.plan)
        count_dropped(self._context, len(batch) - len(plan.output.kept), "averaged")
        if not len(plan.derived):
            return plan.output.plain(batch)
        if plan.one_round:
            return self._round(batch, plan)
        parts = np.flatnonzero(plan.groups < NO_GROUP)
        others = np.setdiff1d(plan.output.kept, parts)
        return in_rounds(
            batch, plan.groups, parts, others, lambda part: self._round(part, self._planner.plan(part.layout))
        )

    def _round(self, batch: Batch, plan: AveragePlan) -> Batch | None:
        if not len(plan.derived):
            return plan.output.plain(batch)
        live = self._live.slots(plan.derived)
        found = [self._averages(batch, plan), *self._quantiles_of(batch, plan)]
        derived = Derived(
            np.concatenate([one.value for one in found]),
            np.concatenate([one.present for one in found]),
            np.concatenate([one.late for one in found]),
            _joined([one.time_ms for one in found]),
        )
        was_live = self._live.columns["live"][live] > 0
        self._live.columns["live"][live] = np.where(derived.late, was_live, derived.present)
        count_dropped(self._context, int(derived.late.sum()), "out_of_order")
        if not (derived.present | was_live).any():
            return plan.output.plain(batch)
        count_dropped(self._context, plan.output.duplicates, "duplicate")
        return plan.output.filled(batch, derived)

    def _averages(self, batch: Batch, plan: AveragePlan) -> Derived:
        """Return the averages of a batch, and remember sums and counts."""
        sums, counts = batch.value[plan.sums], batch.value[plan.counts]
        time_ms, valid = _common_time(batch, plan.sums, plan.counts)
        late = np.zeros(len(sums), dtype=np.bool_)
        if self._config.mode == "delta":
            slots = self._totals.slots(plan.averages)
            before = self._totals.columns
            elapsed = time_ms - before["time"][slots]
            sums_before, counts_before = before["sum"][slots], before["count"][slots]
            late = elapsed <= 0
            remembered = valid & ~late
            for name, now in (("sum", sums), ("count", counts), ("time", time_ms)):
                _remember(before[name], slots, now, remembered)
            valid = remembered & (elapsed <= self._config.max_gap)
            with np.errstate(invalid="ignore", over="ignore"):
                # Counts only grow: one that fell was begun anew, and the sum with it.
                restarted = counts < counts_before
                sums = np.where(restarted, sums, sums - sums_before)
                counts = np.where(restarted, counts, counts - counts_before)
        with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
            return Derived(sums / counts, valid & (counts > 0), late, time_ms)

    def _quantiles_of(self, batch: Batch, plan: AveragePlan) -> list[Derived]:
        """Return one array of quantiles of all histograms for each that is asked for."""
        if not plan.histograms:
            return []
        total = len(plan.last_places)
        values = np.full((len(self._quantiles), total), np.nan)
        late = np.zeros(total, dtype=np.bool_)
        time_ms = batch.time_ms if isinstance(batch.time_ms, int) else batch.time_ms[plan.last_places]
        for alike in plan.histograms:
            counts, valid, late[alike.numbers] = self._bucket_counts(batch, alike)
            upper, merged = with_equal_bounds_merged(alike.upper, np.where(valid, counts, 0.0))
            with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
                level = monotonic(merged)
                for row, quantile in enumerate(self._quantiles):
                    asked = np.broadcast_to(quantile, level.shape[1:])
                    values[row, alike.numbers] = bucket_quantile(upper, level, asked)
        return [Derived(row, ~np.isnan(row), late, time_ms) for row in values]

    def _bucket_counts(self, batch: Batch, alike: Histograms) -> tuple[F64, Bool, Bool]:
        """Return what each bucket counts, whether a histogram's can be used, and whether it is too late.

        Shapes:
            returns: (B, H), (H,), (H,)
        """
        counts = batch.value[alike.places]
        time_ms, valid = _common_time(batch, *alike.places)
        if self._config.mode == "lifetime":
            return counts, valid, np.zeros(len(valid), dtype=np.bool_)
        slots = self._buckets.slots(alike.members).reshape(counts.shape)
        before, times = self._buckets.columns["value"], self._buckets.columns["time"]
        elapsed = time_ms - times[slots]
        late: Bool = np.logical_or.reduce(elapsed <= 0, axis=0)
        counts_before = before[slots]
        remembered = valid & ~late
        _remember(before, slots, counts, remembered)
        _remember(times, slots, time_ms, remembered)
        valid = remembered & np.logical_and.reduce(elapsed <= self._config.max_gap, axis=0)
        with np.errstate(invalid="ignore"):
            restarted = (counts < counts_before).any(axis=0)
            return np.where(restarted, counts, counts - counts_before), valid, late


def _common_time(batch: Batch, *places: I64) -> tuple[int | I64, Bool]:
    """Return the time of samples that belong together, and where all have it, none being an end or NaN.

    Shapes:
        places: (N,) each; returns: one int or (N,), (N,)
    """
    valid = np.logical_and.reduce([~np.isnan(batch.value[one]) for one in places])
    if batch.stale is not None:
        valid &= ~np.logical_or.reduce([batch.stale[one] for one in places])
    if isinstance(batch.time_ms, int):
        return batch.time_ms, valid
    times = batch.time_ms
    first = times[places[0]]
    return first, np.logical_and.reduce([valid, *(times[one] == first for one in places)])


def _remember(column: F64, slots: I64, value: int | I64 | F64, which: Bool) -> None:
    """Write to the slots of what is marked.

    Shapes:
        which: (N,); slots, value: (…, N), or one value.
    """
    if which.all():
        column[slots] = value
    else:
        column[slots[..., which]] = np.broadcast_to(value, slots.shape)[..., which]


def _joined(times: list[int | I64]) -> int | I64:
    fixed = [time for time in times if isinstance(time, int)]
    if len(fixed) == len(times):
        return fixed[0]
    return np.concatenate([time for time in times if not isinstance(time, int)])
