"""The agent: store, journal, pipeline, sources and server, started and stopped in order."""

from __future__ import annotations

import asyncio
import logging
import os
import platform
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
from pydantic import BaseModel

from metricsmith import __version__, registry
from metricsmith.api.context import Replay
from metricsmith.config.load import Configuration
from metricsmith.config.parts import STORAGE, Part
from metricsmith.contracts import Context
from metricsmith.errors import ConfigError, DiskFull, Problem
from metricsmith.journal import Journal
from metricsmith.model.batch import Batch
from metricsmith.model.clock import Clock, SystemClock
from metricsmith.model.health import Check
from metricsmith.model.series import SeriesTable
from metricsmith.model.telemetry import Telemetry
from metricsmith.rules.manager import Equipment
from metricsmith.rules.notify.notifier import Notifier
from metricsmith.runtime.engine_config import engine_config
from metricsmith.runtime.health import StoreProbe, housekeeping_check, sink_checks
from metricsmith.runtime.pipeline import Pipeline, newest_ms
from metricsmith.runtime.rule_engine import RuleEngine
from metricsmith.runtime.rules import AgentRules, external_url
from metricsmith.runtime.series_limits import SeriesLimits
from metricsmith.runtime.sinks import SinkRunner
from metricsmith.runtime.sources import SourceRunner, build
from metricsmith.runtime.state import StateFile
from metricsmith.runtime.storage import DeliveredKeeper, open_store, writing_part
from metricsmith.store_contracts import Delivered, Keeper, Readable, RemembersSeries

log = logging.getLogger(__name__)

TICK_S = 1.0
FIXED_SECTIONS = ("storage", "journal", "server", "query", "otlp")
"""Sections that only a restart changes, but for what is in RELOADABLE."""
RELOADABLE = frozenset({"server.metrics"})
LOOKED_AT = 100
"""So many of the last batches in the journal tell how long the agent was stopped."""
REPLAY_TURN_S = 0.05
"""Replay lets the event loop have a turn so often, so that /health answers and a signal is heeded."""


