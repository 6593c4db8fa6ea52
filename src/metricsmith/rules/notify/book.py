"""The outbox in the state: entries are forgotten and set aside in the background, many in one commit."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterable

from metricsmith.contracts import Context
from metricsmith.errors import JournalError, StoreError
from metricsmith.rules.notify.entries import Entry
from metricsmith.rules.notify.refused import REFUSED, Quarantine, Refused

log = logging.getLogger(__name__)

RETRY_S = 5.0


class Book:
    """What is to change in the state besides the commits of rules. Safe to call from any thread."""

    def __init__(self, context: Context) -> None:
        self._state, self._telemetry, self._clock = context.state, context.telemetry, context.clock
        self._quarantine = Quarantine(dict(self._state.items(REFUSED)))
        self._put: dict[str, bytes] = {}
        self._delete: dict[str, None] = {}
        self._lock = threading.Lock()
        self._news = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    def done(self, entries: Iterable[Entry]) -> None:
        """Forget entries."""
        self.forget(entry.key for entry in entries)

    def forget(self, keys: Iterable[str]) -> None:
        """Forget keys."""
        with self._lock:
            self._delete |= dict.fromkeys(keys)
        self._wake()

    def refused(self, entries: Iterable[Entry], reason: str) -> None:
        """Set entries aside."""
        with self._lock:
            for entry in entries:
                put, gone = self._quarantine.add(entry, reason, self._clock.now_ms())
                self._put |= put
                for key in gone:
                    self._put.pop(key, None)
                self._delete |= dict.fromkeys([entry.key, *gone])
        self._wake()

    def all_refused(self) -> list[Refused]:
        """Return what was refused."""
        with self._lock:
            return self._quarantine.all()

    async def run(self) -> None:
        """Commit changes as they come, until cancelled."""
        self._loop = asyncio.get_running_loop()
        while True:
            if not await asyncio.to_thread(self.commit):
                await self._clock.sleep(RETRY_S)
                continue
            await self._news.wait()
            self._news.clear()

    def commit(self) -> bool:
        """Make all changes durable; return whether that worked. What did not is tried again next time."""
        with self._lock:
            put, self._put = self._put, {}
            delete, self._delete = self._delete, {}
        if not (put or delete):
            return True
        try:
            self._state.commit(put, delete)
        except (JournalError, StoreError) as error:
            with self._lock:
                self._put, self._delete = put | self._put, delete | self._delete
            self._telemetry.problem(
                log,
                "metricsmith_rule_commit_failures_total",
                f"the outbox of notifications was not brought up to date: {error}",
                part="outbox",
            )
            return False
        return True

    def _wake(self) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._news.set)
