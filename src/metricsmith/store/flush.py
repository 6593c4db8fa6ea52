"""Moves samples from memory to blocks: freezes the head, writes it in the background, retries.

The frozen head answers queries until its blocks are committed, also while writing fails.
"""

from __future__ import annotations

import errno
import logging
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait

from metricsmith.errors import DiskFull
from metricsmith.model.batch import Batch
from metricsmith.model.metadata import Metadata
from metricsmith.model.series import SeriesTable
from metricsmith.model.telemetry import Telemetry
from metricsmith.store.blocks import BlockStore
from metricsmith.store.head import Head
from metricsmith.store.head_pieces import HeadPieces
from metricsmith.store.memory import give_back

log = logging.getLogger(__name__)

GRACE_MS = 60_000
"""A flush waits so long after a multiple of its interval, for samples that arrive late."""
FIRST_RETRY_MS, LAST_RETRY_MS = 5_000, 30_000
FULL_ERRNOS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class Heads:
    """The active head and, during a flush, the frozen one before it.

    All methods are called by one thread; `present` may be read by any. While
    the background thread writes, it alone replaces `present`.
    """

    def __init__(
        self,
        blocks: BlockStore,
        table: SeriesTable,
        telemetry: Telemetry,
        max_bytes: int,
        interval_ms: int,
    ) -> None:
        self.present: tuple[Head, ...] = (Head(),)
        """Oldest first: later ones win. Replaced, never changed."""
        self.failure: BaseException | None = None
        self.written = 0
        """Flushes that were committed, also those without samples."""
        self._blocks, self._table, self._telemetry = blocks, table, telemetry
        self._max_bytes, self._interval_ms = max_bytes, interval_ms
        self._metadata: dict[str, Metadata] = {}
        self._frozen_metadata: dict[str, Metadata] = {}
        self._next_sequence = self._frozen_next = blocks.cursor
        self._begun_ms: int | None = None
        self._writing: Future[None] | None = None
        self._thread = ThreadPoolExecutor(1, "flush")
        self._retry_ms, self._failed_at_ms = 0, 0

    @property
    def bytes(self) -> int:
        """Memory of all samples that are not in blocks yet."""
        return sum(head.bytes for head in self.present)

    @property
    def samples(self) -> int:
        """Samples that are not in blocks yet."""
        return sum(head.samples for head in self.present)

    @property
    def overfull(self) -> bool:
        """Whether more memory is used than two full heads; while writing works, a burst may take a third."""
        return self.bytes > (2 if self.failure else 3) * self._max_bytes

    def append(self, batch: Batch, now_ms: int) -> None:
        """Add samples to the active head."""
        if self._begun_ms is None:
            self._begun_ms = now_ms
        self.present[-1].append(batch)

    def applied(self, sequence: int) -> None:
        """Note that the journal's frame `sequence` needs no replay once the present samples are flushed."""
        self._next_sequence = sequence + 1

    def learn(self, metadata: Mapping[str, Metadata]) -> None:
        """Have metadata written with the next flush."""
        self._metadata.update(metadata)

    def tick(self, now_ms: int) -> None:
        """Take note of a flush that ended; start one that is due."""
        if self._writing is not None:
            if not self._writing.done():
                return
            self._note_end(self._writing, now_ms)
        if len(self.present) == 1 and self._due(now_ms):
            self._freeze()
        waited_ms = abs(now_ms - self._failed_at_ms)  # a clock that is set must not put it off
        if len(self.present) > 1 and waited_ms >= self._retry_ms:
            self._writing = self._thread.submit(self._write)

    @property
    def next_sequence(self) -> int:
        """The journal sequence number after the last batch."""
        return self._next_sequence

    def begin(self, now_ms: int) -> Future[None]:
        """Return the flush that runs, or one that begins now although none is due."""
        if self._writing is not None and self._writing.done():
            self._note_end(self._writing, now_ms)
        if self._writing is None:
            if len(self.present) == 1:
                self._freeze()
            self._writing = self._thread.submit(self._write)
        return self._writing

    def wait_for_write(self, now_ms: int) -> None:
        """Return when no flush is running."""
        if self._writing is not None:
            wait([self._writing])
            self._note_end(self._writing, now_ms)

    def close(self, flush: bool, now_ms: int) -> None:
        """Wait for a running flush; write what is in memory, unless told not to."""
        self.wait_for_write(now_ms)
        if flush:
            if len(self.present) > 1:  # writing failed before; one more try
                self._write_now(now_ms)
            if len(self.present) == 1 and self._next_sequence > self._blocks.cursor:
                self._freeze()
                self._write_now(now_ms)
        self._thread.shutdown()

    def _write_now(self, now_ms: int) -> None:
        self._writing = self._thread.submit(self._write)
        self.wait_for_write(now_ms)

    def _due(self, now_ms: int) -> bool:
        if self._begun_ms is None:
            return False
        begun, now = ((ms - GRACE_MS) // self._interval_ms for ms in (self._begun_ms, now_ms))
        return now != begun or self.present[-1].bytes >= self._max_bytes

    def _freeze(self) -> None:
        self._frozen_metadata, self._metadata = self._metadata, {}
        self._frozen_next = self._next_sequence
        self._begun_ms = None
        self.present = (*self.present, Head())

    def _write(self) -> None:
        started = time.perf_counter()
        pieces = HeadPieces(self.present[0], self._table)
        self._blocks.write(pieces, self._frozen_metadata, self._frozen_next, pieces.newest_ms)
        self.written += 1
        # At once: a query that finds samples in a block and in the head has to sort them.
        self.present = self.present[1:]
        self._telemetry.observe("metricsmith_store_flush_seconds", time.perf_counter() - started)

    def _note_end(self, writing: Future[None], now_ms: int) -> None:
        self._writing = None
        failed_before, self.failure = self.failure, writing.exception()
        result = "done" if self.failure is None else "failed"
        self._telemetry.count("metricsmith_store_flushes_total", result=result)
        if self.failure is None:
            if failed_before is not None:
                log.info("flush succeeded: recent samples are on disk again")
            self._thread.submit(give_back)
            self._retry_ms = 0
            return
        self._retry_ms = min(max(2 * self._retry_ms, FIRST_RETRY_MS), LAST_RETRY_MS)
        self._failed_at_ms = now_ms
        log.error(
            "flush failed: %s: %s; recent samples stay in memory and in the journal, next try in %d s",
            type(self.failure).__name__, self.failure, self._retry_ms // 1000,
            exc_info=None if is_disk_full(self.failure) else self.failure,
        )  # fmt: skip


def is_disk_full(error: BaseException | None) -> bool:
    """Return whether an error says that there is no space left."""
    return isinstance(error, DiskFull) or (isinstance(error, OSError) and error.errno in FULL_ERRNOS)
