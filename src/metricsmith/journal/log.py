"""The segment files of a journal: opening, committing, rotating, trimming."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from pathlib import Path

from metricsmith.errors import DiskFull, JournalCorrupt, JournalError
from metricsmith.journal.config import JournalConfig, Sync
from metricsmith.journal.format import SEGMENT_HEADER, check_segment_header
from metricsmith.journal.origins import Origins
from metricsmith.journal.segment import (
    Segment,
    SegmentFile,
    list_segments,
    origins_of,
    repair_tail,
    sync_folder,
)
from metricsmith.journal.writer import SegmentWriter, journal_error
from metricsmith.model.batch import Batch
from metricsmith.model.durable_files import make_private
from metricsmith.model.series import SeriesTable
from metricsmith.model.telemetry import Telemetry
from metricsmith.wire.frames.encode import FrameEncoder

_log = logging.getLogger(__name__)


class SegmentLog:
    """Segment files and the next sequence number.

    `commit`, `sync` and `close` are called by one thread; the rest by any. A
    process writes only to segments that it began itself, so the numbers which a
    segment gives to series and layouts belong to one encoder.
    """

    def __init__(
        self, folder: Path, series: SeriesTable, telemetry: Telemetry, config: JournalConfig
    ) -> None:
        """Open a folder: check versions, cut a torn tail, continue the sequence.

        Raises:
            FormatTooNew: a newer version wrote a segment.
            JournalError: the folder cannot be read or written.
        """
        self._folder = folder
        self._series = series
        self._telemetry = telemetry
        self._config = config
        self._lock = threading.Lock()
        self._layout_owner = object()
        self._begun = 0
        self._failing = False
        self._open: tuple[SegmentWriter, FrameEncoder] | None = None
        self.origins = Origins({})
        try:
            make_private(folder)
            self._segments = list_segments(folder)
            self.next_sequence = self._repair()
            for stray in folder.glob("*.tmp"):
                _log.info("%s: removed, it was being created when the process ended", stray)
                stray.unlink()
        except OSError as error:
            raise journal_error(error, folder) from error

    def segments(self) -> list[Segment]:
        """Return the segments, oldest first."""
        with self._lock:
            return list(self._segments)

    def size_bytes(self) -> int:
        """Return the committed bytes of all segments."""
        return sum(s.size_bytes for s in self.segments())

    def commit(self, batches: Sequence[Batch]) -> int:
        """Write batches as one unit and return the first one's sequence number.

        Raises:
            DiskFull, JournalError: nothing was accepted; the next call begins a new segment.
            OutOfOrder: nothing was accepted.
        """
        self.origins.check(batches)
        first = self.next_sequence
        try:
            writer, encoder = self._current()
            pieces = [p for i, batch in enumerate(batches) for p in encoder.encode(batch, first + i)]
            written = writer.write(pieces)
            if self._config.sync is Sync.COMMIT:
                writer.sync()
        except OSError as error:
            failure = journal_error(error, self._folder)
            self._report("commit failed", failure, _reason(failure))
            self._abandon()
            raise failure from error
        except BaseException:
            self._abandon()  # the encoder may have counted definitions that were not written
            raise
        writer.keep()
        samples, events = writer.segment.amounts or (0, 0)
        more = sum(map(len, batches)), sum(len(batch.events) for batch in batches)
        writer.segment.amounts = samples + more[0], events + more[1]
        self.origins.keep(batches)
        self._works_again()
        self.next_sequence = first + len(batches)
        self._telemetry.count("metricsmith_journal_written_bytes_total", written)
        return first

    def sync(self) -> None:
        """Force what was committed to the disk.

        Raises:
            JournalError: it may be lost in a power cut; a new segment is begun.
        """
        if self._open is None:
            return
        try:
            self._open[0].sync()
        except OSError as error:
            failure = journal_error(error, self._folder)
            self._report("sync failed", failure, "sync")
            self._abandon()
            raise failure from error

    def skip_to(self, sequence: int) -> None:
        """Continue the sequence at a later number."""
        self.close()
        self.next_sequence = sequence

    def trim(self, before_sequence: int) -> int:
        """Unlink the segments that hold nothing from `before_sequence` on; return their number.

        The newest always stays: its name keeps the sequence over restarts.
        """
        with self._lock:
            count, last = 0, len(self._segments) - 1
            while count < last and self._segments[count + 1].first_sequence <= before_sequence:
                count += 1
            gone, self._segments = self._segments[:count], self._segments[count:]
        for segment in gone:
            segment.path.unlink(missing_ok=True)
        return count

    def close(self) -> None:
        """Release the file that is written."""
        if self._open is not None:
            self._open[0].close()
            self._open = None

    def _repair(self) -> int:
        for segment in self._segments[:-1]:
            _check_version(segment)
        if not self._segments:
            return 0
        newest = self._segments[-1]
        cut, next_sequence = repair_tail(newest)
        if cut:
            message = f"{newest.path}: cut a torn tail of {cut} bytes, which nobody was told were accepted"
            self._telemetry.problem(_log, "metricsmith_journal_repaired_bytes_total", message, amount=cut)
        if newest.size_bytes == 0:
            self._segments.pop()
            sync_folder(self._folder)
        if self._segments:
            self.origins = Origins(origins_of(self._segments[-1], next_sequence))
        return next_sequence

    def _report(self, what: str, failure: JournalError, reason: str) -> None:
        self._failing = True
        message = f"{what}: {failure}"
        self._telemetry.problem(_log, "metricsmith_journal_errors_total", message, reason=reason)

    def _works_again(self) -> None:
        if self._failing:
            self._failing = False
            _log.info("%s: can be written again", self._folder)

    def _current(self) -> tuple[SegmentWriter, FrameEncoder]:
        if self._open is not None:
            if self._open[0].segment.size_bytes < self._config.segment_size:
                return self._open
            if self._config.sync is not Sync.NEVER:
                self._open[0].sync()  # later syncs reach only the new file
            self.close()
        writer = SegmentWriter(self._folder, self.next_sequence, self.origins.head(self.next_sequence))
        self._begun += 1
        self._open = writer, FrameEncoder(self._begun, self._series, self._layout_owner)
        with self._lock:
            if self._segments and self._segments[-1].first_sequence == self.next_sequence:
                self._segments.pop()  # it held nothing, and the new file took its name
            self._segments.append(writer.segment)
        return self._open

    def _abandon(self) -> None:
        # After a failure neither the file's tail nor the encoder's memory of it is trusted.
        if self._open is None:
            return
        writer, self._open = self._open[0], None
        try:
            writer.abandon()
        except OSError as error:
            message = f"{writer.segment.path}: the tail could not be cut: {error}"
            self._telemetry.problem(_log, "metricsmith_journal_errors_total", message, reason="truncate")


def _check_version(segment: Segment) -> None:
    # Damage is left to replay, which passes over it; only a newer version stops the start.
    file = SegmentFile(segment.path)
    try:
        check_segment_header(file.read(0, SEGMENT_HEADER.size, segment.size_bytes), segment.path)
    except JournalCorrupt:
        return
    finally:
        file.close()


def _reason(failure: JournalError) -> str:
    return "disk_full" if isinstance(failure, DiskFull) else "io"
