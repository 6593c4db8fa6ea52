"""What one part of the store (a slab, a run of loose samples, a block) contributes to a selection or a block.

Pieces carry process-wide series ids. `merge.py` joins pieces into a `Selection`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from metricsmith.model.arrays import F64, I64, U32, Bool

LARGE_MATRIX_SAMPLES = 32_768
"""From this size on, joining matrices with equal times costs a copy and gains nothing."""


@dataclass(frozen=True, slots=True)
class MatrixPiece:
    """Series with exactly the same timestamps, every sample present.

    Shapes:
        series: (S,) ids, any order, each once.
        times: (T,) strictly ascending.
        values: (S, T) C order.
        stale: (T,) bool, shared by all series, or None.
    """

    series: U32
    times: I64
    values: F64
    stale: Bool | None = None


@dataclass(frozen=True, slots=True)
class RaggedPiece:
    """Series one after another in flat arrays; series i has samples `offsets[i]:offsets[i + 1]`.

    Shapes:
        series: (S,) ids, any order, each once.
        offsets: (S + 1,).
        times: (P,) strictly ascending within a series.
        values: (P,).
        stale: (P,) bool or None.
    """

    series: U32
    offsets: I64
    times: I64
    values: F64
    stale: Bool | None = None


Piece = MatrixPiece | RaggedPiece


def samples_in(piece: Piece, start_ms: int, end_ms: int) -> int:
    """Return how many samples a piece has in the closed range."""
    inside = np.count_nonzero((piece.times >= start_ms) & (piece.times <= end_ms))
    return int(inside) * (len(piece.series) if isinstance(piece, MatrixPiece) else 1)
