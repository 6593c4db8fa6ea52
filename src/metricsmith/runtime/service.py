"""The agent with its HTTP server: what `metricsmith run` runs until it is told to stop."""

from __future__ import annotations

import asyncio
import gc
import logging
from functools import partial

from metricsmith.api.app import AgentStatus, ApiContext, ApiLimits, MetricsPage, create_app
from metricsmith.config import load_file
from metricsmith.config.load import Configuration
from metricsmith.config.settings import Mode, Settings
from metricsmith.config.shown import shown
from metricsmith.errors import ConfigError, Problem
from metricsmith.model.duration import format_duration
from metricsmith.model.host_names import AllowedHosts
from metricsmith.promql.engine import Engine
from metricsmith.runtime import warnings
from metricsmith.runtime.admin import admin_of
from metricsmith.runtime.agent import Agent
from metricsmith.runtime.engine_config import engine_config, evaluating_server
from metricsmith.runtime.http import HttpServer
from metricsmith.runtime.logs import set_up_logging
from metricsmith.runtime.storage import DeliveredKeeper
from metricsmith.store.memory import keep_freed

log = logging.getLogger(__name__)


class Service:
    """One agent, reachable over HTTP, from start to orderly stop."""

    def __init__(self, configuration: Configuration) -> None:
        self.agent = Agent(configuration)
        self._stop = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._reloading = asyncio.Lock()
        self._reload_failed_ms: int | None = None
        self._not_reloaded = ""

    def request_stop(self) -> None:
        """Begin the orderly stop; called by signal handlers."""
        self._stop.set()

    def request_reload(self) -> None:
        """Reload in the background; the outcome is logged. Called by the signal handler."""
        task = asyncio.create_task(self._reload_and_log(), name="reload")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def run(self) -> None:
        """Serve until `request_stop`; the server answers /health while the journal is replayed."""
        settings = self.agent.configuration.settings
        log_notes(self.agent.configuration)
        host, port = settings.server.address()
        try:
            server = HttpServer(create_app(self._api_context()), host, port)
        except BaseException:
            await self.agent.stop()
            raise
        self.agent.telemetry.watch("metricsmith_http_connections", server.connections)
        server.start()
        try:
            await self.agent.start(self._stop)
            freeze_what_stays()
            keep_freed()
            if self.agent.ready:
                log.info(
                    "%s agent %s listens on http://%s:%d, data in %s",
                    settings.service.type.value,
                    settings.service.name,
                    f"[{host}]" if ":" in host else host,
                    server.port,
                    settings.storage.path,
                )
                log_without_sources(self.agent.configuration)
            await self._stop.wait()
            log.info("stopping: sources, server, journal, store")
        finally:
            self.agent.ready = False
            await server.stop()
            await self.agent.stop()
        log.info("stopped after %s", format_duration(self.agent.uptime_ms() // 1000 * 1000))

    async def reload(self) -> None:
        """Read the configuration file again and go over to it, or keep the old one.

        While the agent starts, this waits: a source that ran beside the replay
        would put its batches before those that are still to be replayed.

        Raises:
            ConfigError: the new one cannot be used, and nothing has changed; or there are mistakes in rule
                files: these files keep the rules that they had, all else is reloaded.
        """
        async with self._reloading:
            await _first_of(self.agent.started, self._stop)
            before = self.agent.configuration
            telemetry = self.agent.telemetry
            try:
                if self._stop.is_set():
                    raise ConfigError([Problem("", "the agent is stopping; nothing is reloaded")])
                file = self.agent.configuration.file
                if not file:
                    raise ConfigError(
                        [Problem("", "the agent runs without a configuration file; nothing to reload")]
                    )
                new = load_file(file)
                problems = await self.agent.reload(new)
                set_up_logging(new.settings.logging)
                log_notes(new)
                if problems:
                    what = "the configuration is reloaded, but rule files with mistakes keep their old rules"
                    raise ConfigError([Problem("rules.files", what, file), *problems])
            except Exception as error:
                self._reload_failed_ms = self.agent.clock.now_ms()
                # Mistakes in rule files, which keep the old rules, are among the warnings of rules.
                self._not_reloaded = str(error) if self.agent.configuration is before else ""
                telemetry.set("metricsmith_config_last_reload_success", 0)
                telemetry.count("metricsmith_config_reloads_total", result="failure")
                raise
            self._reload_failed_ms, self._not_reloaded = None, ""
            telemetry.set("metricsmith_config_last_reload_success", 1)
            telemetry.count("metricsmith_config_reloads_total", result="success")
            log.info("configuration reloaded from %s", file)

    async def _reload_and_log(self) -> None:
        before = self.agent.configuration
        try:
            await self.reload()
        except ConfigError as error:
            if self.agent.configuration is before:
                log.error("configuration not reloaded, the old one stays: %s", error)
            else:
                log.error("%s", error)
        except Exception:  # a defect of ours, which nobody else would hear of
            log.exception("configuration not reloaded, the old one stays")

    def _api_context(self) -> ApiContext:
        agent, settings = self.agent, self.agent.configuration.settings
        return ApiContext(
            store=agent.store,
            engine=make_engine(agent),
            server=evaluating_server(agent.store, engine_config(settings.query)),
            last=agent.keeper.last if isinstance(agent.keeper, DeliveredKeeper) else None,
            metrics_path=getattr(agent.configuration.store.config, "metrics_path", "/metrics"),
            emit=partial(agent.pipeline.take, "api"),
            series=agent.series,
            telemetry=agent.telemetry,
            clock=agent.clock,
            status=self._status,
            reload=self.reload,
            not_ready=agent.not_ready,
            checks=agent.checks,
            metrics_page=self._metrics_page,
            journal_bytes=agent.journal.size_bytes,
            pools=agent.sources.targets,
            pushgateway=lambda: next(iter(agent.sources.of_type("pushgateway")), None),
            topics=agent.sources.topics,
            bus_messages=agent.sources.bus_messages,
            rule_groups=agent.rules.groups,
            destinations=agent.notifier.status,
            refused=agent.notifier.refused,
            backfill=agent.rules.backfill.run,
            sinks=agent.sinks.desk,
            admin=admin_of(agent),
            admin_allowed=settings.server.admin_api,
            hosts=AllowedHosts(settings.server.address()[0], settings.server.allowed_hosts),
            settings=lambda: shown(agent.configuration),
            limits=make_limits(settings),
            otlp=settings.otlp,
        )

    def _status(self) -> AgentStatus:
        agent, service = self.agent, self.agent.configuration.settings.service
        sinks = tuple(agent.sinks.statuses())
        return AgentStatus(
            mode=service.type.value,
            name=service.name,
            uptime_ms=agent.uptime_ms(),
            samples_accepted=agent.pipeline.accepted_samples,
            sources=tuple(agent.sources.names()),
            serving=agent.ready,
            config_ms=agent.config_ms,
            reload_failed_ms=self._reload_failed_ms,
            replay=agent.replay,
            warnings=(
                *warnings.of_reload(self._not_reloaded),
                *warnings.of_sinks(sinks),
                *warnings.of_storage(agent.sinks.storage_status()),
                *warnings.of_destinations(agent.notifier.status()),
                *agent.rules.warnings(),
            ),
            sinks=sinks,
            storage=agent.sinks.storage_status(),
            last_sample_ms=agent.pipeline.newest_ms,
        )

    def _metrics_page(self) -> MetricsPage:
        page = self.agent.configuration.settings.server.metrics
        return MetricsPage(page.collected, page.prefix, page.host_label)


async def _first_of(*events: asyncio.Event) -> None:
    waiting = [asyncio.create_task(event.wait()) for event in events]
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    for task in waiting:
        task.cancel()


def freeze_what_stays() -> None:
    """Leave what lives as long as the agent out of garbage collection."""
    gc.collect()
    gc.freeze()


def log_notes(configuration: Configuration) -> None:
    """Log what loads and is not done, and variables that belong to no setting: nothing is silent."""
    for note in configuration.notes:
        log.warning("%s", note)


def log_without_sources(configuration: Configuration) -> None:
    """Log that a standalone agent has no sources, as one that was started without its file."""
    settings = configuration.settings
    if settings.service.type is Mode.STANDALONE and not settings.sources:
        where = configuration.file or "no configuration file, such as behind -c"
        log.info("no sources (%s): what is pushed is kept, nothing is collected", where)


def make_limits(settings: Settings) -> ApiLimits:
    """Return the bounds on requests, as configured."""
    query = settings.query
    slow_ms = query.log_slower_than
    return ApiLimits(
        max_body_bytes=settings.server.max_body,
        max_age_ms=settings.storage.retention,
        concurrent_queries=query.max_concurrent,
        queued_queries=query.max_queued,
        query_timeout_s=query.timeout / 1000,
        log_slower_than_s=None if slow_ms is None else slow_ms / 1000,
        lookback_ms=query.lookback,
    )


def make_engine(agent: Agent) -> Engine:
    """Return the query engine over the agent's store, with the configured limits."""
    config = engine_config(agent.configuration.settings.query)
    return Engine(agent.store, config)
