"""Tombstones: what a person has deleted, hidden at once and left out when blocks are written anew.

A tombstone is of all blocks that were begun before it. What was accepted before a delete is flushed
first, so that neither the head nor the journal has any of it, and what comes later stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
import orjson

from metricsmith.model.arrays import U32, are_in, distinct
from metricsmith.model.matchers import Matcher, MatchOp
from metricsmith.store.block_meta import BlockMeta
from metricsmith.store.pieces import MatrixPiece, Piece, RaggedPiece
from metricsmith.store.ragged import as_ragged, keep_samples

NONE: U32 = np.empty(0, np.uint32)


class SortedIds(Protocol):
    """The series of a block."""

    sorted_ids: U32


class HasSeries(Protocol):
    """A block, as far as tombstones must know it."""

    meta: BlockMeta

    @property
    def catalogue(self) -> SortedIds:
        """Return its series."""
        ...


Selectors = tuple[tuple[Matcher, ...], ...]


@dataclass(frozen=True, slots=True)
class Tombstone:
    """Samples of some series in a closed range of time that are deleted from blocks with lower numbers.

    Shapes:
        series: sorted ids, each once.
    """

    number: int
    start_ms: int
    end_ms: int
    selectors: Selectors
    series: U32 = field(default_factory=lambda: NONE, compare=False)

    def of(self, series: U32) -> Tombstone:
        """Return the tombstone with the series that its selectors find."""
        return replace(self, series=series)

    def reaches(self, meta: BlockMeta) -> bool:
        """Return whether it is of a block, by number and times, whatever its series."""
        return (
            meta.number <= self.number
            and meta.min_time_ms <= self.end_ms
            and meta.max_time_ms >= self.start_ms
        )

    def concerns(self, block: HasSeries) -> bool:
        """Return whether it may hide samples of a block."""
        if not self.reaches(block.meta):
            return False
        few, many = sorted((self.series, block.catalogue.sorted_ids), key=len)
        return bool(are_in(few, many).any())

    def hides_all(self, block: HasSeries) -> bool:
        """Return whether all samples of its series in a block are hidden."""
        return self.start_ms <= block.meta.min_time_ms and block.meta.max_time_ms <= self.end_ms


def visible(piece: Piece, tombstones: Sequence[Tombstone]) -> Piece | None:
    """Return what tombstones leave of a piece of a block that they concern, None for nothing."""
    left: Piece | None = piece
    for tombstone in tombstones:
        if left is None:
            return None
        left = _without(left, tombstone)
    return left


def _without(piece: Piece, tombstone: Tombstone) -> Piece | None:
    hit = are_in(piece.series, tombstone.series)
    inside = (piece.times >= tombstone.start_ms) & (piece.times <= tombstone.end_ms)
    if not hit.any() or not inside.any():
        return piece
    if isinstance(piece, MatrixPiece):
        if inside.all():
            kept = np.flatnonzero(~hit)
            return (
                MatrixPiece(piece.series[kept], piece.times, piece.values[kept], piece.stale)
                if len(kept)
                else None
            )
        piece = as_ragged(piece)
        inside = np.tile(inside, len(piece.series))
    left = keep_samples(piece, ~(inside & np.repeat(hit, np.diff(piece.offsets))))
    return left if len(left.times) else None


def visible_pieces(block: HasSeries, pieces: list[Piece], tombstones: Sequence[Tombstone]) -> list[Piece]:
    """Return what tombstones leave of the pieces of a block."""
    hiding = [tombstone for tombstone in tombstones if tombstone.concerns(block)]
    if not hiding:
        return pieces
    return [left for piece in pieces if (left := visible(piece, hiding)) is not None]


def series_left(blocks: Sequence[HasSeries], tombstones: Sequence[Tombstone]) -> U32:
    """Return the sorted ids of all series of blocks, without those of which all samples are hidden."""
    found: dict[int, U32] = {}  # by catalogue: blocks with the same series share one
    left = [NONE]
    for block in blocks:
        hidden = [t.series for t in tombstones if t.concerns(block) and t.hides_all(block)]
        ids = block.catalogue.sorted_ids
        if hidden:
            left.append(np.setdiff1d(ids, np.concatenate(hidden), assume_unique=len(hidden) == 1))
        else:
            found[id(block.catalogue)] = ids
    return distinct(np.concatenate([*left, *found.values()]))


def visible_samples(piece: RaggedPiece, tombstones: Sequence[Tombstone]) -> RaggedPiece | None:
    """Return what tombstones leave of samples, None for nothing."""
    left = visible(piece, tombstones)
    return as_ragged(left) if isinstance(left, MatrixPiece) else left


def encode_selectors(selectors: Selectors) -> str:
    """Return selectors as JSON: a list of lists of label name, operator and value."""
    rows = [[[m.name, m.op.value, m.value] for m in matchers] for matchers in selectors]
    return orjson.dumps(rows).decode()


def decode_selectors(text: str) -> Selectors:
    """Return what `encode_selectors` wrote."""
    return tuple(
        tuple(Matcher(name, MatchOp(op), value) for name, op, value in matchers)
        for matchers in orjson.loads(text)
    )