class Agent:
    """One running configuration.

    Start: data directory and store, replay of the journal, sources. Stop is
    the reverse, so that what a source has handed over is committed and
    flushed before the process ends.
    """

    def __init__(self, configuration: Configuration, clock: Clock | None = None) -> None:
        self.configuration = configuration
        self.clock: Clock = clock or SystemClock()
        self.telemetry = Telemetry(self.clock)
        self.series = SeriesTable()
        self.started_ms = self.clock.now_ms()
        self.ready = False
        self.started = asyncio.Event()
        """Set when the replay is over: before it, nothing else may reach the journal or the store."""
        # The store looks first whether the data directory is ours.
        self.store, self.keeper = self._open_store()
        self.state = StateFile(Path(configuration.settings.storage.path) / "state.sqlite")
        self.journal = Journal(
            Path(configuration.settings.storage.path) / "journal",
            self.series,
            self.telemetry,
            self.clock,
            configuration.settings.journal,
        )
        # The keeper is told of every batch, so the journal must not number below what it has.
        self._release_journal()
        self.limits = SeriesLimits(configuration.settings.limits, self.series, self.clock, self.telemetry)
        self.pipeline = Pipeline(self.journal, self.keeper, self.series, self.telemetry, self.limits)
        self.sources = SourceRunner(self.pipeline, self.context)
        quarantine = Path(configuration.settings.storage.path) / "quarantine"
        begins = self.keeper.begins if isinstance(self.keeper, DeliveredKeeper) else None
        self.sinks = SinkRunner(self.journal, quarantine, self.context, writing_part(self.store), begins)
        self.rule_engine = RuleEngine(self.store, engine_config(configuration.settings.query), self.clock)
        self.notifier = self._make_notifier()
        self.rules = AgentRules(self._rule_equipment(), self.sinks.stored_after_ms)
        self.replay = Replay(state="waiting")
        self.config_ms = self.started_ms
        self._ticker: asyncio.Task[None] | None = None
        self._ticked_s = 0.0
        self._store_probe = StoreProbe(self.store.status, self.clock)
        self._notifying: asyncio.Task[None] | None = None
        self._end_notifying = asyncio.Event()
        self._counted_cpu_s = 0.0
        self._describe_self()

    def context(self, name: str) -> Context:
        """Return what a part called `name` may use."""
        state = self.state.of(f"part/{name}")
        return Context(name, self.series, self.telemetry, self.clock, state, self.journal)

    async def start(self, stop: asyncio.Event) -> None:
        """Replay what the store has not yet on disk, then let the sources run; return early at `stop`."""
        await self._replay(stop)
        if stop.is_set():
            return
        self._remember_series()
        not_before_ms = await self._rules_begin_ms()
        self.pipeline.processors = self._make_processors(self.configuration)
        await self.sinks.update(self.configuration)
        self.sources.update(source_parts(self.configuration))
        self._notifying = asyncio.create_task(self.notifier.run(self._end_notifying), name="notify")
        await self.rules.start(self.configuration, not_before_ms)
        self._ticked_s = self.clock.monotonic()
        self._ticker = asyncio.create_task(self._tick_forever(), name="tick")
        self.ready = True
        self.started.set()

    async def reload(self, new: Configuration) -> tuple[Problem, ...]:
        """Go over to a new configuration: all of it, or, when it cannot be used, nothing.

        Rule files are read anew; returned are the mistakes in them.

        Raises:
            ConfigError: a part cannot be built, or something changed that only a restart can change.
        """
        problems = self._needs_restart(new)
        if problems:
            raise ConfigError(problems)
        changed = new.of("processors") != self.configuration.of("processors")
        processors = self._make_processors(new) if changed else self.pipeline.processors
        await self.sinks.update(new)
        self.sources.update(source_parts(new))
        if changed:
            self.pipeline.processors = processors
            self.sources.supersede_all()
        self.configuration = new
        self.config_ms = self.clock.now_ms()
        settings = new.settings
        self.limits.update(settings.limits)
        self.notifier.update(
            settings.alerts,
            external_labels=settings.rules.external_labels,
            external_url=external_url(settings),
        )
        return await self.rules.reload(new)

    async def stop(self) -> None:
        """Stop rules and sources, commit and deliver what they handed over, flush the store."""
        self.ready = False
        self.rule_engine.cancel()
        await self.rules.stop()
        if self._notifying is not None:
            self._end_notifying.set()
            await asyncio.gather(self._notifying, return_exceptions=True)
        await self.sources.stop()
        if self._ticker is not None:
            self._ticker.cancel()
            await asyncio.gather(self._ticker, return_exceptions=True)
        await self.sinks.stop()
        await self.journal.close()
        if isinstance(self.store, Delivered):
            await asyncio.to_thread(self.store.close)
        await asyncio.to_thread(self.keeper.close)
        self.state.close()

    def not_ready(self) -> str:
        """Return why samples and queries cannot be served now; empty when they can."""
        if not self.ready:
            return "starting or stopping"
        try:
            self.keeper.check_space()
        except DiskFull as error:
            return str(error)
        return str(self.pipeline.failure or "")

    async def checks(self) -> list[Check]:
        """Return what probes are told: while samples and queries are not served, only why."""
        if not self.ready:
            return [Check("agent", False, self.not_ready())]
        failure = str(self.pipeline.failure or "")
        try:
            self.keeper.check_space()
            storage = await self._store_probe.check()
        except DiskFull as error:
            storage = Check("storage", False, str(error))
        return [
            Check("journal", not failure, failure),
            storage,
            *sink_checks(self.sinks.statuses()),
            housekeeping_check(self.clock.monotonic() - self._ticked_s),
        ]

    def uptime_ms(self) -> int:
        """Return milliseconds since the start."""
        return self.clock.now_ms() - self.started_ms

    def _rule_equipment(self) -> Equipment:
        async def accept(batch: Batch) -> None:
            await self.pipeline.accept("rules", batch)

        return Equipment(
            self.rule_engine,
            self.store,
            self.series,
            self.clock,
            self.telemetry,
            self.state.of("rules"),
            accept,
            self.notifier,
            self.sinks.stored,
        )

    def _make_notifier(self) -> Notifier:
        settings = self.configuration.settings
        return Notifier(
            settings.alerts,
            # In the state of the rules: what is to be told is kept in one commit with their alerts.
            Context("alerts", self.series, self.telemetry, self.clock, self.state.of("rules")),
            external_labels=settings.rules.external_labels,
            external_url=external_url(settings),
            workers=settings.performance.worker_count,
        )

    def _remember_series(self) -> None:
        """Have series that came shortly before the start go on, whatever comes first after it."""
        if isinstance(self.keeper, RemembersSeries):
            since_ms = self.clock.now_ms() - self.configuration.settings.limits.expiry
            self.limits.remember(self.keeper.series_since(since_ms))

    async def _rules_begin_ms(self) -> int:
        """Return when rules may begin: after a stop so long that nothing is found, sources deliver first."""
        settings, now_ms = self.configuration.settings, self.clock.now_ms()
        last_ms = await asyncio.to_thread(self._last_sample_ms)
        if last_ms is None or now_ms - last_ms <= settings.query.lookback:
            return now_ms
        return now_ms + settings.rules.grace

    def _last_sample_ms(self) -> int | None:
        """Return the time of the newest sample of earlier runs, without asking a server: it may be away."""
        if not isinstance(self.store, Delivered):
            return self.store.status().last_sample_ms
        end = self.journal.next_sequence
        newest = (newest_ms(batch) for batch in self.journal.past(max(0, end - LOOKED_AT), end))
        return max((found for found in newest if found is not None), default=None)

    async def _replay(self, stop: asyncio.Event) -> None:
        end = self.journal.next_sequence
        cursor = self.keeper.cursor()
        first = end if cursor is None else cursor
        self.replay = Replay(first, end, end)
        if first >= end:
            return
        log.info("replaying %d batches from the journal, from sequence %d", end - first, first)
        began = turn = self.clock.monotonic()
        for sequence, batch in self.journal.replay(first):
            self.keeper.apply(batch, sequence)
            if self.clock.monotonic() - turn > REPLAY_TURN_S:
                self.replay = Replay(first, end, sequence, "in progress")
                self.keeper.tick(self.clock.now_ms())
                await asyncio.sleep(0)
                if stop.is_set():
                    return  # what was applied is flushed, the rest is replayed next time
                turn = self.clock.monotonic()
        self.replay = Replay(first, end, end)
        log.info("replay took %.1f s", self.clock.monotonic() - began)

    async def _tick_forever(self) -> None:
        while True:
            await self.clock.sleep(TICK_S)
            self._ticked_s = self.clock.monotonic()
            try:
                self.keeper.tick(self.clock.now_ms())
                self._release_journal()
                self.journal.trim()
                self.sinks.tick()
                await self.pipeline.try_journal()
                await self.pipeline.tick(self.clock.now_ms())
                self._count_cpu()
            except Exception:  # housekeeping must not end with one failure
                log.exception("housekeeping failed; it is tried again")

    def _release_journal(self) -> None:
        cursor = self.keeper.cursor()
        if cursor is not None:
            self.journal.set_cursor("store", cursor)

    def _count_cpu(self) -> None:
        used = time.process_time()
        self.telemetry.count("metricsmith_cpu_seconds_total", used - self._counted_cpu_s)
        self._counted_cpu_s = used

    def _open_store(self) -> tuple[Readable, Keeper]:
        return open_store(self.configuration.store, Context("store", self.series, self.telemetry, self.clock))

    def _make_processors(self, configuration: Configuration) -> list[Any]:
        return [build(part, self.context(part.name)) for part in configuration.of("processors")]

    def _needs_restart(self, new: Configuration) -> list[Problem]:
        problems = []
        if new.store.type != self.configuration.store.type:
            return [new.origins.problem(("storage", "type"), "changed, and only a restart can change it")]
        for section in FIXED_SECTIONS:
            old, now = _section(self.configuration, section), _section(new, section)
            for field in type(old).model_fields:
                path = f"{section}.{field}"
                if path not in RELOADABLE and getattr(old, field) != getattr(now, field):
                    message = "changed, and only a restart can change it"
                    problems.append(new.origins.problem((section, field), message))
        return problems

    def _describe_self(self) -> None:
        process = psutil.Process(os.getpid())
        telemetry = self.telemetry
        telemetry.set("metricsmith_build_info", 1, version=__version__, python=platform.python_version())
        telemetry.set("metricsmith_start_time_seconds", self.started_ms / 1000)
        telemetry.set("metricsmith_config_last_reload_success", 1)
        telemetry.watch("metricsmith_resident_memory_bytes", lambda: float(process.memory_info().rss))
        telemetry.watch("metricsmith_series_interned", lambda: float(self.series.alive))


def _section(configuration: Configuration, name: str) -> BaseModel:
    """Return settings of a section; of those of stores, what is of the chosen type."""
    if name == STORAGE:
        return configuration.store.config
    section: BaseModel = getattr(configuration.settings, name)
    return section


def source_parts(configuration: Configuration) -> list[Part]:
    """Return the configured sources and what the agent tells of itself, unless that is configured."""
    service = configuration.settings.service
    parts = [
        replace(part, config=part.config.model_copy(update={"instance": service.name}))
        if part.type == "self" and "instance" not in part.config.model_fields_set
        else part
        for part in configuration.of("sources")
    ]
    own: dict[str, dict[str, Any]] = {"self": {"instance": service.name}, "pushgateway": {}}
    if configuration.settings.collection.application_metrics:
        own["application"] = {"service": service.name, "interval": service.interval}
    given = {part.type for part in parts}
    for kind, settings in own.items():
        if kind not in given:
            defaults = registry.load("sources", kind).Config()
            parts.append(Part("sources", kind, kind, defaults.model_copy(update=settings)))
    return parts
