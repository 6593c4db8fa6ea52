"""How far a group is behind, in records and seconds, and why: a verdict with a reason.

Everything is an array over (group, partition) pairs; nothing here asks a broker.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from metricsmith.model.arrays import F64, I64, Bool
from metricsmith.sources.kafka.catchup import CatchUp, Trend, catch_up, few_readings, trend

UNKNOWN = -1
"""An offset that was not read, or not committed."""
FEW_READINGS = 4
"""So many readings are needed for an interval; a rewind is told until there are as many after it."""
STEADY_SHARE = 0.05
"""A change over the window by less than this share of the lag is none."""
CELLS_AT_ONCE = 1_000_000


class Reason(StrEnum):
    """Why a pair's lag is what it is; values of the label `reason`."""

    CAUGHT_UP = "caught_up"
    SHRINKING = "shrinking"
    STABLE = "stable"
    GROWING = "growing"
    STALLED = "stalled"
    REWOUND = "rewound"
    IDLE = "idle"
    LOST = "lost"
    TXN_TAIL = "txn_tail"
    NO_COMMIT = "no_commit"
    INSUFFICIENT_HISTORY = "insufficient_history"


REASONS = tuple(Reason)
_CODE = {reason: code for code, reason in enumerate(REASONS)}


@dataclass(frozen=True, slots=True)
class Past:
    """Readings of the history window, oldest first; the newest is the present one.

    Shapes:
        time_ms: (N,) ascending.
        end, committed: (S, N) UNKNOWN where it was not read or not committed.
    """

    time_ms: I64
    end: I64
    committed: I64


