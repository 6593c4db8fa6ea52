"""Reading what a sink is to get: up to a number of samples, or what has come within a time."""

from __future__ import annotations

import asyncio
from typing import Protocol

from metricsmith.contracts import Delivery
from metricsmith.model.batch import Batch
from metricsmith.model.clock import Clock

COMMIT_EVERY_S = 1.0
"""A restart sends at most so much again: a cursor costs a wait for the disk."""


GATHER_S = 0.1
"""What comes within a moment is read at once: each read costs a thread's attention."""


class Reader(Protocol):
    """What is asked of a reader of the journal."""

    cursor: int

    async def read(self, max_samples: int = ...) -> list[tuple[int, Batch]]:
        """Return the next numbered batches, at least one; what a cancelled call took, the next returns."""
        ...

    async def commit(self, next_sequence: int) -> None:
        """Make durable that all before a number is done."""
        ...

    async def close(self) -> None:
        """Release files."""
        ...


class Intake:
    """Takes deliveries from a reader, and keeps its cursor behind what was done."""

    def __init__(self, reader: Reader, clock: Clock) -> None:
        self.position = reader.cursor
        """All before this number is done."""
        self._reader, self._clock = reader, clock
        self._committed_at = -COMMIT_EVERY_S
        self._found: list[tuple[int, Batch]] = []
        self._taken = Delivery([], [])
        self._gaps: list[tuple[int, int]] = []
        self._pending: asyncio.Task[list[tuple[int, Batch]]] | None = None

    async def take(self, most: int, enough: int, wait_s: float) -> Delivery:
        """Return what comes next: once there are `enough` samples, or `wait_s` after the first of them.

        At most `most` samples and events, but for a single larger batch. What a cancelled
        call was about to return, the next call returns.
        """
        found = self._found
        if not found:
            found += await self._first(most)
        samples, until = sum(batch.size for _, batch in found), self._clock.monotonic() + wait_s
        while samples < enough and (left_s := until - self._clock.monotonic()) > 0:
            if self._pending is None:
                await self._clock.sleep(min(left_s, GATHER_S))
                left_s = max(0.0, until - self._clock.monotonic())
            more = await self._read(most - samples, left_s)
            if not more:
                break
            found += more
            samples += sum(batch.size for _, batch in more)
        self._found = []
        self._taken = Delivery([sequence for sequence, _ in found], [batch for _, batch in found])
        return self._taken

    def left(self, end: int) -> int:
        """Return how many batches before `end` are still to be done."""
        missing = sum(until - max(begin, self.position) for begin, until in self._gaps)
        return max(0, end - self.position - missing)

    def held(self) -> int:
        """Return the samples and events that are in memory."""
        return len(self._taken) + sum(batch.size for _, batch in self._found)

    def oldest_ms(self) -> int | None:
        """Return the newest time in the oldest batch that is in memory; None without any."""
        batches = self._taken.batches or [batch for _, batch in self._found]
        if not batches:
            return None
        time_ms = batches[0].time_ms
        if isinstance(time_ms, int):
            return time_ms
        return int(time_ms.max()) if time_ms.size else None

    def miss(self, begin: int, end: int) -> None:
        """Note that the reader passed over batches from `begin` up to but without `end`."""
        self._gaps.append((begin, end))
        self._move(self.position)

    def only_here(self) -> Delivery:
        """Return what is in memory and cannot be read again after a restart, as its place was given up."""
        pending = self._pending
        ended = pending is not None and pending.done() and not pending.cancelled()
        read = pending.result() if pending and ended and pending.exception() is None else []
        held = [*zip(self._taken.sequences, self._taken.batches, strict=True), *self._found, *read]
        lost = [each for each in held if each[0] < self._reader.cursor]
        return Delivery([sequence for sequence, _ in lost], [batch for _, batch in lost])

    async def done(self, delivery: Delivery) -> None:
        """Note that a delivery is over with; durable within COMMIT_EVERY_S as long as `take` is called.

        Raises:
            JournalError: the cursor could not be written; it is tried again.
        """
        self._taken = Delivery([], [])
        self._move(delivery.sequences[-1] + 1)
        if self._clock.monotonic() - self._committed_at >= COMMIT_EVERY_S:
            await self.commit()

    async def commit(self) -> None:
        """Make durable what was done.

        Raises:
            JournalError: it could not be written.
        """
        if self.position > self._reader.cursor:
            self._committed_at = self._clock.monotonic()
            await self._reader.commit(self.position)

    async def close(self) -> None:
        """Make durable what was done and release the reader.

        Raises:
            JournalError: the cursor could not be written; some is sent again.
        """
        if self._pending is not None:
            self._pending.cancel()
            await asyncio.gather(self._pending, return_exceptions=True)
        try:
            await self.commit()
        finally:
            await self._reader.close()

    def _move(self, position: int) -> None:
        for begin, end in self._gaps:
            if begin <= position:
                position = max(position, end)
        self.position = position
        self._gaps = [gap for gap in self._gaps if gap[0] > position]

    async def _first(self, most: int) -> list[tuple[int, Batch]]:
        if self.position > self._reader.cursor:
            found = await self._read(most, COMMIT_EVERY_S)
            if found:
                return found
            await self.commit()
        return await self._read(most, None)

    async def _read(self, most: int, limit_s: float | None) -> list[tuple[int, Batch]]:
        """Return what the reader has, nothing when it has nothing within the limit."""
        # A read that outlasts a limit goes on: the next call gets what it finds.
        pending = self._pending = self._pending or asyncio.create_task(self._reader.read(most))
        if limit_s is not None and not pending.done():
            limit = asyncio.ensure_future(self._clock.sleep(limit_s))
            try:
                await asyncio.wait({pending, limit}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                limit.cancel()
            if not pending.done():
                return []
        try:
            found = await asyncio.shield(pending)
        except Exception:
            self._pending = None
            raise
        self._pending = None  # not when this call is cancelled: what was found is for the next
        return found
