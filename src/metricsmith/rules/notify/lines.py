"""The ways to all destinations: opened, renewed and closed as settings and lists of targets change."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from metricsmith.contracts import Context
from metricsmith.rules.notify.book import Book
from metricsmith.rules.notify.destination import Destination
from metricsmith.rules.notify.entries import Entry, decode
from metricsmith.rules.notify.line import Line

log = logging.getLogger(__name__)

NOBODY = "unknown"
"""Stands for the destination of entries whose own is not there."""


class Lines:
    """Lines by the name of their destination, and entries whose destination is not known yet.

    Guarded by a lock of the owner; what must happen in the event loop is left
    to it.
    """

    def __init__(self, context: Context, book: Book, workers: int) -> None:
        self._context, self._book = context, book
        self._workers = asyncio.Semaphore(workers)
        self._lines: dict[str, Line] = {}
        self._labels: dict[str, str] = {}
        self._numbers: defaultdict[str, int] = defaultdict(int)
        self._unclaimed: defaultdict[str, list[Entry]] = defaultdict(list)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def __iter__(self) -> Iterator[Line]:
        return iter(self._lines.values())

    def get(self, name: str) -> Line | None:
        """Return the line to a destination, if it is open."""
        return self._lines.get(name)

    def label(self, name: str) -> str:
        """Return what people know a destination by: its kind and a number."""
        return self._labels.get(name, name)

    def open(self, destination: Destination) -> Line:
        """Return a new line to a destination, with what has waited for it."""
        name = destination.name
        if name not in self._labels:
            self._labels[name] = f"{destination.kind}-{self._numbers[destination.kind]}"
            self._numbers[destination.kind] += 1
        telemetry, clock = self._context.telemetry, self._context.clock
        line = Line(destination, self._labels[name], self._book, telemetry, clock, self._workers)
        self._lines[name] = line
        line.add(self._unclaimed.pop(name, ()))
        self._call(line.start)
        return line

    def reconcile(
        self, wanted: Mapping[str, Destination], lasting: Callable[[Destination], Destination | None]
    ) -> None:
        """Open lines that are new, close those that are gone, give the others their destination of now.

        `lasting` says what becomes of a destination that is not wanted: the
        same with other settings, or None for its end.
        """
        for name, line in list(self._lines.items()):
            former = line.destination
            renewed = wanted.get(name) or lasting(former)
            if renewed is not None and renewed.settings == former.settings:
                continue
            if renewed is not None:
                line.destination = renewed
            else:
                del self._lines[name]
                line.unwatch()
                if self._loop is None:
                    line.abandon()
                self._call(self._run, line.close)
            self._call(self._run, former.close)
        for name, destination in wanted.items():
            if name not in self._lines:
                self.open(destination)

    def add(self, kept: Iterable[tuple[str, bytes]]) -> None:
        """Let kept entries wait for their destinations; what cannot be read is dropped, and counted."""
        found: defaultdict[str, list[Entry]] = defaultdict(list)
        damaged = []
        for key, value in kept:
            try:
                entry = decode(key, value)
            except ValueError:
                damaged.append(key)
            else:
                found[entry.destination].append(entry)
        for name, entries in found.items():
            line = self._lines.get(name)
            if line is None:
                self._unclaimed[name] += entries
            else:
                line.add(entries)
                self._call(line.wake)
        self.damaged(damaged)

    def damaged(self, keys: list[str]) -> None:
        """Forget what cannot be read."""
        if keys:
            self._dropped(len(keys), "damaged", "what is kept of them cannot be read")
            self._book.forget(keys)

    def tidy(self) -> None:
        """Drop entries whose destination has not come, when they are of no use any more."""
        now_ms = self._context.clock.now_ms()
        for name, entries in list(self._unclaimed.items()):
            stale = [entry for entry in entries if entry.until_ms < now_ms]
            if stale:
                self._unclaimed[name] = [entry for entry in entries if entry.until_ms >= now_ms]
                self._book.done(stale)
                amount = sum(entry.alerts for entry in stale)
                self._dropped(amount, "destination_gone", "their destination is no longer there")

    def start(self) -> None:
        """Begin to send. Called in the event loop."""
        self._loop = asyncio.get_running_loop()
        for line in self._lines.values():
            line.start()

    async def stop(self, grace_s: float) -> None:
        """End all lines; what waits stays in the state."""
        lines, self._loop = list(self._lines.values()), None
        await asyncio.gather(*(line.stop(grace_s) for line in lines), *self._tasks, return_exceptions=True)
        await asyncio.gather(*(line.destination.close() for line in lines), return_exceptions=True)

    def _dropped(self, amount: int, reason: str, why: str) -> None:
        self._context.telemetry.problem(
            log,
            "metricsmith_notifications_dropped_total",
            f"{amount} notifications not sent: {why}",
            amount=amount,
            destination=NOBODY,
            reason=reason,
        )

    def _call(self, function: Callable[..., object], *args: Any) -> None:
        """Call in the event loop, if it runs."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(function, *args)

    def _run(self, close: Callable[[], Any]) -> None:
        task = asyncio.ensure_future(close())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
