"""Counters as rates or as differences, series by series, from one batch to the next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from pydantic import Field

from metricsmith.contracts import Context, PartConfig
from metricsmith.model.arrays import F64, I64, Bool
from metricsmith.model.batch import Batch, Layout
from metricsmith.model.growth import growth
from metricsmith.model.labels import PAIR
from metricsmith.model.metadata import Metadata, MetricType
from metricsmith.model.series_state import SeriesState
from metricsmith.model.series_types import ByType
from metricsmith.model.settings_types import DurationMs
from metricsmith.process.choice import MAX_SELECTORS, SelectorText, SeriesChoice
from metricsmith.process.counting import count_dropped
from metricsmith.process.derived import Derived, DerivedLayout
from metricsmith.process.rounds import is_one_round

DAY_MS = 86_400_000
_GAUGE = MetricType.GAUGE


class ChangeConfig(PartConfig):
    """What `rate` and `delta` have in common."""

    match: tuple[SelectorText, ...] = Field(
        (),
        max_length=MAX_SELECTORS,
        description="Series that are converted, whatever their type; default those of type counter.",
    )
    keep: bool = Field(False, description="Pass on the counter, too.")
    max_gap: DurationMs = Field(
        300_000,
        ge=1000,
        le=DAY_MS,
        description="Longest time between two samples; after a longer one a series begins anew.",
    )


class RateConfig(ChangeConfig):
    """Settings of a `rate` processor."""

    suffix: str = Field(
        "_per_second",
        min_length=1,
        max_length=100,
        pattern="^[a-zA-Z0-9_:]+$",
        description="Put in the place of `_total`, or after a name that has none.",
    )


class DeltaConfig(ChangeConfig):
    """Settings of a `delta` processor."""

    suffix: str = Field(
        "_delta",
        min_length=1,
        max_length=100,
        pattern="^[a-zA-Z0-9_:]+$",
        description="Put in the place of `_total`, or after a name that has none.",
    )


@dataclass(frozen=True, slots=True)
class _Plan:
    """Which series of a layout are converted, `distinct` when none occurs twice, and what comes out.

    Shapes:
        places: (D,) of the counters in the layout.
    """

    distinct: bool
    places: I64
    counters: Layout
    output: DerivedLayout


class _ChangeProcessor:
    """Replaces counters by their change since the sample before; a value below that is a restart from zero.

    The first sample of a series, and one after more than `max_gap`, has no
    change. After an interruption the change covers it whole.
    """

    _per_second: ClassVar[bool]
    _help: ClassVar[str]

    def __init__(self, config: RateConfig | DeltaConfig, context: Context) -> None:
        self._config, self._context = config, context
        self._types = ByType(context.series, lambda _name, _family, type_: type_ is MetricType.COUNTER)
        self._choice = SeriesChoice(context.series, config.match) if config.match else None
        self._suffix = config.suffix.encode()
        self._state = SeriesState(
            context.clock, config.max_gap / 1000, value=np.nan, time=np.nan, live=0, target=-1
        )

    def process(self, batch: Batch) -> Batch | None:
        self._state.release()
        plan = batch.layout.derive(self, self._plan)
        if not len(plan.places):
            return batch
        slots = self._state.slots(plan.counters)
        time_ms = batch.time_ms if isinstance(batch.time_ms, int) else batch.time_ms[plan.places]
        value, alive = batch.value[plan.places], ~batch.stales()[plan.places]
        changes = self._changes if plan.distinct else self._changes_of_many
        derived = changes(slots, time_ms, value, alive & ~np.isnan(value))
        live = self._state.columns["live"]
        was_live = live[slots] > 0
        live[slots] = np.where(derived.late, was_live, derived.present)
        count_dropped(self._context, int(derived.late.sum()), "out_of_order")
        if not (derived.present | was_live).any():
            return plan.output.plain(batch)
        count_dropped(self._context, plan.output.duplicates, "duplicate")
        return plan.output.filled(batch, derived)

    def _plan(self, layout: Layout) -> _Plan:
        by_type, choice = self._types.judge(layout), self._choice
        chosen = by_type == 1 if choice is None else choice.mask(layout.ids)
        places = np.flatnonzero(chosen)
        counters = Layout(layout.ids[places])
        slots = self._state.slots(counters)
        target = self._state.columns["target"]
        for place in np.flatnonzero(target[slots] < 0).tolist():
            target[slots[place]] = self._derived_series(int(counters.ids[place]))
        kept = np.arange(len(layout)) if self._config.keep else np.flatnonzero(~chosen)
        metadata = {
            self._derived_name(name.encode()).decode(): Metadata(help=self._help.format(name), type=_GAUGE)
            for name in self._types.names(counters.ids)
        }
        derived = target[slots].astype(np.uint32)
        return _Plan(is_one_round(layout), places, counters, DerivedLayout(layout, kept, derived, metadata))

    def _derived_series(self, series: int) -> int:
        name, mark, labels = self._context.series.key(series).partition(PAIR)
        return self._context.series.intern(self._derived_name(name) + mark + labels)

    def _derived_name(self, name: bytes) -> bytes:
        return name.removesuffix(b"_total") + self._suffix

    def _changes(self, slots: I64, time_ms: int | I64, value: F64, usable: Bool) -> Derived:
        """Return the changes since the samples before, and remember these.

        Shapes:
            slots: (D,) distinct. value, usable: (D,)
        """
        found = growth(self._state, slots, time_ms, value, usable, self._config.max_gap)
        return Derived(self._change(found.value, found.elapsed_ms), found.present, found.late, time_ms)

    def _changes_of_many(self, slots: I64, time_ms: int | I64, value: F64, usable: Bool) -> Derived:
        """Return the same where a series may have several samples, in any order.

        Of equal times the later sample counts.

        Shapes:
            slots, value, usable: (D,)
        """
        values, times = self._state.columns["value"], self._state.columns["time"]
        all_times = np.broadcast_to(np.asarray(time_ms, dtype=np.int64), slots.shape)
        late: Bool = all_times <= times[slots]
        order = np.lexsort((all_times, slots))
        order = order[(usable & ~late)[order]]
        slot, time = slots[order], all_times[order]
        replaced = (slot[:-1] == slot[1:]) & (time[:-1] == time[1:])
        late[order[:-1][replaced]] = True
        order = np.delete(order, np.flatnonzero(replaced))
        slot, time, now = slots[order], all_times[order], value[order]
        first = np.diff(slot, prepend=-1) != 0
        before = np.where(first, values[slot], np.roll(now, 1))
        now_ms = time.astype(np.float64)
        elapsed = now_ms - np.where(first, times[slot], np.roll(now_ms, 1))
        change, present = np.full(len(slots), np.nan), np.zeros(len(slots), dtype=np.bool_)
        with np.errstate(invalid="ignore", over="ignore"):
            change[order] = self._change(np.where(now < before, now, now - before), elapsed)
        present[order] = elapsed <= self._config.max_gap
        values[slot], times[slot] = now, time  # of a series the last stays
        return Derived(change, present, late, time_ms)

    def _change(self, grown: F64, elapsed_ms: F64) -> F64:
        with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
            return grown / (elapsed_ms / 1000) if self._per_second else grown


class RateProcessor(_ChangeProcessor):
    """Replaces counters by their growth per second."""

    Config: ClassVar[type[RateConfig]] = RateConfig
    _per_second, _help = True, "Growth of {} per second."


class DeltaProcessor(_ChangeProcessor):
    """Replaces counters by their growth since the sample before."""

    Config: ClassVar[type[DeltaConfig]] = DeltaConfig
    _per_second, _help = False, "Growth of {} since the sample before."
