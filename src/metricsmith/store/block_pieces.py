"""What leased blocks contribute to a selection, without what is deleted or damaged."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from metricsmith.errors import BlockCorrupt
from metricsmith.model.arrays import U32
from metricsmith.model.selection import UNLIMITED, SampleLimit
from metricsmith.store.block_reader import Block
from metricsmith.store.cache import ByteCache
from metricsmith.store.pieces import Piece
from metricsmith.store.tombstones import Tombstone, visible_pieces

Lost = list[tuple[Block, BlockCorrupt]]


def read_pieces(
    blocks: Sequence[Block],
    tombstones: Sequence[Tombstone],
    series: U32,
    start_ms: int,
    end_ms: int,
    cache: ByteCache,
    limit: SampleLimit,
) -> tuple[list[Piece], Lost]:
    """Return the samples of some series in the closed range, and which blocks are damaged as a whole.

    Blocks that lie within the range are counted before any is decoded.

    Shapes:
        series: sorted ids, each once.
    Raises:
        StoreError: a file cannot be read now.
        QueryLimitExceeded: there are too many samples.
    """
    if limit.has_room_for(sum(block.meta.samples for block in blocks)):
        limit = UNLIMITED
    for block in blocks:
        if limit is not UNLIMITED and block.lies_within(start_ms, end_ms):
            with suppress(BlockCorrupt):  # reading it says so again
                limit.add(block.samples_of(series, cache))
    found: list[Piece] = []
    lost: Lost = []
    for block in blocks:
        try:
            pieces = block.pieces(series, start_ms, end_ms, cache, limit)
            found.extend(visible_pieces(block, pieces, tombstones))
        except BlockCorrupt as error:
            lost.append((block, error))
        else:
            if block.lost:
                lost.append((block, block.damaged[0]))
    return found, lost
