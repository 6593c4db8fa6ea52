"""A file that is read from its beginning, text or frames, and goes on to be read where it grew."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import numpy as np

from metricsmith.model.arrays import U32
from metricsmith.model.selection import SampleLimit
from metricsmith.store.file.memory import PieceMemory
from metricsmith.store.pieces import RaggedPiece
from metricsmith.store.ragged import concatenate, sort_samples, take_series, trim
from metricsmith.wire.sample_files.columns import Columns

MOST_JOINED_SAMPLES = 4_000_000
NO_SERIES = np.empty(0, np.uint32)


class Decoder(Protocol):
    """Reads one file in parts, which must follow one another."""

    def decode(self, path: Path, start: int, end: int | None) -> Iterator[Columns]:
        """Yield the samples between two places of the file; what is damaged is told and left out.

        Raises:
            FileNotFoundError: the file has another name now, or is gone.
        """
        ...

    def restart(self) -> None:
        """Forget what was read: the next part is the first."""
        ...


class GrowingFile:
    """The samples of such a file, in memory while there is room, else decoded at each query. Thread-safe."""

    def __init__(self, decoder: Decoder, memory: PieceMemory) -> None:
        self._decoder, self._memory = decoder, memory
        self._pieces: list[RaggedPiece] = []
        self._kept = True
        self._path, self._end = Path(), 0
        self._series, self._span = NO_SERIES, (1 << 62, -(1 << 62))
        self._lock = threading.Lock()

    def catch_up(self, path: Path, end: int) -> None:
        """Read what has come, up to a place in the file.

        Raises:
            FileNotFoundError: the file has another name now, or is gone.
        """
        with self._lock:
            self._path = path
            if end < self._end:  # it is not the file that it was
                self._forget()
            if end > self._end:
                try:
                    for columns in self._decoder.decode(path, self._end, end):
                        self._add(columns)
                except BaseException:
                    self._forget()
                    raise
                self._end = end

    def series(self, name: str | None = None) -> U32:
        """Return the ids of the series in the file, sorted, those of other metrics too."""
        return self._series

    def known_series(self) -> U32:
        """Return the ids of the series that somebody has asked for: all."""
        return self._series

    def overlaps(self, start_ms: int, end_ms: int) -> bool:
        """Return whether samples may be in the closed range."""
        first_ms, last_ms = self._span
        return first_ms <= end_ms and last_ms >= start_ms

    def select(
        self, wanted: U32, start_ms: int, end_ms: int, limit: SampleLimit, name: str | None = None
    ) -> Iterator[RaggedPiece]:
        """Yield what the file has of some series, sorted ids, in the closed range; later pieces win."""
        with self._lock:
            for piece in self._all_pieces():
                found = trim(take_series(piece, wanted), start_ms, end_ms)
                if len(found.times):
                    limit.add(len(found.times))
                    yield found

    def drop_pieces(self) -> None:
        """Free the memory of the samples; they are decoded again when somebody asks."""
        # Without the lock: two files may make room for themselves at once. In this order, see `_all_pieces`.
        self._kept = False
        self._pieces = []

    def _all_pieces(self) -> Iterator[RaggedPiece]:
        pieces = self._pieces
        if self._kept:
            self._memory.used(self)
            yield from pieces
            return
        self._decoder.restart()
        self._pieces, self._kept = [], True
        complete = False
        try:
            for columns in self._decoder.decode(self._path, 0, self._end):
                piece = _piece(columns)
                self._keep(piece)
                yield piece
            complete = True
        finally:
            if not complete:
                self.drop_pieces()

    def _add(self, columns: Columns) -> None:
        if not len(columns):
            return
        piece = _piece(columns)
        self._series = np.union1d(self._series, piece.series)
        first_ms, last_ms = self._span
        self._span = min(first_ms, int(piece.times.min())), max(last_ms, int(piece.times.max()))
        self._keep(piece)

    def _keep(self, piece: RaggedPiece) -> None:
        if not self._kept:
            return
        pieces = self._pieces
        while pieces and len(pieces[-1].times) < 2 * len(piece.times) < 2 * MOST_JOINED_SAMPLES:
            piece = concatenate([pieces.pop(), piece])
        pieces.append(piece)
        if not self._memory.has_room(self, sum(map(_bytes, pieces))):
            self._pieces, self._kept = [], False

    def _forget(self) -> None:
        self._decoder.restart()
        self._pieces, self._kept, self._end = [], True, 0
        self._series, self._span = NO_SERIES, (1 << 62, -(1 << 62))


def _piece(columns: Columns) -> RaggedPiece:
    return sort_samples(columns.series, columns.times, columns.values, columns.stale)


def _bytes(piece: RaggedPiece) -> int:
    return piece.times.nbytes + piece.values.nbytes + piece.series.nbytes + piece.offsets.nbytes
