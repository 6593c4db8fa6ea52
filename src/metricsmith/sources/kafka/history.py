"""Offsets of the history window: a table of readings, one column per partition or (group, partition) pair.

A reading is one array over all columns. Readings at least `spacing` apart stay for the window. Those in
between stay while they are young: gaps are no longer than a part of their age, so that a time looked up in
the table is off by that part at most. A table is bounded by columns times readings: many columns thin them.

What is kept over restarts are whole readings under keys of their own, written once and deleted when they
leave the window; a commit is the new readings, a few bytes per column, never the whole table.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import TypeAlias

import cramjam
import numpy as np

from metricsmith.contracts import State
from metricsmith.model.arrays import I64
from metricsmith.sources.kafka.lag import UNKNOWN

Key: TypeAlias = tuple[str | int, ...]
MAX_READINGS, MIN_READINGS = 60, 8
FINENESS = 8
"""A gap between readings is about this part of its age, or shorter, until it is as long as `spacing`."""
MAX_CELLS = 8_000_000
"""64 MB of offsets."""
MAX_COLUMNS = MAX_CELLS // MIN_READINGS
MAX_SAVED_BYTES = 256 << 20
_HEADER = struct.Struct("<BIQ")
"""Format version, number of the list of columns, offsets in the reading."""
FORMAT = 1


@dataclass(slots=True)
class _Reading:
    time_ms: int
    offsets: I64  # as many as there were columns then; the others are UNKNOWN
    stays: bool = False
    saved: bool = False


class History:
    """The readings of one kind of offset; not safe to call from several threads at once.

    `kind` tells tables apart that share a state.
    """

    def __init__(self, kind: str, window_ms: int, max_cells: int = MAX_CELLS) -> None:
        self._kind, self._window_ms, self._max_cells = kind, window_ms, max_cells
        self._columns: dict[Key, int] = {}
        self._readings: list[_Reading] = []
        self._generation = 0  # columns are only appended within one
        self._columns_saved = 0
        self._gone: list[str] = []
        self.refused = 0
        self._last: tuple[Sequence[Key], int, I64] = ((), -1, np.empty(0, dtype=np.int64))

    def __len__(self) -> int:
        return len(self._readings)

    @property
    def columns(self) -> int:
        """How many partitions or pairs there are."""
        return len(self._columns)

    def record(
        self, time_ms: int, keys: Sequence[Key], offsets: I64, spacing_ms: float | None = None
    ) -> None:
        """Add a reading; keys that it does not name are UNKNOWN at that time.

        `keys` given again as the same object must not have changed: its columns are remembered.
        Tables that are looked at together are given one spacing, the wider. A clock that
        was set back takes the readings from later times with it.
        What does not fit within the bound is left out and counted in `refused`.

        Shapes:
            offsets: (len(keys),)
        """
        limit = self._max_cells // MIN_READINGS
        column = self._columns_of(keys)
        if column is None:
            column = np.fromiter((self._column(key, limit) for key in keys), dtype=np.int64, count=len(keys))
            self._last = (keys, self._generation, column)
        row = np.full(len(self._columns), UNKNOWN, dtype=np.int64)
        row[column[column >= 0]] = offsets[column >= 0]
        self.refused += int(np.count_nonzero(column < 0))
        while self._readings and self._readings[-1].time_ms >= time_ms:
            self._forget(self._readings.pop())
        self._append(_Reading(time_ms, row), self.spacing_ms() if spacing_ms is None else spacing_ms)
        self._prune(time_ms)

    def _append(self, reading: _Reading, spacing_ms: float) -> None:
        last = next((each.time_ms for each in reversed(self._readings) if each.stays), None)
        reading.stays = last is None or reading.time_ms - last >= spacing_ms
        self._readings.append(reading)

    def past(self, keys: Sequence[Key]) -> tuple[I64, I64]:
        """Return times and offsets of the named columns; a key that was never read is UNKNOWN throughout.

        Shapes:
            returns: (N,) ascending; (len(keys), N)
        """
        found = self._columns_of(keys)
        if found is None:
            found = np.fromiter((self._columns.get(key, -1) for key in keys), dtype=np.int64, count=len(keys))
        table = np.full((len(keys), len(self._readings)), UNKNOWN, dtype=np.int64)
        for number, reading in enumerate(self._readings):
            there = (found >= 0) & (found < len(reading.offsets))
            table[there, number] = reading.offsets[found[there]]
        return np.array([reading.time_ms for reading in self._readings], dtype=np.int64), table

    def keep_only(self, keys: Iterable[Key]) -> None:
        """Forget all columns but these: topics and groups that were deleted."""
        wanted = set(keys)
        kept = [(key, column) for key, column in self._columns.items() if key in wanted]
        if len(kept) == len(self._columns):
            return
        take = np.array([column for _, column in kept], dtype=np.int64)
        for reading in self._readings:
            padded = np.full(len(self._columns), UNKNOWN, dtype=np.int64)
            padded[: len(reading.offsets)] = reading.offsets
            reading.offsets = padded[take]
            self._forget(reading)
            reading.saved = False
        self._gone.append(self._columns_name(self._generation))
        self._columns = {key: number for number, (key, _) in enumerate(kept)}
        self._generation, self._columns_saved = self._generation + 1, 0

    def save(self, state: State) -> None:
        """Make readings durable that are not yet, and forget those that have left the window, in one commit.

        Raises:
            DiskFull, StoreError: nothing has changed; the next save has it all.
        """
        ready = [r for r in self._readings if not r.saved]
        put = {self._reading_name(r.time_ms): self._encoded(r) for r in ready}
        if ready and self._columns_saved != len(self._columns):
            put[self._columns_name(self._generation)] = _pack(json.dumps(list(self._columns)).encode())
        if not put and not self._gone:
            return
        state.commit(put, [name for name in self._gone if name not in put])
        self._gone.clear()
        for reading in ready:
            reading.saved = True
        if ready:
            self._columns_saved = len(self._columns)

    def restore(self, state: State, now_ms: int) -> int:
        """Take over what an earlier process saved within the window; return how many entries were unreadable.

        Unreadable entries are deleted at the next save.
        """
        entries = dict(state.items(f"{self._kind}/"))
        bad = 0
        lists: dict[int, list[Key]] = {}
        saved: list[tuple[int, int, I64]] = []
        for name, data in entries.items():
            _, what, number = name.split("/")
            try:
                if what == "columns":
                    lists[int(number)] = [tuple(key) for key in json.loads(_unpack(data))]
                else:
                    saved.append((int(number), *_decoded(data)))
            except (ValueError, TypeError, struct.error, cramjam.DecompressionError):
                bad += 1
                self._gone.append(name)
        newest = max(lists, default=0)
        self._generation = newest
        self._columns = {key: number for number, key in enumerate(lists.get(newest, []))}
        self._columns_saved = len(self._columns)
        for time_ms, generation, offsets in sorted(saved, key=lambda each: each[0]):
            # Lists older than the newest are left behind only by a crash between two versions of this code.
            usable = generation == newest and len(offsets) <= len(self._columns)
            if usable and now_ms - self._window_ms <= time_ms <= now_ms:
                self._append(_Reading(time_ms, offsets, saved=True), self.spacing_ms())
            else:
                self._gone.append(self._reading_name(time_ms))
        self._gone += [self._columns_name(generation) for generation in lists if generation != newest]
        return bad

    def _columns_of(self, keys: Sequence[Key]) -> I64 | None:
        """Return the columns of the very list that was recorded last; None for another one."""
        last, generation, column = self._last
        return column if last is keys and generation == self._generation else None

    def _column(self, key: Key, limit: int) -> int:
        found = self._columns.get(key)
        if found is None:
            if len(self._columns) >= limit:
                return -1
            found = self._columns[key] = len(self._columns)
        return found

    def spacing_ms(self) -> float:
        """Return how far apart readings stand that stay, so that the table stays within its bound."""
        return self._window_ms / min(MAX_READINGS, max(MIN_READINGS, self._most() // 2))

    def _most(self) -> int:
        return self._max_cells // max(1, len(self._columns))

    def _prune(self, now_ms: int) -> None:
        kept: list[_Reading] = []
        spare = self._most() - sum(each.stays for each in self._readings)
        between = sum(not each.stays for each in self._readings)
        for each, following in zip_longest(self._readings, self._readings[1:]):
            if following is None or each.stays:
                goes = each.time_ms < now_ms - self._window_ms
            else:
                gap_ms = following.time_ms - kept[-1].time_ms if kept else 0
                goes = between > spare or gap_ms * FINENESS <= now_ms - each.time_ms
                between -= goes
            if goes:
                self._forget(each)
            else:
                kept.append(each)
        self._readings = kept

    def _forget(self, reading: _Reading) -> None:
        if reading.saved:
            self._gone.append(self._reading_name(reading.time_ms))

    def _reading_name(self, time_ms: int) -> str:
        return f"{self._kind}/reading/{time_ms:015d}"

    def _columns_name(self, generation: int) -> str:
        return f"{self._kind}/columns/{generation:010d}"

    def _encoded(self, reading: _Reading) -> bytes:
        # Bytes of equal weight side by side: the high ones are mostly zero, 3 bytes an offset remain.
        planes = np.ascontiguousarray(reading.offsets).view(np.uint8).reshape(-1, 8).T
        return _HEADER.pack(FORMAT, self._generation, len(reading.offsets)) + _pack(planes.tobytes())


def _decoded(data: bytes) -> tuple[int, I64]:
    version, generation, count = _HEADER.unpack_from(data)
    if version != FORMAT or count > MAX_COLUMNS:
        raise ValueError(f"got format {version} with {count} offsets, wanted format {FORMAT}")
    planes = np.frombuffer(_unpack(data[_HEADER.size :]), dtype=np.uint8).reshape(8, count)
    return generation, np.ascontiguousarray(planes.T).view(np.int64).reshape(count)


def _pack(data: bytes) -> bytes:
    return bytes(cramjam.zstd.compress(data, level=1))


def _unpack(data: bytes) -> bytes:
    return bytes(cramjam.zstd.decompress(data))
