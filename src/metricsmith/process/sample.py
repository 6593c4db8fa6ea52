"""Fewer samples: every nth of each series, a share of the series, or as many as a budget allows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import xxhash
from pydantic import Field, model_validator

from metricsmith.contracts import Context, PartConfig
from metricsmith.model.arrays import F64, I64, Bool
from metricsmith.model.batch import Batch, Layout
from metricsmith.model.series_state import SeriesState
from metricsmith.process.choice import MAX_SELECTORS, SelectorText, SeriesChoice
from metricsmith.process.counting import count_dropped
from metricsmith.process.rounds import is_one_round

KEEP_STATE_S = 600.0
WINDOW_S = 10.0
"""How long samples are counted before the share is set anew."""
MOST_GROWTH = 1.25
"""The share grows at most so much at once: what was left out may come back in one burst."""


class SampleConfig(PartConfig):
    """Settings of a `sample` processor: exactly one of `every`, `share` and `budget`."""

    match: tuple[SelectorText, ...] = Field(
        (), max_length=MAX_SELECTORS, description="Only series that one of these matches; default all."
    )
    every: int | None = Field(
        None,
        ge=2,
        le=1_000_000,
        description="Of each series every so many-th sample goes on, the first one first.",
    )
    share: float | None = Field(
        None, gt=0, lt=1, description="Share of the series that go on, the same ones in all agents."
    )
    budget: float | None = Field(
        None, gt=0, description="Samples per second that go on; the share of the series follows it."
    )

    @model_validator(mode="after")
    def _check(self) -> SampleConfig:
        given = [name for name in ("every", "share", "budget") if getattr(self, name) is not None]
        if len(given) != 1:
            found = " and ".join(given) or "none of them"
            raise ValueError(f"got {found}, wanted one of `every`, `share` and `budget`")
        return self


@dataclass(frozen=True, slots=True)
class _Members:
    """The series of a layout that are sampled, `distinct` when none occurs twice.

    Shapes:
        places: (N,) in the layout; the others always go on.
        hashes: (N,) in [0, 1), evenly spread.
    """

    places: I64
    layout: Layout
    hashes: F64
    distinct: bool


@dataclass(slots=True)
class _Chosen:
    """The layout of what went on last, used again while the same samples do."""

    passes: Bool
    index: I64
    layout: Layout


class SampleProcessor:
    """Passes on some of the samples; the others are counted as `sampled`. The end of a series always passes.

    A series that is left out from now on ends. Every nth is counted per series.
    """

    Config: ClassVar[type[SampleConfig]] = SampleConfig

    def __init__(self, config: SampleConfig, context: Context) -> None:
        self._config, self._context = config, context
        self._choice = SeriesChoice(context.series, config.match) if config.match else None
        self._state = SeriesState(context.clock, KEEP_STATE_S, seen=np.nan, live=0)
        self.share = config.share or 1.0
        """Share of the series that go on now."""
        self._window_s = context.clock.monotonic()
        self._passed = 0

    def process(self, batch: Batch) -> Batch | None:
        self._state.release()
        members = batch.layout.derive(self, self._members)
        if not len(members.places):
            return batch
        slots = self._state.slots(members.layout)
        if self._config.every is not None:
            every = self._every(members, slots, self._config.every)
            return self._taken(batch, members, every, np.zeros(len(every), dtype=np.bool_))
        if self._config.budget is not None:
            self._follow(self._config.budget)
        passes: Bool = members.hashes < self.share
        live = self._state.columns["live"]
        ended = (live[slots] > 0) & ~passes
        live[slots] = passes
        self._passed += int(passes.sum())
        return self._taken(batch, members, passes, ended)

    def _members(self, layout: Layout) -> _Members:
        chosen = (
            np.ones(len(layout), dtype=np.bool_) if self._choice is None else self._choice.mask(layout.ids)
        )
        places = np.flatnonzero(chosen)
        key = self._context.series.key
        hashes = [
            xxhash.xxh3_64_intdigest(key(series)) >> 11 if self._config.every is None else 0
            for series in layout.ids[places].tolist()
        ]
        spread = np.array(hashes, dtype=np.float64) / 2**53
        return _Members(places, Layout(layout.ids[places]), spread, is_one_round(layout))

    def _every(self, members: _Members, slots: I64, nth: int) -> Bool:
        """Return which samples are the nth of their series, and count them.

        Shapes:
            slots, returns: (N,)
        """
        seen = self._state.columns["seen"]
        number = seen[slots]
        new = np.isnan(number)
        if new.any():  # in step with the others of the batch, so that they go on together
            number[new] = 0 if new.all() else number[~new].max()
            seen[slots] = number
        if members.distinct:
            seen[slots] += 1
        else:
            number = number + _occurrence(slots)
            np.add.at(seen, slots, 1)
        passes: Bool = number % nth == 0
        return passes

    def _follow(self, budget: float) -> None:
        """Set the share anew when a window is over, after what passed in it."""
        now_s = self._context.clock.monotonic()
        passed_s = now_s - self._window_s
        if passed_s < WINDOW_S:
            return
        fits = budget * passed_s / self._passed if self._passed else MOST_GROWTH
        # Near the budget it stays: series should not come and go with the noise.
        if fits < 1 or fits > MOST_GROWTH:
            self.share = min(self.share * min(fits, MOST_GROWTH), 1.0)
        self._window_s, self._passed = now_s, 0

    def _taken(self, batch: Batch, members: _Members, passes: Bool, ended: Bool) -> Batch | None:
        if batch.stale is not None:
            passes = passes | batch.stale[members.places]
        wanted = np.ones(len(batch), dtype=np.bool_)
        wanted[members.places] = passes | ended
        count_dropped(self._context, int((~passes).sum()), "sampled")
        if wanted.all() and not ended.any():
            return batch
        cell = batch.layout.derive((self, "chosen"), lambda layout: [_chosen(layout, wanted)])
        if not np.array_equal(cell[0].passes, wanted):
            cell[0] = _chosen(batch.layout, wanted)
        if not len(cell[0].index):
            return None
        if ended.any():
            batch = _with_ends(batch, members.places[ended])
        return batch.take(cell[0].layout, cell[0].index)


def _chosen(layout: Layout, wanted: Bool) -> _Chosen:
    index = np.flatnonzero(wanted)
    return _Chosen(wanted, index, Layout(layout.ids[index], layout.stream, layout.metadata))


def _with_ends(batch: Batch, places: I64) -> Batch:
    stale = batch.stales().copy()
    stale[places] = True
    return Batch(batch.layout, batch.time_ms, np.where(stale, np.nan, batch.value), stale)


def _occurrence(slots: I64) -> I64:
    """Return how many samples of the same series stand before each.

    Shapes:
        slots, returns: (N,)
    """
    order = np.argsort(slots, kind="stable")
    first = np.diff(slots[order], prepend=-1) != 0
    numbers = np.arange(len(slots))
    result = np.empty(len(slots), dtype=np.int64)
    result[order] = numbers - np.maximum.accumulate(np.where(first, numbers, 0))
    return result
