"""Runs sinks: each a line of delivery with a cursor of its own in the journal."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from metricsmith.config.load import Configuration
from metricsmith.config.parts import Part
from metricsmith.config.settings import PerformanceSettings
from metricsmith.contracts import Compressing, Context, SinkConfig
from metricsmith.delivery.ages import Ages
from metricsmith.delivery.desk import Desk
from metricsmith.delivery.line import Limits, Line
from metricsmith.delivery.quarantine import Quarantine
from metricsmith.delivery.status import SinkStatus
from metricsmith.errors import StoreUnavailable
from metricsmith.journal import Journal
from metricsmith.runtime.cursor_names import reader_name
from metricsmith.runtime.removed_sinks import RemovedSinks
from metricsmith.runtime.sources import build

log = logging.getLogger(__name__)

DEFAULT_BATCH = 5000
STORAGE_FLUSH_MS = 1000
STORAGE_SEND_MS = 4000
"""Rules over a store that a sink writes give its destination that long to take samples, and to show them."""
STORED_LIMIT_S = 30.0
STORED_LOOK_S = 0.05
SHOWN_S = 1.0
"""VictoriaMetrics shows what it has taken after that long."""
PRIMED = 5000
"""So many batches before its cursor a sink's processors see at its start, to go on where they stopped."""


@dataclass(frozen=True, slots=True)
class _Wanted:
    part: Part
    limits: Limits


