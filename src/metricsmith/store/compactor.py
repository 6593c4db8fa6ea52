"""Writes blocks anew in the background: fewer and larger ones, without what was deleted or is damaged."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from metricsmith.errors import BlockCorrupt, DiskFull, StoreError
from metricsmith.model.series import SeriesTable
from metricsmith.model.telemetry import Telemetry
from metricsmith.store.block_output import BlockOutput
from metricsmith.store.block_reader import Block
from metricsmith.store.block_writer import FinishedBlock
from metricsmith.store.compaction import Job, OneWindow, Stopped, copy_blocks, next_job
from metricsmith.store.disposal import Disposal
from metricsmith.store.leases import LiveBlocks
from metricsmith.store.tombstones import Tombstone
from metricsmith.store.windows import Window, Windows

log = logging.getLogger(__name__)


class Blocks(Protocol):
    """What the compactor needs of the blocks of a data directory."""

    beginning: threading.Lock
    tmp: Path

    @property
    def live(self) -> LiveBlocks:
        """The blocks that serve."""
        ...

    def take_number(self) -> int:
        """Return a number for a new block."""
        ...

    def windows(self, newest_ms: int | None = None) -> Windows:
        """Return how time is cut now."""
        ...

    @property
    def tombstones(self) -> Sequence[Tombstone]:
        """What is deleted from blocks that have it still."""
        ...

    def publish(self, finished: Sequence[FinishedBlock], replaced: Sequence[Block] = ()) -> None:
        """Let finished blocks serve instead of the replaced ones."""
        ...

    def set_aside(self, block: Block, error: BlockCorrupt) -> None:
        """Take a block out that is damaged as a whole."""
        ...

    def drop_tombstones(self) -> None:
        """Forget tombstones of which no block has anything left."""
        ...


@dataclass(frozen=True, slots=True)
class _Begun:
    job: Job
    number: int
    tombstones: list[Tombstone]


class _Failed:
    """What is passed over until the next round: windows that failed, and what needs as much space as one did.

    Each try without space fills the disk, on which others write.
    """

    def __init__(self) -> None:
        self._windows: set[Window] = set()
        self._no_room_bytes = math.inf

    def add(self, job: Job, error: Exception) -> None:
        self._windows.add(job.window)
        if isinstance(error, DiskFull):
            self._no_room_bytes = min(self._no_room_bytes, job.bytes)

    def passes_over(self, job: Job) -> bool:
        return job.window in self._windows or job.bytes >= self._no_room_bytes


class Compactor:
    """For one background thread; whoever reads or flushes does not wait for it."""

    def __init__(
        self,
        blocks: Blocks,
        disposal: Disposal,
        series: SeriesTable,
        telemetry: Telemetry,
        most_open_blocks: int,
        row_group_rows: int,
    ) -> None:
        self._blocks, self._disposal = blocks, disposal
        self._series, self._telemetry = series, telemetry
        self._most_open_blocks, self._row_group_rows = most_open_blocks, row_group_rows

    def run(self, go_on: Callable[[], bool]) -> None:
        """Do all that is due, until `go_on` says no. What fails is counted, and tried in the next round."""
        for block in self._blocks.live.all():
            if block.lost:
                self._blocks.set_aside(block, block.damaged[0])
        failed = _Failed()
        while go_on() and self._one(go_on, failed):
            pass
        self._blocks.drop_tombstones()

    def _one(self, go_on: Callable[[], bool], failed: _Failed) -> bool:
        """Write some blocks as one; return whether there may be more to do."""
        with ExitStack() as held:
            begun = self._begin(held, failed)
            if begun is None:
                return False
            return self._write(begun, go_on, failed)

    def _begin(self, held: ExitStack, failed: _Failed) -> _Begun | None:
        """Choose blocks while none is being flushed: later ones win over what is made of these."""
        with self._blocks.beginning:
            tombstones = list(self._blocks.tombstones)
            with self._blocks.live.lease(lambda _: True) as blocks:
                job = next_job(
                    blocks,
                    self._blocks.windows(),
                    self._most_open_blocks,
                    lambda block: bool(block.damaged) or any(t.concerns(block) for t in tombstones),
                    failed.passes_over,
                )
                if job is None:
                    return None
                chosen = {block.entry.number for block in job.blocks}
                held.enter_context(self._blocks.live.lease(lambda block: block.entry.number in chosen))
            return _Begun(job, self._blocks.take_number(), tombstones)

    def _write(self, begun: _Begun, go_on: Callable[[], bool], failed: _Failed) -> bool:
        blocks = begun.job.blocks
        output = BlockOutput(
            self._blocks.tmp,
            lambda: begun.number,
            OneWindow(begun.job.window),
            self._row_group_rows,
            {name: told for block in blocks for name, told in block.catalogue.metadata.items()},
            # Not one whose damage was found on the way: it can be put back from a backup, and serves then.
            lambda: [block.entry.name for block in blocks if not block.damaged],
        )
        try:
            hidden = copy_blocks(blocks, output, self._series, begun.tombstones, go_on)
            self._blocks.publish(output.finish(), blocks)
        except Stopped:
            output.abandon()
            return False
        except (OSError, StoreError, DiskFull) as error:
            output.abandon()
            failed.add(begun.job, error)
            self._note_failure(blocks, error)
            return True
        except BaseException:
            output.abandon()
            raise
        self._count(begun.job, hidden)
        return True

    def _note_failure(self, blocks: Sequence[Block], error: Exception) -> None:
        self._telemetry.problem(
            log,
            "metricsmith_store_merges_total",
            f"merge of {len(blocks)} blocks failed, tried again within a minute or so: {error}",
            subject=blocks[0].entry.name,
            result="failed",
        )
        if isinstance(error, BlockCorrupt):
            for block in blocks:
                try:
                    block.check_frame()
                except BlockCorrupt as damage:
                    self._blocks.set_aside(block, damage)

    def _count(self, job: Job, hidden: int) -> None:
        self._telemetry.count("metricsmith_store_merges_total", result="done")
        self._telemetry.count("metricsmith_store_merged_bytes_total", job.bytes)
        if hidden:
            self._telemetry.count("metricsmith_store_samples_deleted_total", hidden, reason="request")
            log.info("removed %d samples that were deleted from %d blocks", hidden, len(job.blocks))
        whole = [block for block in job.blocks if not block.damaged]
        self._telemetry.count("metricsmith_store_blocks_deleted_total", len(whole), reason="merged")
        for block in job.blocks:
            if block.damaged:
                groups = len(block.damaged)
                what = f"{block.folder.name}, with {groups} damaged row groups; the others serve"
                self._disposal.note_set_aside("row_groups", what)
