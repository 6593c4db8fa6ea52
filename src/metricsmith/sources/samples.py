"""Batches of one target, scrape after scrape: samples, the report on the target, staleness markers.

Markers follow Prometheus. A series that was in the last scrape and is not in this one ended; when a
scrape fails all series ended; when the target is removed its report series ended too. When the agent
stops nothing has ended. Series with timestamps of their own get no markers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from metricsmith.model.arrays import F64, I64, U32, Bool
from metricsmith.model.batch import Batch
from metricsmith.sources.plan import REPORT, Plan, Planner

_NONE: U32 = np.empty(0, dtype=np.uint32)


@dataclass(frozen=True, slots=True)
class Explicit:
    """Timestamps that the target gave.

    Shapes:
        time_ms: (P,) one per parsed value; meaningless where absent.
        given: (P,) whether the line had one.
    """

    time_ms: I64
    given: Bool


@dataclass(frozen=True, slots=True)
class _State:
    """What the accepted batches leave behind: `alive` would need markers, `seen` is the last good scrape."""

    plan: Plan | None
    alive: U32
    seen: U32
    reported: bool


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A batch and the state that holds once it has been accepted."""

    batch: Batch
    state: _State


class Samples:
    """Makes a target's batches; `accepted` is called when one of them has been taken.

    A batch that was refused changes nothing: its markers are sent again.
    """

    def __init__(self, planner: Planner) -> None:
        self._planner = planner
        self._state = _State(None, _NONE, _NONE, False)

    def accepted(self, outgoing: Outgoing) -> None:
        """Remember that a batch was taken."""
        self._state = outgoing.state

    def success(
        self, time_ms: int, plan: Plan, parsed: F64, explicit: Explicit | None, duration_s: float
    ) -> Outgoing:
        """Return the batch of a scrape that went well.

        In the steady state (the plan of the last scrape, no timestamps) it has
        the plan's own layout and costs one gather.
        """
        last = self._state
        tracked = plan.ids if explicit is None else plan.ids[~_kept(explicit.given, plan)]
        same = plan is last.plan
        ended = _NONE if same or not len(last.alive) else _difference(last.alive, plan.ids)
        added = 0 if same else len(_difference(plan.ids, last.seen))
        count = len(plan.ids)
        value = np.empty(count + len(REPORT) + len(ended))
        if plan.gather is None:
            value[:count] = parsed
        else:
            np.take(parsed, plan.gather, out=value[:count])
        value[count : count + len(REPORT)] = (1.0, duration_s, plan.scraped, plan.post_relabel, added)
        times = time_ms if explicit is None else _times(time_ms, explicit, plan, len(value))
        layout, stale = plan.layout, None
        if len(ended):
            layout, stale = self._planner.with_ended(plan, ended), _mask(value, slice(-len(ended), None))
        return Outgoing(Batch(layout, times, value, stale), _State(plan, tracked, plan.ids, True))

    def failure(self, time_ms: int, duration_s: float, scraped: int = 0, post_relabel: int = 0) -> Outgoing:
        """Return the batch of a scrape that failed: `up` is 0, all series of the last one ended."""
        last = self._state
        count = len(last.alive)
        layout = self._planner.without_samples(last.alive) if count else self._planner.report
        value = np.empty(count + len(REPORT))
        value[count:] = (0.0, duration_s, scraped, post_relabel, 0.0)
        stale = _mask(value, slice(None, count)) if count else None
        return Outgoing(Batch(layout, time_ms, value, stale), _State(last.plan, _NONE, last.seen, True))

    def end(self, time_ms: int) -> Outgoing | None:
        """Return the batch of a target that was removed: everything ended. None if it never reported."""
        last = self._state
        if not last.reported:
            return None
        layout = self._planner.without_samples(last.alive)
        value = np.empty(len(layout))
        stale = _mask(value, slice(None))
        return Outgoing(Batch(layout, time_ms, value, stale), _State(None, _NONE, _NONE, False))


def _mask(value: F64, ended: slice) -> Bool:
    stale = np.zeros(len(value), dtype=np.bool_)
    stale[ended] = True
    value[ended] = np.nan
    return stale


def _difference(ids: U32, others: U32) -> U32:
    return ids[~np.isin(ids, others)]


def _kept(parsed: Bool, plan: Plan) -> Bool:
    return parsed if plan.gather is None else parsed[plan.gather]


def _times(time_ms: int, explicit: Explicit, plan: Plan, count: int) -> I64:
    times = np.full(count, time_ms, dtype=np.int64)
    own = np.where(explicit.given, explicit.time_ms, time_ms)
    times[: len(plan.ids)] = own if plan.gather is None else own[plan.gather]
    return times
