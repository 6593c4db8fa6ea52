"""What is remembered per series: columns of numbers, in slots that are released when a series is gone."""

from __future__ import annotations

import numpy as np

from metricsmith.model.arrays import F64, I64, U32, Bool
from metricsmith.model.batch import Layout
from metricsmith.model.clock import Clock

NO_SLOT = -1
_FIRST_CAPACITY = 1024


class _Cell:
    """What a layout remembers of its slots; they hold while the generation is the same."""

    __slots__ = ("generation", "slots")

    def __init__(self, _: Layout) -> None:
        self.generation = -1
        self.slots: I64 = np.empty(0, dtype=np.int64)


class SeriesState:
    """Columns of numbers, one slot per series that was seen lately.

    Series ids only grow, what is alive does not: a series that is not seen for
    `keep_s` loses its slot between then and twice that time, by a clock that
    no sender can set. A slot that is given anew holds the columns' fill values.
    """

    def __init__(self, clock: Clock, keep_s: float, **fills: float) -> None:
        self.columns: dict[str, F64] = {
            name: np.full(_FIRST_CAPACITY, float(fill)) for name, fill in fills.items()
        }
        self.series: U32 = np.zeros(_FIRST_CAPACITY, dtype=np.uint32)
        """Shapes: (capacity,) the series of each used slot."""
        self._fills, self._clock, self._keep_s = fills, clock, keep_s
        self._slot_of = np.full(_FIRST_CAPACITY, NO_SLOT, dtype=np.int32)
        self._used: Bool = np.zeros(_FIRST_CAPACITY, dtype=np.bool_)
        self._seen: Bool = np.zeros(_FIRST_CAPACITY, dtype=np.bool_)
        self._swept_s = clock.monotonic()
        self.generation = 0
        """Grows when slots are released."""

    def __len__(self) -> int:
        return int(self._used.sum())

    def slots(self, layout: Layout) -> I64:
        """Return the slot of each series of a layout, and note that they were seen.

        Shapes:
            returns: (P,) read-only
        """
        cell = layout.derive(self, _Cell)
        if cell.generation != self.generation:
            cell.slots = self._assigned(layout.ids)
            cell.slots.flags.writeable = False
            cell.generation = self.generation
        self._seen[cell.slots] = True
        return cell.slots

    def release(self) -> U32:
        """Forget what was not seen for long enough, if it is time to look; return the ids of those series."""
        now_s = self._clock.monotonic()
        if now_s - self._swept_s < self._keep_s:
            return _NONE
        self._swept_s = now_s
        gone = np.flatnonzero(self._used & ~self._seen)
        self._seen[:] = False
        if not len(gone):
            return _NONE
        series = self.series[gone]
        self._slot_of[series] = NO_SLOT
        self._used[gone] = False
        for name, fill in self._fills.items():
            self.columns[name][gone] = fill
        self.generation += 1
        return series

    def _assigned(self, ids: U32) -> I64:
        highest = int(ids.max(initial=0))
        if highest >= len(self._slot_of):
            self._slot_of = _longer(self._slot_of, 2 * (highest + 1), NO_SLOT)
        new = np.unique(ids[self._slot_of[ids] == NO_SLOT])
        if len(new):
            slots = self._free(len(new))
            self._slot_of[new] = slots
            self.series[slots] = new
            self._used[slots] = True
        return self._slot_of[ids].astype(np.int64)

    def _free(self, count: int) -> I64:
        free = np.flatnonzero(~self._used)
        if len(free) < count:
            capacity = 2 * len(self._used) + count
            self.columns = {
                name: _longer(column, capacity, self._fills[name]) for name, column in self.columns.items()
            }
            self.series = _longer(self.series, capacity, 0)
            self._used, self._seen = (
                _longer(self._used, capacity, False),
                _longer(self._seen, capacity, False),
            )
            free = np.flatnonzero(~self._used)
        return free[:count]


_NONE: U32 = np.empty(0, dtype=np.uint32)


def _longer(array: np.ndarray, length: int, fill: float) -> np.ndarray:
    longer = np.full(length, fill, dtype=array.dtype)
    longer[: len(array)] = array
    return longer
