"""An export request with room for times and values, which are words of eight bytes each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from metricsmith.model.arrays import F64, I64, U8, Bool

TIME, START, DOUBLE, COUNT = range(4)
Hole: TypeAlias = tuple[int, int, int, int]
"""Kind, place, row of the sample that goes there, and the row that is taken away from a count, or -1."""

MOST_COUNT = float(1 << 53)
LAST_MS = (1 << 63) // 1_000_000 - 1
_NS_OF_MS = 1_000_000
_WORD = 8


class RequestTemplate:
    """Bytes of a request, and where samples go. `add`, then `close`, then `fill` as often as wanted."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0
        self._holes: list[Hole] = []

    def add(self, *parts: bytes) -> None:
        """Add bytes."""
        self._parts += parts
        self._size += sum(map(len, parts))

    def add_with(self, parts: Sequence[bytes], holes: Sequence[Hole]) -> None:
        """Add bytes with holes, whose places count from there."""
        at = self._size
        self._holes += [(kind, at + place, row, minus) for kind, place, row, minus in holes]
        self.add(*parts)

    def close(self) -> RequestTemplate:
        """Make it ready to be filled."""
        self._bytes: U8 = np.frombuffer(b"".join(self._parts), dtype=np.uint8)
        holes = np.array(self._holes, dtype=np.int64).reshape(-1, 4)
        self._by_kind: list[I64] = [holes[holes[:, 0] == kind, 1:] for kind in range(4)]
        self._parts, self._holes = [], []
        return self

    def odd_rows(self, times: I64, values: F64) -> I64:
        """Return rows whose samples cannot be said: counts that are none or fall, times before 1970.

        Shapes:
            times, values: (P,)
        """
        counts = self._counts(values)
        said = (counts >= 0) & (counts <= MOST_COUNT) & (np.floor(counts) == counts)
        timed = self._by_kind[TIME][:, 1]
        early = (times[timed] < 0) | (times[timed] > LAST_MS)
        return np.unique(np.concatenate([self._by_kind[COUNT][~said, 1], timed[early]]))

    def fill(self, times: I64, values: F64, ended: bool = False) -> memoryview:
        """Return the request of samples, of which `odd_rows` has none; values of `ended` ones are left out.

        Shapes:
            times, values: (P,)
        Units:
            times: milliseconds.
        """
        out = self._bytes.copy()
        words = np.ndarray((max(len(out) - _WORD + 1, 0),), dtype="<u8", buffer=out.data, strides=(1,))
        times_at = self._by_kind[TIME]
        words[times_at[:, 0]] = _word(times[times_at[:, 1]] * _NS_OF_MS)
        if ended:
            return out.data
        starts = self._by_kind[START]
        words[starts[:, 0]] = _word(_as_ns(values[starts[:, 1]]))
        doubles = self._by_kind[DOUBLE]
        words[doubles[:, 0]] = values[doubles[:, 1]].view(np.uint64)
        words[self._by_kind[COUNT][:, 0]] = _word(self._counts(values).astype(np.int64))
        return out.data

    def _counts(self, values: F64) -> F64:
        counts = self._by_kind[COUNT]
        found = values[counts[:, 1]]
        less: Bool = counts[:, 2] >= 0
        with np.errstate(invalid="ignore"):
            found[less] -= values[counts[less, 2]]
        return found


def _word(numbers: I64) -> NDArray[np.uint64]:
    return numbers.astype(np.int64).view(np.uint64)


def _as_ns(seconds: F64) -> I64:
    """Return times as nanoseconds, 0 (unknown) for what is none."""
    known = (seconds > 0) & (seconds < LAST_MS / 1000)
    return (np.where(known, seconds, 0.0) * 1000).round().astype(np.int64) * _NS_OF_MS
