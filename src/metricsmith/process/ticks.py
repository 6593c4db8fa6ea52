"""What series had in each tick of time: one number per series, from samples in any order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from metricsmith.model.arrays import F64, I64, Bool
from metricsmith.process.grouping import Function

MAX_OPEN = 16
"""Ticks collected at once beyond those that `delay` needs; samples of others are not taken."""


@dataclass(frozen=True, slots=True)
class Over:
    """A tick that is over.

    Shapes:
        slots, value, time_ms: (S,) of series that had samples and did not end.
    """

    end_ms: int
    slots: I64
    value: F64
    time_ms: I64


class _Tick:
    """The samples of one tick, reduced as they come.

    Shapes:
        value, count, time: (capacity,) by slot.
    """

    def __init__(self) -> None:
        self._value, self._count = np.zeros(0), np.zeros(0)
        self._time = np.zeros(0, dtype=np.int64)

    def add(self, over_time: Function, slots: I64, times: I64, value: F64, ended: Bool) -> None:
        """Add at most one sample per series."""
        self._make_room(int(slots.max(initial=-1)) + 1)
        before, count = self._value[slots], self._count[slots]
        newer = times >= self._time[slots]
        with np.errstate(invalid="ignore", over="ignore"):
            match over_time:
                case "last":
                    now = np.where(newer | (count == 0), value, before)
                case "min" | "max":
                    choose = np.fmin if over_time == "min" else np.fmax
                    now = np.where(count == 0, value, choose(before, value))
                case _:
                    now = np.where(count == 0, value, before + value)
        # The end of a series takes back what it had, unless a later sample has come before it.
        takes_back = ended & newer
        self._value[slots] = np.where(ended, before, now)
        self._count[slots] = np.where(takes_back, 0, count + ~ended)
        self._time[slots] = np.where(newer, times, self._time[slots])

    def over(self, over_time: Function, end_ms: int) -> Over:
        """Return what series had."""
        slots = np.flatnonzero(self._count)
        value, count = self._value[slots], self._count[slots]
        if over_time == "count":
            value = count
        elif over_time == "avg":
            value = value / count
        return Over(end_ms, slots, value, self._time[slots])

    def samples(self) -> int:
        """Return how many samples were added."""
        return int(self._count.sum())

    def _make_room(self, slots: int) -> None:
        more = 2 * slots - len(self._value)
        if slots > len(self._value):
            self._value = np.concatenate((self._value, np.zeros(more)))
            self._count = np.concatenate((self._count, np.zeros(more)))
            self._time = np.concatenate((self._time, np.full(more, np.iinfo(np.int64).min)))


class Ticks:
    """Collects samples by ticks of `interval_ms`, aligned to the epoch, each over `delay_ms` after its end.

    A tick without samples, after one with some, is given as well: it says that there are none.
    """

    def __init__(self, interval_ms: int, delay_ms: int, over_time: Function) -> None:
        self._interval_ms, self._delay_ms, self._over_time = interval_ms, delay_ms, over_time
        self._open: dict[int, _Tick] = {}
        self._most = MAX_OPEN + delay_ms // interval_ms
        self._next: int | None = None
        """The number of the oldest tick that is not over; None before the first and after an empty one."""
        self._closed = -(1 << 62)
        self.lost = 0
        """Samples so far of which no tick could take account."""

    def add(self, slots: I64, time_ms: int | I64, value: F64, stale: Bool | None) -> None:
        """Add at most one sample per series; those of ticks that are over are lost.

        A sample at the very end of a tick belongs to that tick.

        Shapes:
            slots, value: (N,)
        """
        ended = np.zeros(len(slots), dtype=np.bool_) if stale is None else stale
        if isinstance(time_ms, int):
            times = np.full(len(slots), time_ms, dtype=np.int64)
            if not self._add(-(-time_ms // self._interval_ms) - 1, slots, times, value, ended):
                self.lost += len(slots)
            return
        numbers = -(-time_ms // self._interval_ms) - 1
        for number in np.unique(numbers).tolist():
            which = numbers == number
            if not self._add(number, slots[which], time_ms[which], value[which], ended[which]):
                self.lost += int(which.sum())

    def take(self, now_ms: int) -> Over | None:
        """Return the oldest tick if it is over by now, and forget it."""
        if self._next is None:
            return None
        number, end_ms = self._next, (self._next + 1) * self._interval_ms
        if end_ms + self._delay_ms > now_ms:
            return None
        tick = self._open.pop(number, None)
        self._closed = number
        self._next = number + 1 if tick is not None else min(self._open, default=None)
        return (tick or _Tick()).over(self._over_time, end_ms)

    def _add(self, number: int, slots: I64, times: I64, value: F64, ended: Bool) -> bool:
        if number <= self._closed or (number not in self._open and not self._open_one(number)):
            return False
        self._open[number].add(self._over_time, slots, times, value, ended)
        return True

    def _open_one(self, number: int) -> bool:
        """Open a tick, if need be in place of one farther ahead: times in the far future are wrong."""
        if len(self._open) >= self._most:
            farthest = max(self._open)
            if number > farthest:
                return False
            self.lost += self._open.pop(farthest).samples()
        self._open[number] = _Tick()
        self._next = number if self._next is None else min(self._next, number)
        return True
