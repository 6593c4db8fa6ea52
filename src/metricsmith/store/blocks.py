"""The blocks of a data directory: write, read, merge, delete, and recover after a crash.

The manifest decides what exists. A block is written in `tmp`, synced, renamed into `blocks`, and then
named in the manifest in one transaction with the journal cursor: a crash leaves the old state or the new.
"""

from __future__ import annotations

import logging
import secrets
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from weakref import WeakValueDictionary

import numpy as np
import pyarrow as pa

from metricsmith.errors import BlockCorrupt, DiskFull, StoreError
from metricsmith.model.arrays import U32
from metricsmith.model.metadata import Metadata
from metricsmith.model.selection import UNLIMITED, SampleLimit
from metricsmith.model.series import SeriesTable
from metricsmith.model.telemetry import Telemetry
from metricsmith.store import fsutil
from metricsmith.store.block_meta import BlockMeta
from metricsmith.store.block_output import BlockOutput, BlockShape, choose_merge, copy_blocks
from metricsmith.store.block_reader import Block, Catalogue, open_block, read_meta
from metricsmith.store.block_writer import FinishedBlock
from metricsmith.store.cache import ByteCache
from metricsmith.store.datadir import DataDir
from metricsmith.store.leases import LiveBlocks
from metricsmith.store.manifest import BlockEntry, Manifest, create_manifest
from metricsmith.store.pieces import Piece, RaggedPiece
from metricsmith.store.snapshot import SnapshotMade, make_snapshot
from metricsmith.store.sorting import joined

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class BlockConfig:
    """How blocks are cut, kept and cached.

    `row_group_rows` is what one series costs at least when it is read from
    disk (0.3 ms for 32,768); smaller ones make whole reads slower.
    """

    retention_ms: int = 30 * 86_400_000
    cache_bytes: int = 256 << 20
    window_ms: int = 2 * 3_600_000
    max_blocks_per_window: int = 8
    row_group_rows: int = 32_768


