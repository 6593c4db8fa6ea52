"""One slab: the recent samples of one stream, time-major, under one timestamp vector.

A series has a stable row. A scrape is a column: one contiguous copy into a chunk. Which rows a
column has is a membership, and scrapes of an unchanged layout share one; staleness markers are
kept per column that has any. Buffers only grow: what a view has seen never changes.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from metricsmith.model.arrays import F64, I64, U32, Bool
from metricsmith.store.pieces import MatrixPiece, Piece, RaggedPiece
from metricsmith.store.ragged import consecutive, offsets_of, span

CHUNK_COLUMNS = 128
FIRST_CHUNK_COLUMNS = 16
MAX_PATTERNS = 32
"""With more different sets of columns than this among the selected series, they become one ragged piece."""
COLUMN_BYTES = 12

Rows = slice | I64


@dataclass(frozen=True, slots=True)
class Membership:
    """Rows of one layout, in its order, and the number of their set among the slab's masks."""

    rows: Rows
    mask: int


@dataclass(slots=True)  # not frozen: there are thousands per query, and freezing costs most of their making
class SlabView:
    """What a slab held at one moment; safe to read while the slab grows.

    Shapes:
        series: (S,) id of each row.
        times: (T,) strictly ascending.
        mask_of: (T,) which mask tells the rows of a column.
        masks: (≤ S,) bool each; rows beyond a mask are absent.
        chunks: (columns, width) each, beginning at column `starts[i]`.
        stale: column and rows of the staleness markers, columns ascending.
    """

    series: U32
    times: I64
    mask_of: U32
    masks: list[Bool]
    chunks: list[F64]
    starts: list[int]
    stale: list[tuple[int, I64]]

    def pieces(self, rows: I64, start_ms: int, end_ms: int) -> list[Piece]:
        """Return the samples of these rows in the closed range, grouped by equal timestamps."""
        lo, hi = span(self.times, start_ms, end_ms)
        if lo >= hi or len(rows) == 0:
            return []
        stale = [(column - lo, np.isin(rows, marked)) for column, marked in self.stale if lo <= column < hi]
        mask_of = self.mask_of[lo:hi]
        if not stale and (len(self.masks) == 1 or bool((mask_of == mask_of[0]).all())):
            present = _present(self.masks[mask_of[0]], rows)
            kept = rows if present.all() else rows[present]
            values = self._gather(kept, lo, hi)
            return [MatrixPiece(self.series[kept], self.times[lo:hi], values)] if len(kept) else []
        used, mask_at = np.unique(mask_of, return_inverse=True)
        all_present = np.stack([_present(self.masks[m], rows) for m in used])
        return self._by_pattern(rows, lo, hi, all_present, mask_at, stale)

    def _by_pattern(
        self, rows: I64, lo: int, hi: int, present: Bool, mask_at: I64, stale: list[tuple[int, Bool]]
    ) -> list[Piece]:
        pattern = np.packbits(np.concatenate([present, *(marked[None] for _, marked in stale)]), axis=0)
        _, first, group = np.unique(
            np.ascontiguousarray(pattern.T), axis=0, return_index=True, return_inverse=True
        )
        if len(first) > MAX_PATTERNS:
            return self._ragged(rows, lo, hi, present, mask_at, stale)
        pieces: list[Piece] = []
        for number, model in enumerate(first):
            columns = np.flatnonzero(present[mask_at, model])
            if len(columns) == 0:
                continue
            members = rows[group == number]
            mask = np.zeros(hi - lo, np.bool_)
            mask[[column for column, marked in stale if marked[model]]] = True
            whole = len(columns) == hi - lo
            values = self._gather(members, lo, hi)
            pieces.append(
                MatrixPiece(
                    self.series[members],
                    self.times[lo:hi] if whole else self.times[lo:hi][columns],
                    values if whole else values[:, columns],
                    mask[columns] if mask[columns].any() else None,
                )
            )
        return pieces

    def _ragged(
        self, rows: I64, lo: int, hi: int, present: Bool, mask_at: I64, stale: list[tuple[int, Bool]]
    ) -> list[Piece]:
        there = present[mask_at].T  # (rows, columns)
        lengths = there.sum(axis=1)
        kept = lengths > 0
        marks = np.zeros(there.shape, np.bool_)
        for column, marked in stale:
            marks[:, column] = marked
        times = np.broadcast_to(self.times[lo:hi], there.shape)[there]
        flat_stale = marks[there] if stale else None
        values = self._gather(rows, lo, hi)[there]
        return [RaggedPiece(self.series[rows[kept]], offsets_of(lengths[kept]), times, values, flat_stale)]

    def _gather(self, rows: I64, lo: int, hi: int) -> F64:
        out = np.empty((len(rows), hi - lo))
        if len(rows) == 0:
            return out
        least, most = int(rows[0]), int(rows[-1])
        neighbours = consecutive(rows)
        for start, chunk in zip(self.starts, self.chunks, strict=True):
            first, last = max(lo, start), min(hi, start + len(chunk))
            if first >= last:
                continue
            block = chunk[first - start : last - start]
            if neighbours and most < block.shape[1]:
                out[:, first - lo : last - lo] = block[:, least : most + 1].T
            else:  # rows newer than the chunk are absent from its columns, whatever is put there
                out[:, first - lo : last - lo] = np.take(block, rows, axis=1, mode="clip").T
        return out


