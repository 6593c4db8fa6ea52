"""A durable position of one consumer of the journal."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

from metricsmith.journal.segment import sync_folder
from metricsmith.journal.tail import Tail
from metricsmith.journal.writer import journal_error
from metricsmith.model.batch import Batch

CURSOR_SUFFIX = ".cursor"
READ_SAMPLES = 1 << 20


class JournalReader:
    """Reads the journal from a cursor on, waits at its end, and remembers durably what is done.

    `read` moves a position in memory only; what was read and not committed is
    read again after a restart. Made by `Journal.reader`.
    """

    def __init__(
        self,
        name: str,
        path: Path,
        cursor: int,
        tail: Tail,
        committed: Callable[[], int],
        closed: Callable[[str], object],
    ) -> None:
        self.name = name
        self.cursor = cursor
        self._path = path
        self._tail = tail
        self._committed = committed
        self._closed = closed
        self._news = asyncio.Event()
        self._taking: asyncio.Task[list[tuple[int, Batch]]] | None = None

    async def read(self, max_samples: int = READ_SAMPLES) -> list[tuple[int, Batch]]:
        """Return the next batches with their sequence numbers, at least one; waits while there is none.

        Ends with the batch that reaches `max_samples`. What a cancelled call was
        about to return, the next call returns.
        """
        while True:
            if self._taking is None:
                self._news.clear()
                until = self._committed()
                if self._tail.next_sequence >= until:
                    await self._news.wait()
                    continue
                self._taking = asyncio.create_task(asyncio.to_thread(self._take, until, max_samples))
            try:
                found = await asyncio.shield(self._taking)
            except Exception:
                self._taking = None
                raise
            self._taking = None
            if found:
                return found

    async def commit(self, next_sequence: int) -> None:
        """Make durable that everything before `next_sequence` is done.

        Raises:
            DiskFull, JournalError: it is not durable; it may be done again after a restart.
        """
        await asyncio.to_thread(write_cursor, self._path, next_sequence)
        self.cursor = next_sequence

    def wake(self) -> None:
        """Tell the reader that the journal has grown. Called on the event loop."""
        self._news.set()

    async def close(self) -> None:
        """Release the open segment; what was not committed is still held for the next reader of this name."""
        if self._taking is not None:
            await asyncio.wait([self._taking])
        self._tail.close()
        self._closed(self.name)

    def _take(self, until: int, max_samples: int) -> list[tuple[int, Batch]]:
        found: list[tuple[int, Batch]] = []
        samples = 0
        for sequence, batch in self._tail.read(until):
            found.append((sequence, batch))
            samples += batch.size
            if samples >= max_samples:
                break
        return found


def write_cursor(path: Path, sequence: int) -> None:
    """Replace a cursor file durably: after a power cut it holds the old or the new number.

    Raises:
        DiskFull, JournalError: it could not be written; the old number stays.
    """
    beside = path.with_name(f"{path.name}.tmp")
    try:
        with beside.open("w") as out:
            out.write(f"{sequence}\n")
            out.flush()
            os.fsync(out.fileno())
        beside.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise journal_error(error, path) from error


def read_cursor(path: Path) -> int | None:
    """Return the number in a cursor file, None when there is no such file.

    Raises:
        ValueError: the file holds something else.
    """
    try:
        text = path.read_text("ascii")
    except FileNotFoundError:
        return None
    if not text.strip().isdecimal():
        raise ValueError(f"{path}: got {text[:40]!r}, wanted a sequence number")
    return int(text)
