"""Runs sinks: each a line of delivery with a cursor of its own in the journal."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import xxhash

from metricsmith.config.load import Configuration
from metricsmith.config.parts import Part
from metricsmith.config.settings import PerformanceSettings
from metricsmith.contracts import Context, SinkConfig
from metricsmith.delivery.desk import Desk
from metricsmith.delivery.line import EXPIRED, Limits, Line, SinkStatus
from metricsmith.delivery.quarantine import Quarantine
from metricsmith.journal import GivenUp, Journal
from metricsmith.runtime.sources import build

log = logging.getLogger(__name__)

DEFAULT_BATCH = 5000
STORAGE_FLUSH_MS = 1000
PRIMED = 5000
"""So many batches before its cursor a sink's processors see at its start, to go on where they stopped."""
_PREFIX = "sink."
_WHY: Mapping[str, str] = {
    "expired": EXPIRED,
    "removed": "the sink has not been in the configuration for 24 hours",
}
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_-]")


@dataclass(frozen=True, slots=True)
class _Wanted:
    part: Part
    limits: Limits


class SinkRunner:
    """Keeps exactly the given sinks served."""

    def __init__(
        self, journal: Journal, folder: Path, context: Callable[[str], Context], storage: Part | None = None
    ) -> None:
        """`folder` is for what destinations refuse, `storage` the sink that writes the store."""
        whole = context("sinks")
        self._journal, self._context = journal, context
        self._quarantine = Quarantine(folder, whole.series, whole.clock)
        self._storage = storage
        self._running: dict[str, _Wanted] = {}
        self._lines: dict[str, Line] = {}
        self._changing = asyncio.Lock()
        """While sinks are changed, one that is to go on may not be open."""
        self.desk = Desk(self._lines, self._quarantine, whole)

    def statuses(self) -> list[SinkStatus]:
        """Return how each sink is, by name; from any thread."""
        return [line.status() for _, line in sorted(self._lines.items())]

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
            part.name: _Wanted(part, _limits(part.config, performance)) for part in configuration.of("sinks")
        }
        if self._storage is not None:
            wanted[self._storage.name] = _Wanted(self._storage, _storage_limits(self._storage, performance))
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
            reader = journal.reader(reader_name(part.name))
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
            )
            self._lines[part.name] = line
            line.start()
        self._running = wanted

    async def look_after_journal(self) -> None:
        """Keep the journal within its size, forget sinks that were removed long ago; count what is lost."""
        if self._changing.locked():
            return
        async with self._changing:
            for lost in await self._journal.make_room() + await self._journal.drop_gone():
                self._count(lost)

    def _count(self, lost: GivenUp) -> None:
        for name, line in self._lines.items():
            if reader_name(name) == lost.reader:
                line.expired(lost.begin, lost.end, lost.samples, lost.events)
                return
        name = shown_name(lost.reader)
        telemetry = self._context(name).telemetry
        for amount, what in ((lost.samples, "samples"), (lost.events, "events")):
            if amount:
                telemetry.problem(
                    log,
                    f"metricsmith_sink_dropped_{what}_total",
                    f"{name}: {amount} {what} not delivered: {_WHY[lost.reason]}",
                    amount=amount,
                    sink=name,
                    reason=lost.reason,
                )

    async def stop(self) -> None:
        """Deliver what is soon delivered, and end all."""
        await asyncio.gather(*(line.stop() for line in self._lines.values()))
        self._running.clear()
        self._lines.clear()


def reader_name(sink: str) -> str:
    """Return the name of a sink's cursor: readable, and another for each sink.

    >>> reader_name("oci"), reader_name("a b")
    ('sink.oci', 'sink.a_b.19d57fc4')
    """
    readable = _NOT_IN_NAMES.sub("_", sink)[:80]
    return f"{_PREFIX}{readable}" + ("" if readable == sink else f".{xxhash.xxh32_hexdigest(sink)}")


def shown_name(reader: str) -> str:
    """Return the name of a sink that is gone, from that of its cursor."""
    return reader.removeprefix(_PREFIX)


def _limits(config: object, performance: PerformanceSettings) -> Limits:
    assert isinstance(config, SinkConfig)
    return Limits(
        _first(config.batch_size, performance.batch_size, DEFAULT_BATCH),
        _first(config.flush_interval, performance.flush_interval) / 1000,
        _first(config.worker_count, performance.worker_count),
    )


def _storage_limits(part: Part, performance: PerformanceSettings) -> Limits:
    """Return how the store's sink is served: soon, unless somebody says otherwise, for people look at it."""
    if "flush_interval" not in performance.model_fields_set:
        performance = performance.model_copy(update={"flush_interval": STORAGE_FLUSH_MS})
    return _limits(part.config, performance)


def _first(*values: int | None) -> int:
    return next(value for value in values if value is not None)
