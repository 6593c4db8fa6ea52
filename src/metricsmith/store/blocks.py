"""The blocks of a data directory: write, read, merge and delete.

The manifest decides what exists. A block is written in `tmp`, synced, renamed into `blocks`, and then
named in the manifest in one transaction with the journal cursor: a crash leaves the old state or the new.
"""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from weakref import WeakValueDictionary

import numpy as np
import pyarrow as pa

from metricsmith.errors import BlockCorrupt, DiskFull, StoreError
from metricsmith.model.arrays import U32
from metricsmith.model.metadata import Metadata
from metricsmith.model.selection import UNLIMITED, SampleLimit
from metricsmith.model.series import SeriesTable
from metricsmith.model.settings_types import format_size
from metricsmith.model.steady_time import believable_end
from metricsmith.model.telemetry import Telemetry
from metricsmith.store import fsutil
from metricsmith.store.block_output import BlockOutput
from metricsmith.store.block_pieces import read_pieces
from metricsmith.store.block_reader import Block, Catalogue
from metricsmith.store.block_writer import FinishedBlock
from metricsmith.store.cache import ByteCache
from metricsmith.store.compaction import oldest_beyond
from metricsmith.store.compactor import Compactor
from metricsmith.store.datadir import DataDir
from metricsmith.store.disposal import Disposal
from metricsmith.store.leases import LiveBlocks
from metricsmith.store.manifest import BlockEntry, Manifest
from metricsmith.store.opening import open_blocks
from metricsmith.store.pieces import Piece, RaggedPiece
from metricsmith.store.rebuild import begin_manifest
from metricsmith.store.snapshot import SnapshotMade, make_snapshot
from metricsmith.store.sorting import joined
from metricsmith.store.tombstones import Selectors, Tombstone, series_left
from metricsmith.store.windows import Windows, window_sizes

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class BlockConfig:
    """How blocks are cut, kept and cached.

    `row_group_rows` is what one series costs at least when it is read from
    disk (0.3 ms for 32,768); smaller ones make whole reads slower. The longest
    window is a fortieth of the retention, 54 h at most: with longer ones, a
    query over a few hours would decode days, and more would be kept past the retention.
    """

    retention_ms: int = 30 * 86_400_000
    cache_bytes: int = 256 << 20
    window_ms: int = 2 * 3_600_000
    max_blocks_per_window: int = 8
    row_group_rows: int = 32_768
    retention_bytes: int | None = None
    windows_in_retention: int = 40
    longest_window_ms: int = 54 * 3_600_000
    most_merged_samples: int = 1 << 27
    """Blocks of a window with more than this together stay as they are: they are large enough."""


