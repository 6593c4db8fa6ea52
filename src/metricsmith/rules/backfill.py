"""Recording rules evaluated over the past, so that their series have a history.

Rounds are those that a running group would have had: the same times, in time order, each seeing what was
recorded before it. What the group's series hold at a round's own time is hidden from it, for it is from an
earlier run: a backfill that is done again gives the same.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass, replace

import numpy as np

from metricsmith.errors import QueryCancelled
from metricsmith.model.batch import Batch, Layout
from metricsmith.model.clock import Clock
from metricsmith.model.labels import NAME_LABEL
from metricsmith.model.matchers import Matcher, MatchOp
from metricsmith.model.schedule import Schedule
from metricsmith.model.selection import Selection
from metricsmith.model.series import SeriesTable
from metricsmith.rules.loop import offset_ms
from metricsmith.rules.model import Answer, Engine, Group, RecordingRule
from metricsmith.rules.round import RunningGroup
from metricsmith.rules.templates import Expander
from metricsmith.store_contracts import Selectable

MAX_SAMPLES = 50_000
"""A piece ends when it has that many."""


@dataclass(frozen=True, slots=True)
class Piece:
    """What some rounds recorded, one after the other; the next one is at `next_ms`."""

    batch: Batch | None
    rounds: int
    next_ms: int
    failures: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BackfillRequest:
    """What is to be evaluated: one group of a rule file, given as text, over a range of the past.

    `interval_ms` of None is that of the group. `continued` says that the round
    before `start_ms` was evaluated by an earlier request.
    """

    file: str
    text: str
    group: str
    start_ms: int
    end_ms: int
    interval_ms: int | None = None
    continued: bool = False


@dataclass(frozen=True, slots=True)
class BackfillAnswer:
    """How far it went: rounds and samples, where to go on (None at the end), and which rules failed."""

    rounds: int
    samples: int
    next_ms: int | None
    failures: tuple[str, ...] = ()


class Backfill:
    """A group at work in the past. Its alerting rules are left out: nobody is told what was."""

    def __init__(
        self, group: Group, engine: Engine, store: Selectable, series: SeriesTable, clock: Clock
    ) -> None:
        recording = tuple(rule for rule in group.rules if isinstance(rule, RecordingRule))
        self._group = replace(group, rules=recording)
        self._past = _Past(store, frozenset(rule.name for rule in recording))
        self._running = RunningGroup(
            self._group, _PastEngine(engine, self._past), self._past, series, clock, Expander()
        )
        self._schedule = Schedule(group.interval_ms, offset_ms(group))
        self._clock = clock
        read = [engine.reads(rule.expr) for rule in recording]
        self.reads_itself = any("" in names or not names.isdisjoint(self._past.names) for names in read)

    def first(self, start_ms: int) -> int:
        """Return the time of the first round from `start_ms` on."""
        return self._schedule.first(start_ms)

    def prime(self, time_ms: int) -> None:
        """Evaluate without recording, to know which series the round before the first one had."""
        self._round(time_ms)

    def piece(self, first_ms: int, end_ms: int, seconds: float) -> Piece:
        """Return what the next rounds record: until `end_ms`, many samples, or the given time has passed.

        It must be readable before the next piece is asked for. Rules that read
        what their group records get one round at a time.

        Raises:
            QueryCancelled: the agent stops.
        """
        began, time_ms = self._clock.monotonic(), first_ms
        batches: list[Batch] = []
        failures: dict[str, None] = {}
        samples = rounds = 0
        while time_ms <= end_ms:
            batch, failed = self._round(time_ms)
            failures |= dict.fromkeys(failed)
            rounds, time_ms = rounds + 1, time_ms + self._group.interval_ms
            if batch is not None:
                batches.append(batch)
                samples += len(batch)
            late = self._clock.monotonic() - began >= seconds
            if self.reads_itself or samples >= MAX_SAMPLES or late:
                break
        return Piece(_joined(batches), rounds, time_ms, tuple(failures))

    def _round(self, time_ms: int) -> tuple[Batch | None, list[str]]:
        self._past.time_ms = time_ms - (self._group.query_offset_ms or 0)
        done = self._running.evaluate(time_ms)
        for _, error in done.failures:
            if isinstance(error, QueryCancelled):  # the agent stops
                raise error
        return done.batch, [f"{rule.work.rule.name}: {error}" for rule, error in done.failures]


class _Past:
    """A store without what it has of some metrics from a time on."""

    def __init__(self, store: Selectable, names: frozenset[str]) -> None:
        self.names, self.time_ms = names, 0
        self._store = store

    def differs(self, names: Set[str]) -> bool:
        return bool(self.names) if "" in names else not names.isdisjoint(self.names)

    def select(
        self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, limit: int | None = None
    ) -> Selection:
        exact = next((m.value for m in matchers if m.name == NAME_LABEL and m.op is MatchOp.EQ), None)
        if exact is None:
            # Also of other metrics only what is older: a selector without a name may be of any.
            end_ms = min(end_ms, self.time_ms - 1) if self.names else end_ms
        elif exact in self.names:
            end_ms = min(end_ms, self.time_ms - 1)
        return self._store.select(matchers, start_ms, end_ms, limit)


class _PastEngine:
    """Asks the past where rules ask the store."""

    def __init__(self, engine: Engine, past: _Past) -> None:
        self._engine, self._past = engine, past
        self.check, self.reads, self.with_data = engine.check, engine.reads, engine.with_data

    def instant(self, expr: str, time_ms: int, overlay: Selectable | None = None) -> Answer:
        return self._engine.instant(expr, time_ms, overlay or self._past)


def _joined(batches: Sequence[Batch]) -> Batch | None:
    """Return one batch of many; its samples have times of their own."""
    if not batches:
        return None
    layout = Layout(np.concatenate([batch.layout.ids for batch in batches]))
    times = np.concatenate([batch.times() for batch in batches])
    stale = np.concatenate([batch.stales() for batch in batches])
    value = np.concatenate([batch.value for batch in batches])
    return Batch(layout, times, value, stale if stale.any() else None)
