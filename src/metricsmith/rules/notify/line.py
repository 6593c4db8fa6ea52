"""The way to one destination: what waits for it is sent in order, again and again until it is taken."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from metricsmith.errors import Rejected, RetryLater
from metricsmith.model.clock import Clock
from metricsmith.model.telemetry import Telemetry
from metricsmith.rules.notify.destination import Destination
from metricsmith.rules.notify.entries import Entry, digest
from metricsmith.rules.notify.waiting import Waiting

log = logging.getLogger(__name__)

FIRST_WAIT_S = 1.0
_GAUGES = ("metricsmith_notification_queue_length", "metricsmith_notification_queue_bytes")


class Ledger(Protocol):
    """What keeps entries in the state."""

    def done(self, entries: Iterable[Entry]) -> None:
        """Forget entries: they are delivered or dropped."""
        ...

    def refused(self, entries: Iterable[Entry], reason: str) -> None:
        """Set entries aside for people to look at."""
        ...


@dataclass(frozen=True, slots=True)
class DestinationStatus:
    """How a destination is. `address` holds scheme and host only."""

    name: str
    kind: str
    address: str
    waiting: int
    waiting_bytes: int
    oldest_ms: int | None
    delivered_alerts: int
    last_success_ms: int | None
    last_error: str


class Line:
    """What waits for a destination, and the task that sends it. `wake` after adding."""

    def __init__(
        self,
        destination: Destination,
        label: str,
        ledger: Ledger,
        telemetry: Telemetry,
        clock: Clock,
        workers: asyncio.Semaphore,
    ) -> None:
        self.destination = destination
        self.label = label
        self._task: asyncio.Task[None] | None = None
        self._sending = self._stopping = False
        self._waiting = Waiting()
        self._ledger, self._telemetry, self._clock, self._workers = ledger, telemetry, clock, workers
        self._news = asyncio.Event()
        self._failures = 0
        self._delivered = 0
        self._last_success_ms: int | None = None
        self._last_error = ""
        length, size = _GAUGES
        telemetry.watch(length, lambda: len(self._waiting), destination=label)
        telemetry.watch(size, lambda: self._waiting.size_bytes, destination=label)

    def add(self, entries: Iterable[Entry]) -> None:
        """Let entries wait. Safe to call from any thread; `wake` afterwards in the event loop."""
        self._drop([gone for entry in entries for gone in self._waiting.add(entry)])

    def wake(self) -> None:
        """Look at what waits."""
        self._news.set()

    def status(self) -> DestinationStatus:
        """Return how it is. Called from any thread."""
        return DestinationStatus(
            self.label,
            self.destination.kind,
            self.destination.address,
            len(self._waiting),
            self._waiting.size_bytes,
            self._waiting.oldest_ms(),
            self._delivered,
            self._last_success_ms,
            self._last_error,
        )

    def start(self) -> None:
        """Begin to send. Called in the event loop."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name=f"notify {self.label}")

    async def stop(self, grace_s: float = 0.0) -> None:
        """End; what is under way has a grace to be delivered, and waits again after it."""
        self._stopping = True
        task = self._task
        if task is None:
            return
        if self._sending:
            await asyncio.wait([task], timeout=grace_s)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def close(self) -> None:
        """End for good."""
        await self.stop()
        self.abandon()

    def abandon(self) -> None:
        """Drop what still waits. Nothing must be under way."""
        self._drop([(entry, "destination_gone") for entry in self._waiting.take(len(self._waiting))])

    def unwatch(self) -> None:
        """Show its queue no more; at once, for another line may take its label."""
        for name in _GAUGES:
            self._telemetry.forget(name, destination=self.label)

    async def _run(self) -> None:
        while not self._stopping:
            batch = self._take()
            if not batch:
                await self._news.wait()
                self._news.clear()
                continue
            self._sending = True
            try:
                wait_s = await self._send(batch)
            finally:
                self._sending = False
            if wait_s and not self._stopping:
                await self._clock.sleep(wait_s)

    def _take(self) -> list[Entry]:
        """Return what is to be sent next; what is of no use any more is dropped."""
        now_ms = self._clock.now_ms()
        while taken := self._waiting.take(self.destination.batch):
            fresh = [entry for entry in taken if entry.until_ms >= now_ms]
            self._drop([(entry, "stale") for entry in taken if entry.until_ms < now_ms])
            if fresh:
                return fresh
        return []

    async def _send(self, batch: list[Entry]) -> float:
        """Send a batch; return the seconds to wait before the next."""
        try:
            async with self._workers:
                began = self._clock.monotonic()
                try:
                    await self.destination.send([entry.payload for entry in batch], _key_of(batch))
                finally:
                    took_s = self._clock.monotonic() - began
                    self._telemetry.observe(
                        "metricsmith_notification_seconds", took_s, destination=self.label
                    )
        except Rejected as error:
            guilty = set(error.series) or set(range(len(batch)))
            self._succeeded([entry for i, entry in enumerate(batch) if i not in guilty])
            self._refused([batch[i] for i in sorted(guilty)], error.reason)
        except RetryLater as error:
            return self._failed(batch, error)
        except asyncio.CancelledError:
            self._waiting.put_back(batch)
            raise
        except Exception as error:  # a defect of ours: the other destinations go on
            log.exception("notifying %s failed", self.label)
            return self._failed(batch, RetryLater(f"defect: {type(error).__name__}", reason="defect"))
        else:
            self._succeeded(batch)
        return 0.0

    def _succeeded(self, batch: Sequence[Entry]) -> None:
        self._failures, self._last_error = 0, ""
        if not batch:
            return
        alerts = sum(entry.alerts for entry in batch)
        self._delivered += alerts
        self._last_success_ms = self._clock.now_ms()
        self._telemetry.count("metricsmith_notifications_sent_total", alerts, destination=self.label)
        self._ledger.done(batch)

    def _failed(self, batch: Sequence[Entry], error: RetryLater) -> float:
        """Let a batch wait again; return the seconds until the next attempt."""
        self._drop(self._waiting.put_back(batch))
        longest_s = min(FIRST_WAIT_S * 2.0 ** min(self._failures, 20), self.destination.longest_wait_s)
        self._failures += 1
        wait_s = max(random.uniform(longest_s / 2, longest_s), error.after_s or 0.0)
        self._last_error = str(error)
        self._telemetry.problem(
            log,
            "metricsmith_notification_retries_total",
            f"notifying {self._who()}: {error}; tried again in {wait_s:.1f}s",
            destination=self.label,
            reason=error.reason,
        )
        return wait_s

    def _refused(self, entries: Sequence[Entry], reason: str) -> None:
        self._last_error = f"refused: {reason}"
        self._ledger.refused(entries, reason)
        self._count_dropped(entries, "refused", f"refused for good: {reason}")

    def _drop(self, gone: Sequence[tuple[Entry, str]]) -> None:
        for reason in sorted({reason for _, reason in gone}):
            entries = [entry for entry, why in gone if why == reason]
            self._ledger.done(entries)
            self._count_dropped(entries, reason, _WHY[reason])

    def _count_dropped(self, entries: Sequence[Entry], reason: str, why: str) -> None:
        amount = sum(entry.alerts for entry in entries)
        self._telemetry.problem(
            log,
            "metricsmith_notifications_dropped_total",
            f"notifying {self._who()}: {amount} alerts not told: {why}",
            amount=amount,
            level=logging.DEBUG if reason == "replaced" else logging.WARNING,
            destination=self.label,
            reason=reason,
        )

    def _who(self) -> str:
        return f"{self.label} ({self.destination.address})"


_WHY = {
    "replaced": "newer news of the same alerts took their place",
    "queue_full": "too many waited, the oldest made room",
    "stale": "they waited until they were of no use",
    "destination_gone": "the destination is no longer configured",
}


def _key_of(batch: Sequence[Entry]) -> str:
    """Return what identifies a delivery: the same for the same entries, after a restart too."""
    return digest(*(f"{entry.at_ms}-{entry.slot}" for entry in batch))