class BlockStore:
    """Everything on disk under one folder. Any thread may read; one calls `write`, one `compact`."""

    def __init__(self, folder: Path, series: SeriesTable, telemetry: Telemetry, config: BlockConfig) -> None:
        self._series, self._telemetry, self._config = series, telemetry, config
        self._dirs = DataDir(folder)
        longest_ms = min(config.retention_ms // config.windows_in_retention, config.longest_window_ms)
        self._sizes = window_sizes(config.window_ms, longest_ms)
        self._cache = ByteCache(config.cache_bytes, telemetry)
        self._live = LiveBlocks()
        self._disposal = Disposal(self._dirs, self._cache, telemetry)
        self._catalogues: WeakValueDictionary[str, Catalogue] = WeakValueDictionary()
        self._metadata: dict[str, Metadata] = {}
        self._change = threading.Lock()  # one change of the manifest and the live blocks at a time
        self.beginning = threading.Lock()
        """Held from the first number that a flush takes to its commit, and while others take theirs.

        A block that is begun later wins over what was there before, so it must have seen that.
        """
        self._tombstones: tuple[Tombstone, ...] = ()
        self.tmp = self._dirs.tmp
        self._compactor = Compactor(
            self, self._disposal, series, telemetry, config.max_blocks_per_window, config.row_group_rows
        )
        self._manifest: Manifest

    # --- open and close ------------------------------------------------------------------------

    def open(self) -> None:
        """Take the directory and open what the manifest names; set aside what is damaged or unknown.

        Raises:
            DataDirLocked: another process uses it.
            FormatTooNew: a newer metricsmith wrote it.
            DiskFull, StoreError: what is there cannot be read now, or a change of it not be written.
        """
        with ExitStack() as undo:
            self._dirs.open()
            undo.callback(self._dirs.close)
            if not self._dirs.manifest.exists():
                rebuilt = begin_manifest(self._dirs)
                if rebuilt.blocks:
                    log.warning("%s is missing: made anew of %d blocks", self._dirs.manifest, rebuilt.blocks)
            self._manifest = Manifest(self._dirs.manifest)
            undo.callback(self._manifest.close)
            blocks = open_blocks(self._dirs, self._manifest, self._series, self._catalogues, self._disposal)
            self._live.exchange(blocks, {})
            for block in blocks:
                self._metadata.update(block.catalogue.metadata)
            undo.pop_all()
        self._telemetry.watch("metricsmith_store_blocks", lambda: self.block_count)
        self._telemetry.watch("metricsmith_store_disk_bytes", self.disk_usage)

    def close(self) -> None:
        """Release the directory."""
        self._manifest.close()
        self._dirs.close()

    # --- reading: any thread -------------------------------------------------------------------

    @property
    def cursor(self) -> int:
        """The journal sequence from which a restart must replay; 0 when nothing was written yet."""
        return self._manifest.cursor

    @property
    def live(self) -> LiveBlocks:
        """The blocks that serve."""
        return self._live

    @property
    def block_count(self) -> int:
        """The number of blocks that serve."""
        return len(self._live.all())

    def pieces(self, series: U32, start_ms: int, end_ms: int, limit: SampleLimit = UNLIMITED) -> list[Piece]:
        """Return the samples of some series in the closed range, oldest priority first.

        Where two pieces hold the same (series, time), the later one is right.
        A block found to be damaged is set aside, and the others answer; of one with damaged row groups,
        the others do.
        Blocks that lie within the range are counted before any is decoded.

        Shapes:
            series: sorted ids, each once.
        Raises:
            StoreError: a file cannot be read now; what is missing is not known, so there is no answer.
            QueryLimitExceeded: there are too many samples.
        """
        tombstones = self._tombstones  # first: once what a merge wrote anew serves, they may be forgotten
        with self._live.lease(
            lambda b: b.meta.min_time_ms <= end_ms and b.meta.max_time_ms >= start_ms
        ) as blocks:
            found, lost = read_pieces(blocks, tombstones, series, start_ms, end_ms, self._cache, limit)
        for block, why in lost:
            self.set_aside(block, why)
        return found

    def series_in(self, start_ms: int, end_ms: int) -> U32:
        """Return the sorted ids of all series of blocks that overlap the closed range."""
        tombstones = self._tombstones  # first, as in `pieces`
        blocks = [
            b for b in self._live.all() if b.meta.min_time_ms <= end_ms and b.meta.max_time_ms >= start_ms
        ]
        return series_left(blocks, tombstones)

    def metadata(self) -> Mapping[str, Metadata]:
        """Return what blocks know of each metric family."""
        return self._metadata

    def disk_usage(self) -> int:
        """Return the bytes of all blocks."""
        return sum(block.meta.disk_bytes for block in self._live.all())

    def time_span(self) -> tuple[int, int] | None:
        """Return the times of the oldest and the newest sample, None without any."""
        metas = [block.meta for block in self._live.all()]
        if not metas:
            return None
        return min(m.min_time_ms for m in metas), max(m.max_time_ms for m in metas)

    def believable_end(self) -> int | None:
        """Return until when samples go that a right clock has seen, None without any."""
        spans = ((b.meta.min_time_ms, b.meta.max_time_ms) for b in self._live.all())
        return believable_end(spans, self._config.retention_ms)

    def last_sample_ms(self) -> int | None:
        """Return the time of the newest sample, None without any."""
        return max((block.meta.max_time_ms for block in self._live.all()), default=None)

    def snapshot(self) -> SnapshotMade:
        """Return a new snapshot of all blocks; what happens to them later does not change it.

        Raises:
            DiskFull, StoreError: there is none.
        """
        with ExitStack() as held:
            with self._change:  # the manifest names the blocks that are leased
                blocks = held.enter_context(self._live.lease(lambda _: True))
                manifest = self._dirs.tmp / f"manifest-{secrets.token_hex(4)}"
                held.callback(manifest.unlink, missing_ok=True)
                self._manifest.copy_to(manifest)
            made = make_snapshot(self._dirs, blocks, manifest)
        self._telemetry.count("metricsmith_store_snapshots_total")
        log.info("made the snapshot %s of %d blocks", made.path, made.blocks)
        return made

    # --- changing: one background thread -------------------------------------------------------

    def write(
        self,
        pieces: Iterable[RaggedPiece],
        metadata: Mapping[str, Metadata],
        cursor: int,
        newest_ms: int | None = None,
    ) -> None:
        """Make pieces durable as one block per window they touch, and the journal cursor with them.

        Windows are as long as they can be with samples until `newest_ms`, by
        default those of blocks: back-dated samples make few blocks.

        Pieces come oldest priority first: a later one wins on equal (series,
        time). They are taken one at a time, so a lazy sequence whose pieces
        follow one another in key order costs the memory of one.

        Raises:
            DiskFull: no space; nothing has changed.
        """
        with self.beginning:
            output = BlockOutput(
                self._dirs.tmp,
                self._manifest.take_number,
                self.windows(newest_ms),
                self._config.row_group_rows,
                metadata,
            )
            try:
                for keyed in joined(pieces, self._series):
                    output.append(keyed)
                self.publish(output.finish(), cursor=cursor)
            except BaseException:
                output.abandon()
                raise
        self._metadata = {**self._metadata, **metadata}
        pa.default_memory_pool().release_unused()  # else some 30 MB stay resident until the next flush

    def compact(self, go_on: Callable[[], bool] = lambda: True) -> None:
        """Write anew what is due, as long as `go_on` says so; a failure is counted and due again next time.

        Small blocks become larger ones; what is deleted or damaged is left out.
        """
        self._compactor.run(go_on)
        pa.default_memory_pool().release_unused()

    def windows(self, newest_ms: int | None = None) -> Windows:
        """Return how time is cut into blocks now that there are samples until `newest_ms`."""
        metas = [block.meta for block in self._live.all()]
        return Windows(self._sizes, self._config.most_merged_samples, metas, newest_ms)

    # --- deletes -------------------------------------------------------------------------------

    @property
    def tombstones(self) -> tuple[Tombstone, ...]:
        """What is deleted, of which some block has something still."""
        return self._tombstones

    def find_deleted(self, match: Callable[[Selectors], U32]) -> None:
        """Have tombstones of earlier runs hide the series that `match` finds; before anything is read.

        Series that came after a tombstone are in no block that it is of.
        """
        self._tombstones = tuple(t.of(match(t.selectors)) for t in self._manifest.tombstones())

    def delete(self, selectors: Selectors, series: U32, start_ms: int, end_ms: int) -> bool:
        """Delete the samples of series from all blocks there are now; return whether any may have some.

        They are hidden when this returns, durably, and leave the disk when
        blocks are written anew.

        Shapes:
            series: sorted ids that the selectors find, each once.
        Raises:
            DiskFull, StoreError: nothing has changed.
        """
        with self.beginning, self._change:
            made = Tombstone(self._manifest.take_number(), start_ms, end_ms, selectors, series)
            if not any(made.concerns(block) for block in self._live.all()):
                return False
            self._manifest.commit(entomb=[made])
            self._tombstones = (*self._tombstones, made)
        self._telemetry.count("metricsmith_store_deletions_total")
        return True

    def drop_tombstones(self) -> None:
        """Forget tombstones of which no block has anything left."""
        with self._change:
            blocks = self._live.all()
            done = [t for t in self._tombstones if not any(t.concerns(block) for block in blocks)]
            if done:
                self._manifest.commit(exhume=[t.number for t in done])
                self._tombstones = tuple(t for t in self._tombstones if t not in done)

    def take_number(self) -> int:
        """Return a number for a new block, higher than that of every block so far."""
        return self._manifest.take_number()

    def apply_retention(self, now_ms: int) -> None:
        """Delete blocks that are too old or too many, and strays that are too old."""
        cutoff_ms = now_ms - self._config.retention_ms
        with self._change:
            old = [b for b in self._live.all() if b.meta.max_time_ms < cutoff_ms]
            self._let_go(old, "retention", "older than storage.retention")
            if (limit := self._config.retention_bytes) is not None:
                beyond = oldest_beyond(self._live.all(), limit, self.windows())
                self._let_go(
                    beyond, "size", f"more than {format_size(limit)} are used (storage.retention_size)"
                )
        self._disposal.delete_strays(cutoff_ms)

    def _let_go(self, blocks: Sequence[Block], reason: str, why: str) -> None:
        """Delete blocks for good; the caller holds `_change`."""
        if not blocks:
            return
        self._manifest.commit(remove=[b.entry.number for b in blocks])
        self._live.exchange((), {b.entry.number: self._disposal.delete for b in blocks})
        self._telemetry.count("metricsmith_store_blocks_deleted_total", len(blocks), reason=reason)
        samples = sum(b.meta.samples for b in blocks)
        self._telemetry.count("metricsmith_store_samples_deleted_total", samples, reason=reason)
        size = format_size(sum(b.meta.disk_bytes for b in blocks))
        log.info("deleted %d blocks, %d samples, %s: %s", len(blocks), samples, size, why)

    def publish(
        self, finished: Sequence[FinishedBlock], replaced: Sequence[Block] = (), cursor: int | None = None
    ) -> None:
        """Rename finished blocks to their place and let them serve instead of the replaced ones."""
        blocks = [self._block(block) for block in finished]
        gone = {b.entry.number: self._disposal.keep if b.damaged else self._disposal.delete for b in replaced}
        with ExitStack() as undo, fsutil.disk_full("publishing a block"):
            for made, block in zip(finished, blocks, strict=True):
                undo.callback(fsutil.remove_tree, block.folder)
                fsutil.rename(made.folder, block.folder)
            fsutil.sync_folder(self._dirs.blocks)
            with self._change:
                if not gone.keys() <= {block.entry.number for block in self._live.all()}:
                    raise StoreError("a block to be merged was deleted or set aside meanwhile")
                self._manifest.commit([block.entry for block in blocks], list(gone), cursor)
                undo.pop_all()
                self._live.exchange(blocks, gone)

    def _block(self, made: FinishedBlock) -> Block:
        catalogue = self._catalogues.get(made.meta.catalogue)
        if catalogue is None or not np.array_equal(catalogue.ids, made.ids):
            catalogue = self._catalogues[made.meta.catalogue] = Catalogue(made.ids, made.metadata)
        entry = BlockEntry(made.meta.number, made.meta.name, made.meta_crc32)
        return Block(
            self._dirs.blocks / made.meta.name, entry, made.meta, catalogue, self._disposal.note_damage
        )

    # --- taking blocks out ---------------------------------------------------------------------

    def set_aside(self, block: Block, error: BlockCorrupt) -> None:
        """Take a block out that is damaged as a whole; the others serve."""
        with self._change:
            if block not in self._live.all():
                return  # another thread was first
            try:
                self._manifest.commit(remove=[block.entry.number])
            except (StoreError, DiskFull) as failure:  # the next reader tries again
                self._disposal.note_left_in_place(error, failure)
                return
            self._disposal.note_set_aside("damaged", str(error))
            self._live.exchange((), {block.entry.number: self._disposal.keep})