class SinkRunner:
    """Keeps exactly the given sinks served."""

    def __init__(
        self,
        journal: Journal,
        folder: Path,
        context: Callable[[str], Context],
        storage: Part | None = None,
        storage_begins: int | None = None,
    ) -> None:
        """`folder` is for what destinations refuse.

        `storage` is the sink that writes the store; when it is new it begins at `storage_begins`.
        """
        self._storage_begins = storage_begins
        whole = context("sinks")
        self._journal, self._context = journal, context
        self._quarantine = Quarantine(folder, whole.series, whole.clock)
        self._storage, self._clock = storage, whole.clock
        self._removed = RemovedSinks(journal, whole)
        self._ages = Ages(journal.next_sequence, whole.clock.monotonic())
        self._running: dict[str, _Wanted] = {}
        self._lines: dict[str, Line] = {}
        self._changing = asyncio.Lock()
        """While sinks are changed, one that is to go on may not be open."""
        self._looking: asyncio.Task[None] | None = None
        self.desk = Desk(self._lines, self._quarantine, whole)

    def statuses(self) -> list[SinkStatus]:
        """Return how each sink is, by name, then those that left the configuration; from any thread."""
        return [line.status() for _, line in sorted(self._lines.items())] + self._removed.statuses()

    def storage_status(self) -> SinkStatus | None:
        """Return how the sink is that writes the store; None where none does. From any thread."""
        line = None if self._storage is None else self._lines.get(self._storage.name)
        return None if line is None else line.status()

    def stored_after_ms(self, configuration: Configuration) -> int:
        """Return how long after their time samples can be read at the latest, while all is well."""
        if self._storage is None:
            return 0
        limits = _storage_limits(self._storage, configuration.settings.performance)
        return round(limits.flush_s * 1000) + STORAGE_SEND_MS

    async def stored(self) -> None:
        """Return when what is accepted by now can be read, also where a sink writes the store.

        Raises:
            StoreUnavailable: it has not been written within STORED_LIMIT_S.
        """
        if self._storage is None:
            return
        end, until_s = self._journal.next_sequence, self._clock.monotonic() + STORED_LIMIT_S
        while self._journal.next_sequence - (status := self._lines[self._storage.name].status()).behind < end:
            if self._clock.monotonic() > until_s:
                why = status.last_error or f"it is {status.behind} batches behind"
                raise StoreUnavailable("behind", f"samples wait until the store takes them: {why}")
            await self._clock.sleep(STORED_LOOK_S)
        await self._clock.sleep(SHOWN_S)

    async def update(self, configuration: Configuration) -> None:
        """Start what is new, stop what has gone, restart what changed, leave the rest alone.

        All new sinks are built before any is stopped: one that cannot be built
        leaves everything as it was.
        """
        async with self._changing:
            await self._update(configuration)

    async def _update(self, configuration: Configuration) -> None:
        performance = configuration.settings.performance
        wanted = {
            part.name: _Wanted(_compressing(part, performance), _limits(part.config, performance))
            for part in configuration.of("sinks")
        }
        if self._storage is not None:
            limits = _storage_limits(self._storage, performance)
            wanted[self._storage.name] = _Wanted(_compressing(self._storage, performance), limits)
        changed = [each for name, each in wanted.items() if self._running.get(name) != each]
        built = [(each, build(each.part, self._context(each.part.name))) for each in changed]
        ending = [name for name, old in self._running.items() if wanted.get(name) != old]
        await asyncio.gather(*(self._lines.pop(name).stop() for name in ending))
        for left_alone in self._lines.values():
            left_alone.forget_refused()
        for each, sink in built:
            part = each.part
            context = self._context(part.name)
            processors = [build(own, self._context(f"{part.name}/{own.name}")) for own in part.processors]
            journal = self._journal
            is_storage = self._storage is not None and part.name == self._storage.name
            reader = journal.reader(reader_name(part.name), self._storage_begins if is_storage else None)
            line = Line(
                part.type,
                sink,
                reader,
                lambda: self._journal.next_sequence,
                context,
                each.limits,
                self._quarantine,
                processors,
                partial(journal.past, reader.cursor - PRIMED, reader.cursor),
                lambda sequence: self._ages.age_s(sequence, self._clock.monotonic()),
            )
            self._lines[part.name] = line
            line.start()
        self._running = wanted

    def tick(self) -> None:
        """Do what is due, in the background. Called once a second."""
        self._ages.note(self._journal.next_sequence, self._clock.monotonic())
        if not self._changing.locked():
            self._looking = asyncio.create_task(self._look_after_journal(), name="journal room")

    async def _look_after_journal(self) -> None:
        try:
            await self.look_after_journal()
        except Exception:  # housekeeping must not end with one failure
            log.exception("the journal could not be looked after; it is tried again")

    async def look_after_journal(self) -> None:
        """Keep the journal within its size, forget sinks that were removed long ago; count what is lost."""
        async with self._changing:
            readers = {reader_name(name): line for name, line in self._lines.items()}
            for lost in await self._journal.make_room() + await self._journal.drop_gone():
                if line := readers.get(lost.reader):
                    line.expired(lost.begin, lost.end, lost.samples, lost.events)
                else:
                    self._removed.count(lost)
            self._removed.tell()

    async def stop(self) -> None:
        """Deliver what is soon delivered, and end all."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)
        await asyncio.gather(*(line.stop() for line in self._lines.values()))
        self._running.clear()
        self._lines.clear()


def _limits(config: object, performance: PerformanceSettings) -> Limits:
    assert isinstance(config, SinkConfig)
    buffer = _first(config.buffer_size, performance.buffer_size)
    return Limits(
        _first(config.batch_size, performance.batch_size, min(DEFAULT_BATCH, buffer)),
        _first(config.flush_interval, performance.flush_interval) / 1000,
        _first(config.worker_count, performance.worker_count),
        buffer,
        performance.allowed_lag if config.allowed_lag is None else config.allowed_lag,
    )


def _compressing(part: Part, performance: PerformanceSettings) -> Part:
    """Return a sink that compresses as is set for all, unless it says otherwise."""
    config = part.config
    if not isinstance(config, Compressing) or "compression" in config.model_fields_set:
        return part
    return replace(part, config=config.model_copy(update={"compression": performance.compression}))


def _storage_limits(part: Part, performance: PerformanceSettings) -> Limits:
    """Return how the store's sink is served: soon, unless somebody says otherwise, for people look at it."""
    if "flush_interval" not in performance.model_fields_set:
        performance = performance.model_copy(update={"flush_interval": STORAGE_FLUSH_MS})
    return _limits(part.config, performance)


def _first(*values: int | None) -> int:
    return next(value for value in values if value is not None)