@dataclass(frozen=True, slots=True)
class Present:
    """What is true now of each pair.

    Shapes:
        committed, start, end: (S,) offsets; committed is UNKNOWN without a commit.
        members: (S,) whether the group has members.
        control_tail: (S,) whether only transaction markers follow the committed offset.
    """

    committed: I64
    start: I64
    end: I64
    members: Bool
    control_tail: Bool


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to say of each pair; NaN where there is nothing to say.

    Shapes:
        all: (S,) `reason` indexes REASONS; `at_least` marks seconds that are a lower bound.
    Units:
        lag in records, seconds behind, records per second.
    """

    lag: F64
    seconds: F64
    at_least: Bool
    reason: I64
    trend: Trend
    catch_up: CatchUp


def offset_lag(committed: I64, start: I64 | np.int64, end: I64) -> F64:
    """Return the records between commit and end that are still there; NaN without a commit, never negative.

    Shapes:
        all: any shapes that broadcast.
    """
    lag = np.maximum(0, end - np.maximum(committed, start)).astype(np.float64)
    lag[(committed == UNKNOWN) | (end == UNKNOWN)] = np.nan
    return lag


def time_lag(past: Past, now: Present, usable: Bool) -> tuple[F64, Bool]:
    """Return how long ago the next record to read was written, and whether that is only a lower bound.

    Interpolated between the two readings of the end offset around the committed one.
    Nothing is extrapolated: a commit older than the table is "at least as old as its
    first reading". What lies before a fall of the end offset (truncation, a topic
    made anew) is not looked at.

    Shapes:
        usable: (S, N) which ends may be looked at, as `since_fall` has them.
        returns: (S,) seconds, NaN unknown; (S,)
    """
    lag = offset_lag(now.committed, now.start, now.end)
    seconds, at_least = np.full(len(lag), np.nan), np.zeros(len(lag), dtype=np.bool_)
    seconds[(lag == 0) & (now.committed <= now.end)] = 0.0
    behind = np.flatnonzero(lag > 0)
    if not len(past.time_ms):
        return seconds, at_least
    step = max(1, CELLS_AT_ONCE // len(past.time_ms))
    for begin in range(0, len(behind), step):
        rows = behind[begin : begin + step]
        position = np.maximum(now.committed[rows], now.start[rows])
        seconds[rows], at_least[rows] = _interpolated(past.time_ms, past.end[rows], usable[rows], position)
    return seconds, at_least


def _interpolated(time_ms: I64, end: I64, usable: Bool, position: I64) -> tuple[F64, Bool]:
    before = _last(usable & (end <= position[:, None]))
    number = np.arange(len(time_ms))
    later = usable & (number > before[:, None])
    after = np.argmax(later, axis=1)
    row = np.arange(len(end))
    known = later[row, after]
    first = known & (before < 0)
    low = np.maximum(before, 0)
    span = np.maximum(end[row, after] - end[row, low], 1)
    share = np.where(first, 1.0, (position - end[row, low]) / span)
    written = time_ms[low] + share * (time_ms[after] - time_ms[low])
    # Before the first reading: at least as old as that. Else between two.
    written = np.where(first, time_ms[after], written)
    return np.where(known, (time_ms[-1] - written) / 1000.0, np.nan), first


def since_fall(offsets: I64) -> Bool:
    """Return which readings are known and later than the last fall of the offset.

    Shapes:
        offsets: (S, N) UNKNOWN where not read.
        returns: (S, N)
    """
    known = offsets != UNKNOWN
    ahead = np.where(known, offsets, np.iinfo(np.int64).max)
    lowest_from_here = np.minimum.accumulate(ahead[:, ::-1], axis=1)[:, ::-1]
    fell = _last(known & (offsets > lowest_from_here))
    usable: Bool = known & (np.arange(offsets.shape[1]) > fell[:, None])
    return usable


def _last(mask: Bool) -> I64:
    """The last true column of each row, -1 if none."""
    width = mask.shape[1]
    found = width - 1 - np.argmax(mask[:, ::-1], axis=1)
    return np.where(mask.any(axis=1), found, -1).astype(np.int64)


def judge(past: Past, now: Present, stall_ms: int) -> Verdict:
    """Return the verdict on each pair; `stall_ms` is how long unread data may lie without a commit.

    Shapes:
        returns: (S,)
    """
    lag = offset_lag(now.committed, now.start, now.end)
    ends, commits = since_fall(past.end), since_fall(past.committed)
    seconds, at_least = time_lag(past, now, ends)
    seconds[now.control_tail] = 0.0
    at_least[now.control_tail] = False
    usable = commits & ends
    count = np.count_nonzero(usable, axis=1)
    moving = np.flatnonzero((lag > 0) & ~now.control_tail)
    found = Trend(*(np.full(len(lag), np.nan) for _ in range(3)))
    if len(moving):
        # Not clamped to the log start, which was another then.
        some = few_readings(past.time_ms, len(moving))
        taken = np.ix_(moving, some)
        readings = offset_lag(past.committed[taken], np.int64(0), past.end[taken])
        part = trend(past.time_ms[some], np.where(usable[taken], readings, np.nan))
        for whole, of_part in ((found.slope, part.slope), (found.low, part.low), (found.high, part.high)):
            whole[moving] = of_part
    # A log that was cut before the commit: where the group goes on is up to its settings.
    beyond = (now.committed > now.end) & ~np.isnan(lag)
    predicted = catch_up(np.where(beyond, np.nan, np.where(now.control_tail, 0.0, lag)), found)
    still = _still_ms(past, now, usable) >= stall_ms
    rewound = (_last((past.committed != UNKNOWN) & ~commits) >= 0) & (count < FEW_READINGS)
    reason = _reasons(lag, now, found, _span_s(past, usable), still, rewound)
    reason[beyond] = _CODE[Reason.REWOUND]
    never = (reason == _CODE[Reason.STALLED]) | (reason == _CODE[Reason.IDLE])
    for each in (predicted.seconds, predicted.low, predicted.high):
        each[never] = np.inf
    return Verdict(lag, seconds, at_least, reason, found, predicted)


def _span_s(past: Past, usable: Bool) -> F64:
    if not len(past.time_ms):
        return np.zeros(len(usable))
    first, last = np.argmax(usable, axis=1), np.maximum(_last(usable), 0)
    seconds: F64 = (past.time_ms[last] - past.time_ms[first]) / 1000.0
    return seconds


def _still_ms(past: Past, now: Present, usable: Bool) -> I64:
    """How long the commit has stood where it is with something to read; slow topics have nothing to read."""
    if not len(past.time_ms):
        return np.zeros(len(usable), dtype=np.int64)
    here = usable & (past.committed == now.committed[:, None]) & (past.end > now.committed[:, None])
    begin = np.argmax(here, axis=1)
    return np.where(here.any(axis=1), past.time_ms[-1] - past.time_ms[begin], 0)


def _reasons(lag: F64, now: Present, found: Trend, span_s: F64, still: Bool, rewound: Bool) -> I64:
    change = np.abs(found.slope) * span_s
    bounded = np.isfinite(found.low)
    no_change = (found.slope == 0) | (change < STEADY_SHARE * lag)
    no_change |= bounded & (found.low <= 0) & (found.high >= 0)
    decided = (
        (Reason.NO_COMMIT, now.committed == UNKNOWN),
        (Reason.LOST, now.committed < now.start),
        (Reason.CAUGHT_UP, lag == 0),
        (Reason.TXN_TAIL, now.control_tail),
        (Reason.REWOUND, rewound),
        (Reason.IDLE, still & ~now.members),
        (Reason.STALLED, still),
        (Reason.INSUFFICIENT_HISTORY, np.isnan(found.slope)),
        (Reason.STABLE, no_change),
        (Reason.SHRINKING, found.slope < 0),
    )
    return np.select([mask for _, mask in decided], [_CODE[r] for r, _ in decided], _CODE[Reason.GROWING])