def _present(mask: Bool, rows: I64) -> Bool:
    if int(rows.max()) < len(mask):
        return mask[rows]
    known = rows < len(mask)
    return known & mask[np.where(known, rows, 0)]


@dataclass(slots=True)
class Slab:
    """The growing samples of one stream; written by one thread."""

    number: int
    serial: int
    last_ms: int = -(1 << 62)
    loose_until_ms: int = -(1 << 62)  # up to here loose samples of these series exist: later ones win
    columns: int = 0
    samples: int = 0
    used_bytes: int = 0
    series: U32 = field(default_factory=lambda: np.empty(0, np.uint32))
    _times: I64 = field(default_factory=lambda: np.empty(FIRST_CHUNK_COLUMNS, np.int64))
    _mask_of: U32 = field(default_factory=lambda: np.empty(FIRST_CHUNK_COLUMNS, np.uint32))
    _masks: list[Bool] = field(default_factory=list)
    _mask_numbers: dict[bytes, int] = field(default_factory=dict)
    _chunks: list[F64] = field(default_factory=list)
    _starts: list[int] = field(default_factory=list)
    _stale: list[tuple[int, I64]] = field(default_factory=list)

    def first_ms(self) -> int:
        """Return the time of the oldest sample."""
        return int(self._times[0])

    def add_rows(self, series: U32) -> I64:
        """Give new series rows, in order, and return these."""
        start = len(self.series)
        self.series = np.concatenate([self.series, series]) if start else series
        self.used_bytes += series.nbytes
        return np.arange(start, start + len(series), dtype=np.int64)

    def membership(self, rows: I64) -> Membership:
        """Return the membership of a layout whose series have these rows."""
        mask = np.zeros(len(self.series), np.bool_)
        mask[rows] = True
        key = np.packbits(mask).tobytes().rstrip(b"\0")
        number = self._mask_numbers.get(key)
        if number is None:
            number = self._mask_numbers[key] = len(self._masks)
            self._masks.append(mask)
            self.used_bytes += mask.nbytes + len(key)
        if len(rows) and consecutive(rows):
            return Membership(slice(int(rows[0]), int(rows[-1]) + 1), number)
        return Membership(rows, number)

    def append(self, membership: Membership, time_ms: int, values: F64, stale: Bool | None) -> None:
        """Add a column; `time_ms` is after the last one.

        Shapes:
            values, stale: (P,) in the membership's order.
        """
        chunk, line = self._line()
        chunk[line, membership.rows] = values
        if stale is not None and stale.any():
            rows = membership.rows
            marked = (np.arange(rows.start, rows.stop) if isinstance(rows, slice) else rows)[stale]
            chunk[line, marked] = np.nan
            self._stale.append((self.columns, marked))
            self.used_bytes += marked.nbytes
        if self.columns == len(self._times):
            self._times = np.concatenate([self._times, np.empty_like(self._times)])
            self._mask_of = np.concatenate([self._mask_of, np.empty_like(self._mask_of)])
        self._times[self.columns] = time_ms
        self._mask_of[self.columns] = membership.mask
        self.columns += 1
        self.last_ms = time_ms
        self.samples += len(values)
        self.used_bytes += values.nbytes + COLUMN_BYTES

    def _line(self) -> tuple[F64, int]:
        rows = len(self.series)
        if self._chunks:
            chunk, line = self._chunks[-1], self.columns - self._starts[-1]
            if line < len(chunk) and rows <= chunk.shape[1]:
                return chunk, line
            if line <= len(chunk) // 2:  # abandoned early for new rows: keep only what is filled
                self._chunks[-1] = chunk[:line].copy()
        # Room for new rows only where there were some: most streams never change.
        width = rows + rows // 8 + 8 if self._chunks and rows > self._chunks[-1].shape[1] else rows
        columns = min(CHUNK_COLUMNS, FIRST_CHUNK_COLUMNS << len(self._chunks))
        self._chunks.append(np.empty((columns, width)))
        self._starts.append(self.columns)
        return self._chunks[-1], 0

    def view(self) -> SlabView:
        """Return what the slab holds now, without copying samples."""
        n = self.columns
        return SlabView(
            self.series, self._times[:n], self._mask_of[:n], self._masks, self._chunks[:], self._starts[:],
            self._stale[:],
        )  # fmt: skip
