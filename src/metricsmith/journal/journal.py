"""The journal: accepts batches durably, commits back to back, and lets readers and recovery read them."""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from metricsmith.errors import JournalError
from metricsmith.journal.closed import ClosedCursors, GoneReader
from metricsmith.journal.config import JournalConfig, Sync
from metricsmith.journal.cursor_file import read_cursor, write_cursor
from metricsmith.journal.given_up import GivenUp, Reason, count_batches
from metricsmith.journal.log import SegmentLog
from metricsmith.journal.reader import JournalReader
from metricsmith.journal.recent import Recent
from metricsmith.journal.segment import Segment
from metricsmith.journal.tail import Tail
from metricsmith.model.batch import Batch
from metricsmith.model.clock import Clock
from metricsmith.model.origin import Position
from metricsmith.model.series import SeriesTable
from metricsmith.model.telemetry import Telemetry

_log = logging.getLogger(__name__)
_COMMIT_SAMPLES = 1 << 20
_READER_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", re.ASCII)

Committed = list[tuple[int, Batch]]
OnCommit = Callable[[Committed], None]
_Waiting = tuple[Batch, "asyncio.Future[int]"]


class Journal:
    """The durable log of batches. Used on one event loop; `replay` and `past` may run in any thread.

    Sequence numbers count batches from 0 and go on over restarts. A cursor is
    the sequence number of the next batch to read.
    """

    def __init__(
        self, folder: Path, series: SeriesTable, telemetry: Telemetry, clock: Clock, config: JournalConfig
    ) -> None:
        """Open the journal in a folder: cut a torn tail, continue the sequence.

        Raises:
            FormatTooNew: a newer version wrote it.
            JournalError: the folder cannot be used.
        """
        self._folder = folder
        self._series = series
        self._telemetry = telemetry
        self._clock = clock
        self._config = config
        self._segments = SegmentLog(folder, series, telemetry, config)
        self._next_sequence = self.begun_at = self._segments.next_sequence
        self.life = secrets.randbits(64)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="journal")
        self._waiting: list[_Waiting] = []
        self._committing: asyncio.Task[None] | None = None
        self._syncing: asyncio.Task[None] | None = None
        self._on_commit: list[OnCommit] = []
        self._cursors: dict[str, int] = {}
        self._readers: dict[str, JournalReader] = {}
        self._recent = Recent()
        self._counted_from: int | None = None
        self._closed_cursors = ClosedCursors(folder, self.first_sequence)
        self.gone: Sequence[GoneReader] = ()
        """Readers whose cursor files nobody had open when `drop_gone` last looked."""
        self._closed = False
        telemetry.watch("metricsmith_journal_size_bytes", self.size_bytes)

    @property
    def next_sequence(self) -> int:
        """The sequence number that the next batch gets; all before it are committed."""
        return self._next_sequence

    @property
    def first_sequence(self) -> int:
        """The lowest sequence number that may still be read; `next_sequence` when there is none."""
        segments = self._segments.segments()
        return segments[0].first_sequence if segments else self._next_sequence

    def position(self, producer: bytes) -> Position | None:
        """Return how far the journal of another agent is in this one, None when nothing of it is here."""
        return self._segments.origins.position(producer)

    def size_bytes(self) -> int:
        """Return the bytes of all segments."""
        return self._segments.size_bytes()

    def on_commit(self, callback: OnCommit) -> None:
        """Have `callback` called with what each commit accepted, in sequence order.

        Called on the event loop, before those who appended are told: what it
        applies can be read by the time it is acknowledged.
        """
        self._on_commit.append(callback)

    async def append(self, batch: Batch) -> int:
        """Return the sequence number of a batch once it is committed.

        A commit takes all batches that came while the one before it ran, so
        nobody waits for a timer.

        Raises:
            DiskFull: no space; nothing of the batch was accepted. Later calls try again.
            JournalError: it could not be written, or the journal is closed.
            LimitExceeded: larger than a frame may be (a gigabyte).
            OutOfOrder: its origin is not the next of its sender.
            ValueError, TypeError: the arrays do not fit the layout, a text is not Unicode.
        """
        if self._closed:
            raise JournalError("got a batch after the journal was closed")
        batch.check()  # before it is queued, so that one wrong batch cannot fail the commit of others
        loop = asyncio.get_running_loop()
        done: asyncio.Future[int] = loop.create_future()
        self._waiting.append((batch, done))
        if self._committing is None:
            self._committing = loop.create_task(self._commit_waiting())
        return await done

    def replay(self, from_sequence: int) -> Iterator[tuple[int, Batch]]:
        """Yield (sequence, batch) of everything committed from a sequence number on.

        Series are interned in this process's table; a stream keeps its Layout
        object while its series and metadata stay the same. Damage is counted,
        logged with file and offset, and passed over.
        """
        tail = self._tail(from_sequence)
        try:
            yield from tail.read(self._next_sequence)
        finally:
            tail.close()

    def past(self, from_sequence: int, until_sequence: int) -> Iterator[Batch]:
        """Yield what is still there of a range that readers have passed; what is not is no damage.

        It may be trimmed meanwhile. May run in another thread.
        """
        tail = Tail(self._segments.segments, self._series, lambda *_: None, from_sequence)
        try:
            for _, batch in tail.read(min(until_sequence, self._next_sequence)):
                yield batch
        finally:
            tail.close()

    def reader(self, name: str, begin: int | None = None) -> JournalReader:
        """Return a reader with a durable cursor of its own; a new one begins at `begin`, by default the end.

        Raises:
            ValueError: the name is not usable as a file name, or already open.
        """
        if not _READER_NAME.fullmatch(name) or name in self._readers:
            raise ValueError(f"got reader name {name!r}, wanted one not open, of letters, digits, _ . and -")
        path = self._closed_cursors.path(name)
        cursor = self._stored_cursor(name, path, begin)
        self._reach(name, cursor)
        tail, end = self._tail(cursor), lambda: self._next_sequence
        reader = JournalReader(name, path, cursor, tail, end, self._recent, self._reader_closed)
        self._readers[name] = reader
        self._closed_cursors.opened(name)
        return reader

    def set_cursor(self, name: str, sequence: int) -> None:
        """Say that `name` needs nothing before `sequence`; kept in memory only.

        For a consumer that keeps its cursor itself, as the store does in its
        manifest. A cursor beyond the end means that the journal lost its tail
        (a power cut without sync): the sequence goes on from the cursor, so
        that no new batch gets a number which the consumer takes for done.
        """
        self._reach(name, sequence)
        self._cursors[name] = sequence

    def trim(self) -> int:
        """Unlink whole segments that every cursor has passed; return their number.

        A reader that is not open holds what its file says.
        """
        needed = [*self._cursors.values(), *(reader.cursor for reader in self._readers.values())]
        needed += [] if self._counted_from is None else [self._counted_from]
        if (closed := self._closed_cursors.lowest()) is not None:
            needed.append(closed)
        return self._segments.trim(min(needed)) if needed else 0

    def has_room(self, more_bytes: int) -> bool:
        """Return whether so much more may come without readers that are not open losing what they need."""
        return (
            self._closed_cursors.lowest() is None or self.size_bytes() + more_bytes <= self._config.max_size
        )

    async def make_room(self) -> list[GivenUp]:
        """Bring the journal within `max_size`, oldest segment first; return what readers do not get for it.

        Only readers that still need that segment are moved, and only to its end.
        Who keeps its cursor itself is not: the store refuses samples by itself.
        """
        given_up: list[GivenUp] = []
        while self.size_bytes() > self._config.max_size:
            oldest, *others = self._segments.segments()
            end = others[0].first_sequence if others else 0
            if not others or any(cursor < end for cursor in self._cursors.values()):
                break
            begins = self._closed_cursors.before(end)
            for name, _ in begins:
                self._closed_cursors.advance(name, end)
            with self._not_trimmed(oldest.first_sequence):
                for reader in [reader for reader in self._readers.values() if reader.cursor < end]:
                    begins.append((reader.name, await reader.pass_over(end)))
                for name, begin in begins:
                    if begin < end:
                        given_up.append(await self._given_up(name, "expired", [oldest], begin, end))
            if not self.trim():
                break
        return given_up

    async def drop_gone(self) -> list[GivenUp]:
        """Look which readers are not open, and forget those whose day is over; return what they do not get.

        Call it only when all readers are open that are wanted: each day begins with the first call.
        """
        now_ms, end, segments = self._clock.now_ms(), self._next_sequence, self._segments.segments()
        gone = self._closed_cursors.gone(now_ms)
        over = [each for each in gone if each.until_ms <= now_ms]
        for each in over:
            self._closed_cursors.drop(each.name)
        self.gone = [each for each in gone if each not in over]
        with self._not_trimmed(min((each.cursor for each in over), default=end)):
            return [await self._given_up(each.name, "removed", segments, each.cursor, end) for each in over]

    async def close(self) -> None:
        """Commit what waits, force everything to the disk and release the files."""
        if self._closed:
            return
        self._closed = True
        if self._committing is not None:
            await self._committing
        if self._syncing is not None:
            self._syncing.cancel()
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(self._thread, self._segments.sync)
        finally:
            for reader in list(self._readers.values()):
                await reader.close()
            self._segments.close()
            self._thread.shutdown()

    async def _commit_waiting(self) -> None:
        # Runs while batches wait; each round takes what has come since the last one began.
        try:
            while self._waiting:
                taken = self._take_waiting()
                if taken:
                    await self._commit(taken)
        finally:
            self._committing = None

    def _take_waiting(self) -> list[_Waiting]:
        taken, samples = [], 0
        for item in self._waiting:
            taken.append(item)
            samples += len(item[0])
            if samples >= _COMMIT_SAMPLES:
                break
        del self._waiting[: len(taken)]
        return [item for item in taken if not item[1].done()]  # done: who appended was cancelled

    async def _commit(self, taken: list[_Waiting]) -> None:
        batches = [batch for batch, _ in taken]
        started = self._clock.monotonic()
        loop = asyncio.get_running_loop()
        try:
            first = await loop.run_in_executor(self._thread, self._segments.commit, batches)
        except JournalError as error:
            _fail(taken, error)
            return
        except Exception as error:  # a batch that cannot be encoded; it must not fail the others
            if len(taken) == 1:
                _fail(taken, error)
            else:
                for item in taken:
                    await self._commit([item])
            return
        self._telemetry.count("metricsmith_journal_commits_total")
        self._telemetry.observe("metricsmith_journal_commit_seconds", self._clock.monotonic() - started)
        self._announce(taken, first)
        if self._config.sync is Sync.INTERVAL and self._syncing is None:
            self._syncing = loop.create_task(self._sync_later())

    def _announce(self, taken: list[_Waiting], first: int) -> None:
        committed = [(first + i, batch) for i, (batch, _) in enumerate(taken)]
        self._next_sequence = first + len(taken)
        try:
            for callback in self._on_commit:
                callback(committed)
        except Exception as error:
            _log.exception("what was committed could not be applied")
            self._telemetry.count("metricsmith_journal_errors_total", reason="apply")
            _fail(taken, JournalError(f"committed as {first}…, but could not be made readable: {error}"))
        for (sequence, _), (_, done) in zip(committed, taken, strict=True):
            if not done.done():
                done.set_result(sequence)
        self._recent.add(committed if self._readers else ())
        for reader in self._readers.values():
            reader.wake()

    async def _sync_later(self) -> None:
        try:
            await self._clock.sleep(self._config.sync_interval / 1000)
            self._syncing = None  # a commit from now on needs the next sync
            await asyncio.get_running_loop().run_in_executor(self._thread, self._segments.sync)
        except JournalError:
            pass  # counted and logged where it happened; those who appended chose not to wait for it

    def _reach(self, name: str, sequence: int) -> None:
        if sequence > self._next_sequence:
            message = f"{self._folder}: ends at {self._next_sequence}, but {name} has read up to {sequence}"
            self._telemetry.problem(
                _log, "metricsmith_journal_damaged_total", message, amount=sequence - self._next_sequence,
                reason="tail_lost",
            )  # fmt: skip
            self._thread.submit(self._segments.skip_to, sequence).result()
            self._next_sequence = sequence

    def _stored_cursor(self, name: str, path: Path, begin: int | None = None) -> int:
        try:
            stored = read_cursor(path)
            cursor = None if stored is None else stored.sequence
        except ValueError as error:
            self._damaged(path, 0, "cursor", str(error))
            stored, cursor = None, self.first_sequence
        if cursor is not None and cursor < self.first_sequence:
            missed = self.first_sequence - cursor
            self._damaged(path, 0, "trimmed", f"{name} misses {missed} batches", missed)
            cursor = self.first_sequence
        if cursor is None or (stored is not None and stored.left_ms is not None):  # new, or come back
            if cursor is None:
                end = self._next_sequence
                cursor = end if begin is None else min(max(begin, self.first_sequence), end)
            try:
                write_cursor(path, cursor)
            except JournalError as error:  # a full disk must not keep the agent from starting
                self._telemetry.problem(_log, "metricsmith_journal_errors_total", str(error), reason="cursor")
        return cursor

    def _reader_closed(self, reader: JournalReader) -> None:
        del self._readers[reader.name]
        self._closed_cursors.closed(reader.name, reader.cursor)

    async def _given_up(
        self,
        name: str,
        reason: Reason,
        segments: Sequence[Segment],
        begin: int,
        end: int,
    ) -> GivenUp:
        samples = events = 0
        ends = [*(each.first_sequence for each in segments[1:]), end]
        for segment, until in zip(segments, ends, strict=False):  # a stop waits for one at most
            more = await asyncio.to_thread(count_batches, segment, begin, until)
            samples, events = samples + more[0], events + more[1]
        return GivenUp(name, reason, begin, end, samples, events)

    @contextmanager
    def _not_trimmed(self, sequence: int) -> Iterator[None]:
        self._counted_from = sequence
        try:
            yield
        finally:
            self._counted_from = None

    def _tail(self, from_sequence: int) -> Tail:
        return Tail(self._segments.segments, self._series, self._damaged, from_sequence)

    def _damaged(self, path: Path, offset: int, reason: str, detail: str = "", amount: int = 1) -> None:
        message = f"{path}: cannot be read at byte {offset}: {detail or reason}; reading goes on behind it"
        self._telemetry.problem(
            _log, "metricsmith_journal_damaged_total", message, amount=amount, reason=reason
        )


def _fail(taken: list[_Waiting], error: Exception) -> None:
    for _, done in taken:
        if not done.done():
            done.set_exception(error)