class BlockStore:
    """Everything on disk under one folder. Any thread may read; one at a time calls `write`."""

    def __init__(self, folder: Path, series: SeriesTable, telemetry: Telemetry, config: BlockConfig) -> None:
        self._series, self._telemetry, self._config = series, telemetry, config
        self._dirs = DataDir(folder)
        self._shape = BlockShape(config.window_ms, config.row_group_rows)
        self._cache = ByteCache(config.cache_bytes, telemetry)
        self._live = LiveBlocks()
        self._catalogues: WeakValueDictionary[str, Catalogue] = WeakValueDictionary()
        self._metadata: dict[str, Metadata] = {}
        self._change = threading.Lock()  # one change of the manifest and the live blocks at a time
        self._manifest: Manifest

    # --- open and close ------------------------------------------------------------------------

    def open(self) -> None:
        """Take the directory and open what the manifest names; set aside what is damaged or unknown.

        Raises:
            DataDirLocked: another process uses it.
            FormatTooNew: a newer metricsmith wrote it.
        """
        with ExitStack() as undo:
            self._dirs.open()
            undo.callback(self._dirs.close)
            if not self._dirs.manifest.exists():
                self._begin_manifest()
            self._manifest = Manifest(self._dirs.manifest)
            undo.callback(self._manifest.close)
            self._open_blocks()
            self._clear_leftovers()
            undo.pop_all()
        self._telemetry.watch("metricsmith_store_blocks", lambda: self.block_count)
        self._telemetry.watch("metricsmith_store_disk_bytes", self.disk_usage)

    def close(self) -> None:
        """Release the directory."""
        self._manifest.close()
        self._dirs.close()

    def _begin_manifest(self) -> None:
        """Name all blocks found; those that another says it has replaced are left over from a merge."""
        found: dict[str, BlockMeta] = {}
        checksums: dict[str, int] = {}
        for folder in sorted(self._dirs.blocks.iterdir()):
            try:
                meta, crc32 = read_meta(folder)
            except BlockCorrupt as error:
                log.warning("not taken into the new manifest: %s", error)
            else:
                found[folder.name] = meta
                checksums[folder.name] = crc32
        replaced = {name for meta in found.values() for name in meta.sources}
        entries: dict[int, BlockEntry] = {}
        for name, meta in found.items():
            if name not in replaced:
                entries.setdefault(meta.number, BlockEntry(meta.number, name, checksums[name]))
        if found:
            log.warning("%s is missing: made anew from %d blocks", self._dirs.manifest, len(entries))
        create_manifest(self._dirs.manifest, list(entries.values()))

    def _open_blocks(self) -> None:
        blocks, damaged = [], []
        for entry in self._manifest.blocks():
            try:
                block = open_block(
                    self._dirs.blocks / entry.name, entry, self._series, self._catalogues, self._note_damage
                )
            except BlockCorrupt as error:
                damaged.append(entry.number)
                self._move_to_strays(self._dirs.blocks / entry.name)
                self._report_set_aside("damaged", str(error))
            else:
                blocks.append(block)
                self._metadata.update(block.catalogue.metadata)
        if damaged:
            self._manifest.commit(remove=damaged)
        self._live.exchange(blocks, {})

    def _clear_leftovers(self) -> None:
        """Remove what a crash left in `tmp` and what a merge replaced; set aside what nobody knows."""
        for path in self._dirs.tmp.iterdir():
            fsutil.remove_tree(path)
            log.info("removed %s, left unfinished by the last run", path)
        known = {block.entry.name for block in self._live.all()}
        replaced = {name for block in self._live.all() for name in block.meta.sources}
        for path in self._dirs.blocks.iterdir():
            if path.name in known:
                continue
            if path.name in replaced:
                fsutil.remove_tree(path)
                log.info("removed %s, which a merge has replaced", path)
            else:
                self._move_to_strays(path)
                self._report_set_aside("unknown", f"{path.name} is not in the manifest")

    # --- reading: any thread -------------------------------------------------------------------

    @property
    def cursor(self) -> int:
        """The journal sequence from which a restart must replay; 0 when nothing was written yet."""
        return self._manifest.cursor

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
        found: list[Piece] = []
        damaged: list[tuple[Block, BlockCorrupt]] = []
        with self._live.lease(
            lambda b: b.meta.min_time_ms <= end_ms and b.meta.max_time_ms >= start_ms
        ) as blocks:
            if limit.has_room_for(sum(block.meta.samples for block in blocks)):
                limit = UNLIMITED
            else:
                self._count_whole_blocks(blocks, series, start_ms, end_ms, limit)
            for block in blocks:
                try:
                    found.extend(block.pieces(series, start_ms, end_ms, self._cache, limit))
                except BlockCorrupt as error:
                    damaged.append((block, error))
        damaged += [(block, block.damaged[0]) for block in blocks if block.lost]
        for block, why in damaged:
            self._set_aside(block, why)
        return found

    def _count_whole_blocks(
        self, blocks: Sequence[Block], series: U32, start_ms: int, end_ms: int, limit: SampleLimit
    ) -> None:
        for block in blocks:
            if block.lies_within(start_ms, end_ms):
                with suppress(BlockCorrupt):  # reading it says so again, and sets it aside
                    limit.add(block.samples_of(series, self._cache))

    def series_in(self, start_ms: int, end_ms: int) -> U32:
        """Return the sorted ids of all series of blocks that overlap the closed range."""
        catalogues = {
            id(b.catalogue): b.catalogue.sorted_ids
            for b in self._live.all()
            if b.meta.min_time_ms <= end_ms and b.meta.max_time_ms >= start_ms
        }
        return np.unique(np.concatenate([np.empty(0, np.uint32), *catalogues.values()]))

    def metadata(self) -> Mapping[str, Metadata]:
        """Return what blocks know of each metric family."""
        return self._metadata

    def disk_usage(self) -> int:
        """Return the bytes of all blocks."""
        return sum(block.meta.disk_bytes for block in self._live.all())

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

    def write(self, pieces: Iterable[RaggedPiece], metadata: Mapping[str, Metadata], cursor: int) -> None:
        """Make pieces durable as one block per window they touch, and the journal cursor with them.

        Pieces come oldest priority first: a later one wins on equal (series,
        time). They are taken one at a time, so a lazy sequence whose pieces
        follow one another in key order costs the memory of one.

        Raises:
            DiskFull: no space; nothing has changed.
        """
        output = self._output(metadata)
        try:
            for keyed in joined(pieces, self._series):
                output.append(keyed)
            finished = output.finish()
            self._publish(finished, cursor=cursor)
        except BaseException:
            output.abandon()
            raise
        self._metadata = {**self._metadata, **metadata}
        self._merge_where_due()
        pa.default_memory_pool().release_unused()  # else some 30 MB stay resident until the next flush

    def apply_retention(self, now_ms: int) -> None:
        """Delete the blocks whose newest sample is older than the retention, and strays as old."""
        cutoff_ms = now_ms - self._config.retention_ms
        with self._change:
            old = [b for b in self._live.all() if b.meta.max_time_ms < cutoff_ms]
            if old:
                self._manifest.commit(remove=[b.entry.number for b in old])
                self._live.exchange((), {b.entry.number: self._delete for b in old})
                self._telemetry.count("metricsmith_store_blocks_deleted_total", len(old), reason="retention")
        for path in self._dirs.strays.iterdir():
            if path.stat().st_mtime * 1000 < cutoff_ms:
                fsutil.remove_tree(path)
                log.info("deleted %s, older than the retention", path)

    def _output(self, metadata: Mapping[str, Metadata], sources: Sequence[str] = ()) -> BlockOutput:
        return BlockOutput(self._dirs.tmp, self._manifest.take_number, self._shape, metadata, sources)

    def _publish(
        self, finished: Sequence[FinishedBlock], replaced: Sequence[Block] = (), cursor: int | None = None
    ) -> None:
        """Rename finished blocks to their place and let them serve instead of the replaced ones."""
        blocks = [self._block(block) for block in finished]
        gone = {b.entry.number: self._keep_as_stray if b.damaged else self._delete for b in replaced}
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
        if catalogue is None:
            catalogue = self._catalogues[made.meta.catalogue] = Catalogue(made.ids, made.metadata)
        entry = BlockEntry(made.meta.number, made.meta.name, made.meta_crc32)
        return Block(self._dirs.blocks / made.meta.name, entry, made.meta, catalogue, self._note_damage)

    def _merge_where_due(self) -> None:
        """Merge in windows that have too many blocks; in windows past, also what makes one block of many.

        A small block that comes late to a large one waits there for more of
        its kind: the large one is not written again for it. Before that, what
        is whole of damaged blocks is written anew, and they are set aside.
        """
        for block in self._live.all():
            if block.lost:
                self._set_aside(block, block.damaged[0])
            elif block.damaged:
                self._write_as_one(partial(_is_or_covers, block), list)
        windows = Counter(block.meta.window_start_ms for block in self._live.all())
        for start_ms in sorted(windows):
            if windows[start_ms] > self._config.max_blocks_per_window:
                self._merge(start_ms, at_least=2)
            elif windows[start_ms] > 1 and start_ms < max(windows):
                self._merge(start_ms, at_least=1)

    def _merge(self, start_ms: int, at_least: int) -> None:
        """Merge the newest blocks of a window."""

        def newest(blocks: Sequence[Block]) -> list[Block]:
            chosen = choose_merge(blocks, at_least)
            return chosen if len(chosen) > 1 else []

        self._write_as_one(lambda block: block.meta.window_start_ms == start_ms, newest)

    def _write_as_one(
        self, wanted: Callable[[Block], bool], choose: Callable[[Sequence[Block]], list[Block]]
    ) -> None:
        """Write chosen blocks as one instead; a failure is counted and the next write tries again."""
        with self._live.lease(wanted) as blocks:
            chosen = choose(blocks)
            if not chosen:
                return
            metadata = {k: v for b in chosen for k, v in b.catalogue.metadata.items()}
            output = self._output(metadata, [b.entry.name for b in chosen])
            try:
                copy_blocks(chosen, output, self._series)
                self._publish(output.finish(), chosen)
            except (OSError, StoreError, DiskFull) as error:
                output.abandon()
                self._telemetry.problem(
                    log,
                    "metricsmith_store_merges_total",
                    f"merge of {len(chosen)} blocks failed, tried again at the next flush: {error}",
                    result="failed",
                )
                if isinstance(error, BlockCorrupt):
                    self._check_frames(chosen)
            except BaseException:
                output.abandon()
                raise
            else:
                self._telemetry.count("metricsmith_store_merges_total", result="done")
                self._count_replaced(chosen)

    def _check_frames(self, blocks: Sequence[Block]) -> None:
        for block in blocks:
            try:
                block.check_frame()
            except BlockCorrupt as error:
                self._set_aside(block, error)

    def _count_replaced(self, blocks: Sequence[Block]) -> None:
        whole = [block for block in blocks if not block.damaged]
        self._telemetry.count("metricsmith_store_blocks_deleted_total", len(whole), reason="merged")
        for block in blocks:
            if block.damaged:
                what = f"{block.folder.name}, with {len(block.damaged)} damaged row groups; the others serve"
                self._report_set_aside("row_groups", what)

    # --- taking blocks out ---------------------------------------------------------------------

    def _note_damage(self, block: Block, error: BlockCorrupt) -> None:
        self._telemetry.problem(
            log,
            "metricsmith_store_row_groups_damaged_total",
            f"left out, the rest of the block serves: {error}",
            level=logging.ERROR,
        )

    def _set_aside(self, block: Block, error: BlockCorrupt) -> None:
        with self._change:
            if block not in self._live.all():
                return  # another thread was first
            self._report_set_aside("damaged", str(error))
            try:
                self._manifest.commit(remove=[block.entry.number])
            except (StoreError, DiskFull) as failure:  # the next reader tries again
                log.warning("%s stays in place: %s", block.folder, failure)
                return
            self._live.exchange((), {block.entry.number: self._keep_as_stray})

    def _report_set_aside(self, reason: str, message: str) -> None:
        self._telemetry.problem(
            log,
            "metricsmith_store_blocks_set_aside_total",
            f"set aside under {self._dirs.strays}: {message}",
            level=logging.ERROR,
            reason=reason,
        )

    def _delete(self, block: Block) -> None:
        self._cache.drop(lambda key: key[0] == block.entry.number)
        try:
            fsutil.remove_tree(block.folder)
        except OSError as error:  # the manifest has forgotten it: the next start finds it
            log.warning("could not delete %s: %s", block.folder, error)

    def _keep_as_stray(self, block: Block) -> None:
        self._cache.drop(lambda key: key[0] == block.entry.number)
        self._move_to_strays(block.folder)

    def _move_to_strays(self, path: Path) -> None:
        target = self._dirs.strays / path.name
        try:
            fsutil.remove_tree(target)
            fsutil.rename(path, target)
            fsutil.sync_folder(self._dirs.strays)
        except OSError as error:
            log.warning("could not move %s to %s: %s", path, target, error)


def _is_or_covers(block: Block, other: Block) -> bool:
    """Return whether the other is this block, or one after it whose samples win over its samples.

    Written anew, the block gets a new number: alone, it would win over these.
    """
    one, two = block.meta, other.meta
    apart = one.window_end_ms <= two.window_start_ms or two.window_end_ms <= one.window_start_ms
    return one.number <= two.number and not apart
