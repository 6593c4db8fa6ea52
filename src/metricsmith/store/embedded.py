"""The embedded store: a head in memory over blocks on disk, behind the `Store` contract.

`admit`, `apply`, `tick` and `close` come from one thread, which alone decides what heads there are. A reader
takes the heads first and the blocks after them: a flush that ends in between is then seen twice,
which the merge removes, and never missed. Each head has a lock of its own for its arrays.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
from pydantic import BaseModel

from metricsmith.contracts import Context
from metricsmith.errors import DiskFull
from metricsmith.model.arrays import U32, distinct
from metricsmith.model.batch import Batch, Layout
from metricsmith.model.matchers import Matcher
from metricsmith.model.metadata import Metadata
from metricsmith.model.selection import SampleLimit, Selection
from metricsmith.model.series_use import in_use
from metricsmith.model.settings_types import format_size
from metricsmith.model.steady_time import SteadyTime
from metricsmith.store.admission import Admission
from metricsmith.store.blocks import BlockConfig, BlockStore
from metricsmith.store.flush import Heads, is_disk_full
from metricsmith.store.head import Head
from metricsmith.store.head_pieces import ALWAYS
from metricsmith.store.index import SeriesIndex
from metricsmith.store.key_lists import KeyLists
from metricsmith.store.memory import give_back
from metricsmith.store.merge import merge
from metricsmith.store.pieces import samples_in
from metricsmith.store.release import Release
from metricsmith.store.settings import EmbeddedConfig
from metricsmith.store.snapshot import SnapshotMade
from metricsmith.store.tombstones import Selectors
from metricsmith.store_contracts import Cardinality, StoreStatus

log = logging.getLogger(__name__)

UPKEEP_EVERY_MS = 60_000


class EmbeddedStore:
    """Keeps samples in one data directory of this machine."""

    Config: ClassVar[type[BaseModel]] = EmbeddedConfig

    def __init__(self, config: EmbeddedConfig, context: Context) -> None:
        self._config = config
        self._table, self._telemetry, self._clock = context.series, context.telemetry, context.clock
        blocks = BlockConfig(config.retention, config.cache_bytes, retention_bytes=config.retention_size)
        self._blocks = BlockStore(Path(config.path), context.series, context.telemetry, blocks)
        self._blocks.open()
        self._index = SeriesIndex(context.series)
        self._index.catch_up()  # now, and not while the first batch waits
        self._blocks.find_deleted(self._found_by)
        self._key_lists = KeyLists(context.series)
        self._release = Release(context.series, self._index, context.clock)
        self._heads = Heads(
            self._blocks, context.series, context.telemetry, config.head_bytes, config.head_age
        )
        self._metadata: dict[str, Metadata] = dict(self._blocks.metadata())
        self._metadata_seen = object()
        self._upkeep: Future[None] | None = None
        self._upkeep_at_ms = 0
        self._upkeep_after = 0
        self._closing = threading.Event()
        self._steady = SteadyTime(context.clock, self._blocks.believable_end())
        self._admission = Admission(context.clock, self._steady, config.retention, context.telemetry)
        self._oldest_ms = ALWAYS[0]
        self._thread = ThreadPoolExecutor(1, "upkeep")
        self._disk_bytes = self._blocks.disk_usage()
        self._telemetry.watch("metricsmith_store_head_bytes", lambda: float(self._heads.bytes))
        self._telemetry.watch("metricsmith_store_head_samples", lambda: float(self._heads.samples))
        self._telemetry.watch("metricsmith_store_active_series", lambda: float(self.active_series()))

    def cursor(self) -> int:
        """Return the journal sequence number of the first frame that is not in blocks yet."""
        return self._blocks.cursor

    def admit(self, batch: Batch) -> Batch:
        """Return the samples whose times are accepted; the others are counted."""
        return self._admission.admit(batch)

    def apply(self, batch: Batch, sequence: int) -> None:
        """Make a committed batch readable."""
        now_ms = self._clock.now_ms()
        if self._heads.overfull:  # as in a long replay, where nobody else waits
            self._heads.tick(now_ms)
            self._heads.wait_for_write(now_ms)
        batch.layout.derive(self._metadata_seen, self._learn_metadata)
        if len(batch):
            self._heads.append(in_use(self._table, batch), now_ms)
            self._index.catch_up()
            self._telemetry.count("metricsmith_store_samples_total", len(batch))
        self._heads.applied(sequence)

    def check_space(self) -> None:
        """Return when samples can be accepted.

        Raises:
            DiskFull: recent samples fill their memory because they cannot be
                written, or the disk limit is reached.
        """
        if self._heads.overfull:
            why = self._heads.failure or "the flush is behind"
            used, wanted = format_size(self._heads.bytes), format_size(self._config.head_bytes)
            raise DiskFull(f"recent samples take {used}, wanted {wanted}, and cannot go to disk: {why}")
        limit = self._config.max_disk
        if limit is not None and self._disk_bytes > limit:
            used, wanted = format_size(self._disk_bytes), format_size(limit)
            raise DiskFull(f"blocks use {used}, wanted at most {wanted} (storage.max_disk)")

    @property
    def accepting(self) -> bool:
        """Whether new samples can be accepted now."""
        try:
            self.check_space()
        except DiskFull:
            return False
        return True

    def tick(self, now_ms: int) -> None:
        """Start a flush or upkeep that is due, in the background, and take note of what ended."""
        self._heads.tick(now_ms)
        self._disk_bytes = self._blocks.disk_usage()
        self._release.retire(self._heads.present, self._blocks.live.all())
        if self._upkeep is not None and self._upkeep.done():
            self._end_upkeep(self._upkeep)
        steady_ms = self._steady.now_ms()
        due = abs(now_ms - self._upkeep_at_ms) >= UPKEEP_EVERY_MS or self._upkeep_after != self._heads.written
        if self._upkeep is None and due:
            self._upkeep_at_ms, self._upkeep_after = now_ms, self._heads.written
            # Never after the newest sample: a clock that is far ahead must not hide all of them.
            self._oldest_ms = min(steady_ms, self._newest_ms() or steady_ms) - self._config.retention
            self._upkeep = self._thread.submit(self._tidy_up, steady_ms)

    @property
    def applied(self) -> int:
        """The journal sequence number after the last batch that was applied."""
        return self._heads.next_sequence

    def time_span(self) -> tuple[int, int] | None:
        """Return the times of the oldest and the newest sample in blocks, None without any."""
        return self._blocks.time_span()

    def begin_flush(self) -> Future[None]:
        """Return the flush that runs, or begin one now; call it again until `cursor` is `applied`.

        A flush that runs may have begun before the last batches came.
        """
        return self._heads.begin(self._clock.now_ms())

    def snapshot(self) -> SnapshotMade:
        """Return a new snapshot of what is in blocks. From any thread.

        Raises:
            DiskFull, StoreError: there is none.
        """
        return self._blocks.snapshot()

    def close(self, flush: bool = True) -> None:
        """Wait for background work, flush the head unless told not to, release the directory."""
        self._closing.set()  # what is being merged is given up
        self._heads.close(flush, self._clock.now_ms())
        self._thread.shutdown()
        if self._upkeep is not None:
            self._end_upkeep(self._upkeep)
        self._blocks.close()

    def _tidy_up(self, steady_ms: int) -> None:
        """Delete blocks that are too old and merge small ones; what was freed goes back to the system."""
        self._blocks.apply_retention(steady_ms)
        self._blocks.compact(lambda: not self._closing.is_set())
        heads = self._heads.present
        self._release.look(heads, self._blocks.live.all())
        give_back()

    def _end_upkeep(self, ended: Future[None]) -> None:
        self._upkeep = None
        if (error := ended.exception()) is not None:
            log.error("upkeep of blocks failed: %s: %s; it is tried again", type(error).__name__, error)

    def delete_series(self, selectors: Selectors, start_ms: int, end_ms: int) -> int:
        """Delete samples in the closed range that are in blocks; return of how many series. From any thread.

        What is in memory stays: who wants it deleted too has it flushed first
        (`begin_flush`). They are hidden when this returns, and leave the disk in the background.

        Raises:
            DiskFull, StoreError: nothing has changed.
        """
        start_ms, end_ms = max(start_ms, ALWAYS[0]), min(end_ms, ALWAYS[1])
        series = np.intersect1d(
            self._found_by(selectors), self._blocks.series_in(start_ms, end_ms), assume_unique=True
        )
        if len(series) == 0 or not self._blocks.delete(selectors, series, start_ms, end_ms):
            return 0
        log.info("deleted samples of %d series by request, times %d to %d", len(series), start_ms, end_ms)
        self._upkeep_after = -1
        return len(series)

    def _found_by(self, selectors: Selectors) -> U32:
        found = [self._index.match(matchers) for matchers in selectors]
        return distinct(np.concatenate([np.empty(0, np.uint32), *found]))

    def _learn_metadata(self, layout: Layout) -> None:
        new = {name: m for name, m in layout.metadata.items() if self._metadata.get(name) != m}
        self._metadata.update(new)
        self._heads.learn(new)

    def select(
        self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, limit: int | None = None
    ) -> Selection:
        """Return all samples of the matching series in the closed range [start_ms, end_ms]."""
        series = self._index.match(matchers)
        start_ms, end_ms = self._kept(start_ms, end_ms)
        if len(series) == 0 or start_ms > end_ms:
            return Selection([], [])
        counted = SampleLimit(limit)
        recent = []
        for head in self._heads.present:
            for piece in head.pieces(series, start_ms, end_ms):
                counted.add(samples_in(piece, start_ms, end_ms))
                recent.append(piece)
        old = self._blocks.pieces(series, start_ms, end_ms, counted)
        return merge([*old, *recent], start_ms, end_ms, self._key_lists)

    def series(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> list[bytes]:
        """Return the sorted keys of matching series that may have samples in the range."""
        return sorted(self._table.key(i) for i in self._series_in(matchers, start_ms, end_ms).tolist())

    def label_names(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> list[str]:
        """Return the sorted label names of those series."""
        return self._index.label_names(self._series_in(matchers, start_ms, end_ms))

    def label_values(self, name: str, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> list[str]:
        """Return the sorted values that a label has in those series."""
        return self._index.label_values(name, self._series_in(matchers, start_ms, end_ms))

    def metadata(self) -> Mapping[str, Metadata]:
        """Return what is known of each metric family."""
        return dict(self._metadata)

    def _kept(self, start_ms: int, end_ms: int) -> tuple[int, int]:
        """Return the part of a range that is within the retention, and that int64 can hold.

        Retention deletes a block when all of it is too old: until then, what is
        too old of it is not shown.
        """
        return max(start_ms, self._oldest_ms), min(end_ms, ALWAYS[1])

    def _series_in(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> U32:
        start_ms, end_ms = self._kept(start_ms, end_ms)
        parts = [head.series_in(start_ms, end_ms) for head in self._heads.present]
        parts.append(self._blocks.series_in(start_ms, end_ms))
        there = distinct(np.concatenate(parts))
        return np.intersect1d(self._index.match(matchers), there, assume_unique=True) if matchers else there

    def series_since(self, start_ms: int) -> U32:
        """Return the ids, each once, of series that may have samples at or after a time."""
        return self._series_in((), start_ms, ALWAYS[1])

    def active_series(self) -> int:
        """Return how many series have samples that are not in blocks yet."""
        return len(_active(self._heads.present))

    def cardinality(self, limit: int) -> Cardinality:
        """Return what makes many of the series whose samples are not in blocks yet."""
        heads = self._heads.present
        times = [ms for head in heads for ms in (head.first_ms(), head.last_ms()) if ms is not None]
        counts = self._index.cardinality(_active(heads), limit)
        return replace(counts, first_ms=min(times, default=None), last_ms=max(times, default=None))

    def _newest_ms(self) -> int | None:
        newest = [*(head.last_ms() for head in self._heads.present), self._blocks.last_sample_ms()]
        return max((ms for ms in newest if ms is not None), default=None)

    def status(self) -> StoreStatus:
        """Return the state for people and pages."""
        failure = self._heads.failure
        full = is_disk_full(failure) or not self.accepting
        return StoreStatus(
            type="embedded",
            status="full" if full else "error" if failure else "connected",
            database=self._config.path,
            retention_ms=self._config.retention,
            disk_usage_bytes=self._blocks.disk_usage(),
            series=len(self._series_in((), *ALWAYS)),
            blocks=self._blocks.block_count,
            head_samples=self._heads.samples,
            last_sample_ms=self._newest_ms(),
            detail=str(failure) if failure else "",
        )


def _active(heads: Sequence[Head]) -> U32:
    return distinct(np.concatenate([head.active_series() for head in heads]))
