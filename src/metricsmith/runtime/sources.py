"""Runs sources: each in a task of its own, polled ones on their interval."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from metricsmith import registry
from metricsmith.config.parts import Part
from metricsmith.contracts import Context, Emit, PolledSource, TargetLister
from metricsmith.errors import JournalError
from metricsmith.model.clock import stopped_within
from metricsmith.model.targets import LastScrape, PoolStatus, TargetStatus
from metricsmith.net.threads import in_thread
from metricsmith.runtime.pipeline import Pipeline
from metricsmith.sources.bus.recent import RecentMessage
from metricsmith.sources.bus.seen import SeenTopic

log = logging.getLogger(__name__)

STOP_LIMIT_S = 3.0
TAKE_OVER_S = 60.0
"""How long the series of a replaced source wait for its successor to go on with them."""


@dataclass(slots=True)
class _Running:
    part: Part
    source: Any
    task: asyncio.Task[None]
    stop: asyncio.Event
    failure: TargetStatus | None = None
    """What is told of it once it has ended of itself."""


def build(part: Part, context: Context) -> Any:
    """Return the object of a configured part, not yet running."""
    return registry.load(part.group, part.type)(part.config, context)


class SourceRunner:
    """Keeps exactly the given sources running."""

    def __init__(self, pipeline: Pipeline, context: Callable[[str], Context]) -> None:
        self._pipeline, self._context = pipeline, context
        self._running: dict[str, _Running] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._waiting: set[asyncio.Task[None]] = set()

    def names(self) -> list[str]:
        """Return the names of running sources."""
        return sorted(name for name, running in list(self._running.items()) if not running.task.done())

    def of_type(self, kind: str) -> list[Any]:
        """Return the running sources of a type; from any thread."""
        running = list(self._running.values())
        return [r.source for r in running if r.part.type == kind and not r.task.done()]

    def topics(self) -> list[SeenTopic] | None:
        """Return the topics that each source of a bus has seen, None without one; from any thread."""
        buses = self.of_type("bus") + self.of_type("bus_kafka")
        return None if not buses else [seen for bus in buses for seen in bus.seen.topics()]

    def bus_messages(self, after: int | None) -> tuple[int, list[RecentMessage]]:
        """Return the last messages of buses after a number, and the highest number; from any thread."""
        buses = self.of_type("bus") + self.of_type("bus_kafka")
        found = sorted((m for bus in buses for m in bus.recent.after(after or 0)), key=lambda m: m.number)
        highest = found[-1].number if found else after or 0
        return highest, [] if after is None else found

    def targets(self) -> list[PoolStatus]:
        """Return the targets of each source that reads some, or has failed, by name; from any thread."""
        found = []
        for name, running in sorted(self._running.copy().items()):
            if running.failure is not None:
                found.append(PoolStatus(name, (running.failure,)))
            elif isinstance(running.source, TargetLister) and not running.task.done():
                found.append(running.source.targets())
        return found

    def update(self, parts: Sequence[Part]) -> None:
        """Start what is new, stop what has gone, restart what changed, leave the rest alone.

        All new sources are built before any is started or stopped: one that
        cannot be built leaves everything as it was.
        """
        wanted = {part.name: part for part in parts}
        changed = [p for p in parts if p.name not in self._running or self._running[p.name].part != p]
        built = [(part, build(part, self._context(part.name))) for part in changed]
        endings: dict[str, asyncio.Task[None]] = {}
        for name in [n for n, r in self._running.items() if wanted.get(n) != r.part]:
            endings[name] = self._later(self._end(self._running.pop(name), name in wanted), f"end of {name}")
        for part, source in built:
            stop = asyncio.Event()
            run = self._supervise(part, source, stop, endings.get(part.name))
            self._running[part.name] = _Running(
                part, source, asyncio.create_task(run, name=f"source {part.name}"), stop
            )

    def supersede_all(self) -> None:
        """Say that batches are processed otherwise from now on: series that no longer come are ended."""
        self._pipeline.streams.supersede()
        self._later(self._end_superseded(), "end of what was superseded")

    async def stop(self) -> None:
        """Ask all sources to end; those that do not within STOP_LIMIT_S are cancelled and logged."""
        for running in self._running.values():
            running.stop.set()
        for task in self._waiting:
            task.cancel()
        tasks = {running.task for running in self._running.values()} | self._ending
        if not tasks:
            return
        _, late = await asyncio.wait(tasks, timeout=STOP_LIMIT_S)
        for task in late:
            log.warning("%s did not end within %g s and is cancelled", task.get_name(), STOP_LIMIT_S)
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        self._running.clear()

    def _later(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name=name)
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)
        return task

    async def _end(self, running: _Running, replaced: bool) -> None:
        """End a source: what it reported is over, unless another goes on with it."""
        running.stop.set()
        await asyncio.wait({running.task}, timeout=STOP_LIMIT_S)
        running.task.cancel()
        await asyncio.gather(running.task, return_exceptions=True)
        name, streams = running.part.name, self._pipeline.streams
        if replaced:
            streams.supersede(name)
            self._later(self._end_superseded(), f"end of what {name} was")
        else:
            await self._pipeline.end(streams.remove(name), self._context(name).clock.now_ms())

    async def _end_superseded(self) -> None:
        """After a while, end the series that nobody went on with."""
        clock = self._context("reload").clock
        waiting = asyncio.create_task(clock.sleep(TAKE_OVER_S))
        self._waiting.add(waiting)
        waiting.add_done_callback(self._waiting.discard)
        with suppress(asyncio.CancelledError):
            await waiting
            await self._pipeline.end(self._pipeline.streams.take_superseded(), clock.now_ms())

    async def _supervise(
        self, part: Part, source: Any, stop: asyncio.Event, before: asyncio.Task[None] | None
    ) -> None:
        if before is not None:  # the source of that name that this one takes the place of
            await before
        context = self._context(part.name)
        emit = self._pipeline.emit_for(part.name)
        try:
            if hasattr(source, "run"):
                await source.run(emit, stop)
            else:
                await _poll(source, emit, stop, context)
        except Exception as error:  # one source must not take the others down
            context.telemetry.count("metricsmith_source_failures_total", source=part.name, reason="defect")
            log.exception("source %s ended with a defect; it stays off until a reload or restart", part.name)
            running = self._running.get(part.name)
            if running is not None and running.source is source:
                running.failure = _ended(part, error, context)


def _ended(part: Part, error: Exception, context: Context) -> TargetStatus:
    told = f"ended with a defect, off until a reload or restart: {type(error).__name__}: {error}"
    last = LastScrape(context.clock.now_ms(), 0.0, told)
    return TargetStatus(part.name, part.name, {"job": part.name, "instance": part.name}, 0, 0, last)


async def _poll(source: PolledSource, emit: Emit, stop: asyncio.Event, context: Context) -> None:
    """Collect on multiples of the interval; a collection that overruns delays only itself."""
    interval_s = source.interval_ms / 1000
    while not stop.is_set():
        now_s = context.clock.now_ms() / 1000
        if await stopped_within(stop, context.clock, interval_s - now_s % interval_s):
            return
        try:
            now_ms = context.clock.now_ms()
            # A thread of its own: one that hangs must not take those that others wait for.
            batch = await in_thread(context.name, partial(source.collect, now_ms))
            await emit(batch)
        except JournalError:
            continue  # counted where it was refused
        except Exception as error:  # a collector is somebody's code
            context.telemetry.problem(
                log,
                "metricsmith_source_failures_total",
                f"source {context.name} could not collect: {type(error).__name__}: {error}",
                source=context.name,
                reason="collect",
            )
