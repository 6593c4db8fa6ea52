"""Many series as few: sum, average and the like over labels, within a batch or over all sources in a tick."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from pydantic import Field, model_validator

from metricsmith.contracts import Context, PartConfig
from metricsmith.model.arrays import I64
from metricsmith.model.batch import Batch, Layout
from metricsmith.model.labels import NAME_LABEL, encode_labels
from metricsmith.model.metadata import Metadata, MetricType
from metricsmith.model.series_state import SeriesState
from metricsmith.model.settings_types import DurationMs
from metricsmith.process.choice import MAX_SELECTORS, SelectorText, SeriesChoice
from metricsmith.process.counting import count_dropped
from metricsmith.process.derived import Derived, DerivedLayout
from metricsmith.process.grouping import Function, Groups, group
from metricsmith.process.rounds import is_one_round, rounds
from metricsmith.process.ticks import Ticks

DAY_MS = 86_400_000
KEEP_GROUPS_S = 600.0


class AggregateConfig(PartConfig):
    """Settings of an `aggregate` processor."""

    match: tuple[SelectorText, ...] = Field(
        min_length=1,
        max_length=MAX_SELECTORS,
        description="Series that are aggregated, each metric by itself.",
    )
    function: Function = Field("sum", description="How the series of a group become one.")
    by: tuple[str, ...] | None = Field(
        None, max_length=1000, description="Labels that are kept; all others are dropped."
    )
    without: tuple[str, ...] | None = Field(
        None, max_length=1000, description="Labels that are dropped; all others are kept."
    )
    interval: DurationMs | None = Field(
        None,
        ge=1000,
        le=DAY_MS,
        description="Length of a tick, in which the series of all sources are brought together; default: the "
        "series of each batch, at once.",
    )
    over_time: Function = Field(
        "last", description="How the samples of one series in a tick become one, before series are."
    )
    delay: DurationMs = Field(
        5_000, ge=0, le=DAY_MS, description="How long after the end of a tick late samples are waited for."
    )
    suffix: str | None = Field(
        None,
        max_length=100,
        pattern="^[a-zA-Z0-9_:]*$",
        description="Put after the metric's name; default `:` and the function, such as `:sum`.",
    )
    keep: bool = Field(False, description="Pass on what is aggregated, too.")

    @model_validator(mode="after")
    def _check(self) -> AggregateConfig:
        if (self.by is None) == (self.without is None):
            found = "neither `by` nor `without`" if self.by is None else "`by` and `without`"
            raise ValueError(f"got {found}, wanted one of them")
        if self.interval is None and {"over_time", "delay"} & self.model_fields_set:
            raise ValueError("got over_time or delay without an interval, wanted `interval` beside them")
        return self


@dataclass(frozen=True, slots=True)
class _Plan:
    """Which series of a layout are aggregated, and into what.

    Shapes:
        places, targets: (N,) in the layout, and the series that the group becomes.
    """

    one_round: bool
    places: I64
    targets: I64
    members: Layout
    groups: Groups
    output: DerivedLayout


class AggregateProcessor:
    """Replaces series by one for each group of labels.

    Without an interval the groups of each batch are given with it. With one, a
    series counts once in a tick, whatever its interval and source, and groups
    are given when the tick is over, at the time of its end. A group of which
    all series have ended, ends.
    """

    Config: ClassVar[type[AggregateConfig]] = AggregateConfig

    def __init__(self, config: AggregateConfig, context: Context) -> None:
        self._config, self._context = config, context
        self._choice = SeriesChoice(context.series, config.match)
        self._by = None if config.by is None else frozenset(config.by)
        self._without = frozenset(config.without or ())
        self._suffix = f":{config.function}" if config.suffix is None else config.suffix
        keep_s = max(KEEP_GROUPS_S, 2 * ((config.interval or 0) + config.delay) / 1000)
        self._state = SeriesState(context.clock, keep_s, group=-1)
        self._ticks = Ticks(config.interval, config.delay, config.over_time) if config.interval else None
        self._last = Layout(np.empty(0, dtype=np.uint32), f"aggregate/{context.name}")
        self._metadata: dict[str, Metadata] = {}

    def process(self, batch: Batch) -> Batch | None:
        self._state.release()
        plan = batch.layout.derive(self, self._plan)
        if not len(plan.places):
            return batch
        if not self._config.keep:
            count_dropped(self._context, len(plan.places), "aggregated")
        if self._ticks is None:
            return self._at_once(batch, plan) if plan.one_round else self._at_each_time(batch, plan)
        self._collect(self._ticks, batch, plan)
        return plan.output.plain(batch)

    def tick(self, now_ms: int) -> Batch | None:
        """Return the groups of the oldest tick that is over."""
        over = self._ticks.take(now_ms) if self._ticks is not None else None
        if over is None:
            return None
        numbers, groups = group(self._state.columns["group"][over.slots].astype(np.int64))
        present = np.ones(len(over.slots), dtype=np.bool_)
        value, _ = groups.reduce(self._config.function, over.value, present, over.time_ms)
        ids = numbers.astype(np.uint32)
        ended = np.setdiff1d(self._last.ids, ids)
        if not np.array_equal(ids, self._last.ids):
            self._last = Layout(ids, self._last.stream, dict(self._metadata))
        if not len(ended):
            return Batch(self._last, over.end_ms, value) if len(ids) else None
        layout = Layout(np.concatenate((ids, ended)), self._last.stream, self._last.metadata)
        stale = np.arange(len(layout)) >= len(ids)
        return Batch(layout, over.end_ms, np.concatenate((value, np.full(len(ended), np.nan))), stale)

    def _at_once(self, batch: Batch, plan: _Plan) -> Batch | None:
        times = batch.time_ms if isinstance(batch.time_ms, int) else batch.time_ms[plan.places]
        present = ~batch.stales()[plan.places]
        value, found = plan.groups.reduce(self._config.function, batch.value[plan.places], present, times)
        late = np.zeros(len(value), dtype=np.bool_)
        count_dropped(self._context, plan.output.duplicates, "duplicate")
        return plan.output.filled(batch, Derived(value, found, late, plan.groups.latest(times, present)))

    def _at_each_time(self, batch: Batch, plan: _Plan) -> Batch | None:
        """Return the groups of a batch in which a series has several samples: one for each time."""
        times, target = batch.times()[plan.places], plan.targets
        order = np.lexsort((times, target))
        starts = np.flatnonzero(np.diff(target[order], prepend=-1) | np.diff(times[order], prepend=0))
        first = order[starts]
        output = DerivedLayout(
            batch.layout, plan.output.kept, target[first].astype(np.uint32), plan.output.metadata
        )
        groups = Groups(order, starts)
        return self._at_once(batch, replace(plan, groups=groups, output=output))

    def _collect(self, ticks: Ticks, batch: Batch, plan: _Plan) -> None:
        part = batch.take(plan.members, plan.places)
        slots = self._state.slots(plan.members)
        self._state.columns["group"][slots] = plan.targets  # a slot that is given anew knows it not
        before = ticks.lost
        if plan.one_round:
            ticks.add(slots, part.time_ms, part.value, part.stale)
        else:
            times, stale = part.times(), part.stale
            for index in rounds(slots, times):
                ended = None if stale is None else stale[index]
                ticks.add(slots[index], times[index], part.value[index], ended)
        count_dropped(self._context, ticks.lost - before, "outside_tick")

    def _plan(self, layout: Layout) -> _Plan:
        chosen = self._choice.mask(layout.ids)
        places = np.flatnonzero(chosen)
        members = Layout(layout.ids[places])
        slots, known = self._state.slots(members), self._state.columns["group"]
        for place in np.flatnonzero(known[slots] < 0).tolist():
            known[slots[place]] = self._group(int(members.ids[place]))
        target = known[slots].astype(np.int64)
        numbers, groups = group(target)
        kept = np.arange(len(layout)) if self._config.keep else np.flatnonzero(~chosen)
        ids = numbers.astype(np.uint32)
        metadata = {name: self._metadata[name] for name in self._names(ids)}
        output = DerivedLayout(layout, kept, ids, metadata)
        return _Plan(is_one_round(layout), places, target, members, groups, output)

    def _group(self, series: int) -> int:
        labels = self._context.series.labels(series)
        name = labels.pop(NAME_LABEL, "")
        kept = {
            label: value
            for label, value in labels.items()
            if (label not in self._without if self._by is None else label in self._by)
        }
        about = f"{self._config.function} of {name}."
        self._metadata[name + self._suffix] = Metadata(MetricType.GAUGE, "", about)
        return self._context.series.intern(encode_labels({NAME_LABEL: name + self._suffix, **kept}))

    def _names(self, ids: np.ndarray) -> set[str]:
        return {self._context.series.labels(series)[NAME_LABEL] for series in ids.tolist()}
