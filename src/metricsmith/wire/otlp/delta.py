"""Sums of deltas: what senders report since their last report becomes what has come in all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from metricsmith.model.arrays import F64, I64, U32, Bool

_NEVER = np.iinfo(np.int64).min


@dataclass(frozen=True, slots=True)
class Summed:
    """What deltas come to.

    `commit` makes them count: called when the samples are accepted, so that
    those which are sent again after a failure are not counted twice.

    Shapes:
        totals: (P,). late: (P,) not newer than the last one of their series. unfit: (P,) no finite number,
        or of a series too many.
    """

    totals: F64
    late: Bool
    unfit: Bool
    commit: Callable[[], None]


class DeltaSums:
    """Running sums by series id, as many as allowed; one that gets nothing for a while is forgotten."""

    def __init__(self, most_series: int, expiry_ms: int) -> None:
        self._most, self._expiry_ms = most_series, expiry_ms
        self._rows = np.empty(0, dtype=np.int64)  # by series id, -1 for none
        self._ids = np.empty(0, dtype=np.uint32)  # the rest by row
        self._total = np.empty(0)
        self._time = np.empty(0, dtype=np.int64)
        self._seen = np.empty(0, dtype=np.int64)

    def __len__(self) -> int:
        return len(self._ids)

    def add(self, ids: U32, deltas: F64, times: I64, now_ms: int) -> Summed:
        """Return sums after each delta, which stand in the order in which they came.

        Shapes:
            ids, deltas, times: (P,)
        """
        self._forget(now_ms)
        series, place = np.unique(ids, return_inverse=True)
        rows = self._find(series)
        is_known = rows >= 0
        total, last = np.zeros(len(series)), np.full(len(series), _NEVER)
        total[is_known], last[is_known] = self._total[rows[is_known]], self._time[rows[is_known]]
        fits = is_known | (np.cumsum(~is_known) <= self._most - len(self))
        unfit = ~(np.isfinite(deltas) & fits[place])
        late = np.zeros(len(ids), dtype=np.bool_)
        totals = np.empty(len(ids))
        for turn in _turns(place):
            at = place[turn]
            late[turn] = ~unfit[turn] & (times[turn] <= last[at])
            good = ~(late[turn] | unfit[turn])
            total[at[good]] += deltas[turn[good]]
            last[at[good]] = times[turn[good]]
            totals[turn] = total[at]
        used = last > _NEVER
        keep = (series[used], total[used], last[used])
        return Summed(totals, late, unfit, lambda: self._put(*keep, now_ms))

    def _find(self, series: U32) -> I64:
        rows = np.full(len(series), -1)
        inside = series < len(self._rows)
        rows[inside] = self._rows[series[inside]]
        return rows

    def _put(self, series: U32, total: F64, time: I64, now_ms: int) -> None:
        rows = self._find(series)
        new = rows < 0
        if new.any():
            rows[new] = len(self._ids) + np.arange(new.sum())
            self._ids = np.concatenate([self._ids, series[new]])
            room = np.zeros(int(new.sum()), dtype=np.int64)
            self._total = np.concatenate([self._total, room.astype(np.float64)])
            self._time = np.concatenate([self._time, room])
            self._seen = np.concatenate([self._seen, room])
            self._index()
        self._total[rows], self._time[rows], self._seen[rows] = total, time, now_ms

    def _forget(self, now_ms: int) -> None:
        stay = self._seen > now_ms - self._expiry_ms
        if stay.all():
            return
        self._ids, self._total = self._ids[stay], self._total[stay]
        self._time, self._seen = self._time[stay], self._seen[stay]
        self._index()

    def _index(self) -> None:
        self._rows = np.full(int(self._ids.max(initial=0)) + 1, -1)
        self._rows[self._ids] = np.arange(len(self._ids))


def _turns(place: I64) -> list[I64]:
    """Return places of first deltas of all series, of second ones, and so on: each series once a turn."""
    order = np.argsort(place, kind="stable")
    ordered = place[order]
    first = np.concatenate([np.zeros(1, np.int64), np.flatnonzero(np.diff(ordered)) + 1])
    length = np.diff(np.append(first, len(ordered)))
    turn = np.arange(len(ordered)) - np.repeat(first, length)
    return [order[turn == number] for number in range(int(length.max(initial=0)))]
