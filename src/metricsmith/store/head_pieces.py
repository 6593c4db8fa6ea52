"""A frozen head as pieces for the block writer: in key order, converted one part at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import overload

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from metricsmith.model.arrays import U32
from metricsmith.model.series import SeriesTable
from metricsmith.store.head import Head
from metricsmith.store.pieces import RaggedPiece
from metricsmith.store.ragged import as_ragged, concatenate, take

PART_SAMPLES = 262_144
ALWAYS = (-(1 << 62), 1 << 62)


class HeadPieces(Sequence[RaggedPiece]):
    """The samples of a head as pieces that follow one another in key order, no series in two of them.

    A piece is made when it is asked for and not kept: the whole head decoded
    would take as much memory as the head.
    """

    def __init__(self, head: Head, table: SeriesTable) -> None:
        self._head = head
        self.newest_ms = head.last_ms()
        """Time of the newest sample, None without any."""
        series = head.active_series()
        keys = pa.array([table.key(i) for i in series.tolist()], pa.binary())
        self._series = series[np.asarray(pc.sort_indices(keys))]
        parts = -(-head.samples // PART_SAMPLES)
        self._step = max(1, -(-len(series) // max(1, parts)))

    def __len__(self) -> int:
        return -(-len(self._series) // self._step)

    @overload
    def __getitem__(self, index: int) -> RaggedPiece: ...
    @overload
    def __getitem__(self, index: slice) -> list[RaggedPiece]: ...
    def __getitem__(self, index: int | slice) -> RaggedPiece | list[RaggedPiece]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not 0 <= index < len(self):
            raise IndexError(index)
        return self._piece(self._series[index * self._step : (index + 1) * self._step])

    def _piece(self, in_key_order: U32) -> RaggedPiece:
        order = np.argsort(in_key_order)
        pieces = self._head.pieces(in_key_order[order], *ALWAYS)
        by_id = concatenate([p if isinstance(p, RaggedPiece) else as_ragged(p) for p in pieces])
        return take(by_id, np.argsort(order))
