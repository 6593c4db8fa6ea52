"""A durable position of one consumer of the journal."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from metricsmith.errors import JournalError
from metricsmith.journal.cursor_file import write_cursor
from metricsmith.journal.recent import Recent, Twins
from metricsmith.journal.tail import Tail
from metricsmith.model.batch import Batch

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
        recent: Recent,
        closed: Callable[[JournalReader], object],
    ) -> None:
        self.name = name
        self.cursor = cursor
        self._path = path
        self._tail = tail
        self._committed = committed
        self._recent, self._twins = recent, Twins(tail.layouts)
        self._closed = closed
        self._news = asyncio.Event()
        self._taking: asyncio.Task[list[tuple[int, Batch]]] | None = None
        self._moving = asyncio.Lock()

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
                if found := self._in_memory(max_samples):
                    return found
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
        async with self._moving:
            if next_sequence > self.cursor:
                await asyncio.to_thread(write_cursor, self._path, next_sequence)
                self.cursor = next_sequence

    async def pass_over(self, until_sequence: int) -> int:
        """Give up what is before a number and not yet read; return the first number that is given up.

        What has been read is the caller's: it may still be delivered. A cursor that
        cannot be written moves all the same, for it is a full disk that asks for room.
        """
        async with self._moving:
            while self._taking is not None and not self._taking.done():
                await asyncio.wait([self._taking])
            begin = min(self._tail.next_sequence, until_sequence)
            self._tail.next_sequence = max(self._tail.next_sequence, until_sequence)
            if until_sequence > self.cursor:
                with suppress(JournalError):  # after a restart it is told once more that this is missing
                    await asyncio.to_thread(write_cursor, self._path, until_sequence)
                self.cursor = until_sequence
        return begin

    def wake(self) -> None:
        """Tell the reader that the journal has grown. Called on the event loop."""
        self._news.set()

    async def close(self) -> None:
        """Release the open segment; what was not committed is still held for the next reader of this name."""
        if self._taking is not None:
            await asyncio.wait([self._taking])
        async with self._moving:
            self._tail.close()
            self._closed(self)

    def _in_memory(self, max_samples: int) -> list[tuple[int, Batch]]:
        found = self._recent.since(self._tail.next_sequence, max_samples)
        if found:
            self._tail.skip(found[-1][0] + 1)
        return [(sequence, self._twins.of(batch)) for sequence, batch in found]

    def _take(self, until: int, max_samples: int) -> list[tuple[int, Batch]]:
        found: list[tuple[int, Batch]] = []
        samples = 0
        for sequence, batch in self._tail.read(until):
            found.append((sequence, batch))
            samples += batch.size
            if samples >= max_samples:
                break
        return found
