"""The rules of an agent: files read and watched, groups run over the store, results put into the pipeline."""

from __future__ import annotations

import asyncio
import glob
import logging
import socket
from collections.abc import Callable, Sequence, Set
from dataclasses import replace
from pathlib import Path

from metricsmith.config.load import Configuration
from metricsmith.config.settings import Settings
from metricsmith.errors import Problem
from metricsmith.model.rules import GroupView
from metricsmith.packs import rule_file
from metricsmith.rules.manager import Equipment, RuleManager, RuleOptions
from metricsmith.rules.model import Engine, Group, NoData, Origin, RecordingRule
from metricsmith.rules.ruleset import RuleSet, Signature, load_rules, signature
from metricsmith.rules.thresholds import threshold_group
from metricsmith.runtime.rule_backfill import RuleBackfill

log = logging.getLogger(__name__)

WATCH_S = 5.0
"""Rule files are looked at that often, whether they have changed."""


class AgentRules:
    """Keeps the rules of a configuration running, as its rule files are now."""

    def __init__(self, equipment: Equipment, written_after_ms: Callable[[Configuration], int]) -> None:
        """`written_after_ms` tells how old samples are when they can be read, at the most."""
        self._written_after_ms = written_after_ms
        self.manager = RuleManager(equipment)
        self.backfill = RuleBackfill(equipment, lambda: self._set.groups, self._interval_ms)
        self._equipment = equipment
        self._configuration: Configuration | None = None
        self._not_before_ms = 0
        self._set = RuleSet()
        self._signature: Signature = {}
        self._reading = asyncio.Lock()
        self._watch: asyncio.Task[None] | None = None

    async def start(self, configuration: Configuration, not_before_ms: int) -> None:
        """Read the rule files and begin; mistakes are logged, and what has none runs."""
        self._not_before_ms = not_before_ms
        await self.reload(configuration)
        self._watch = asyncio.create_task(self._watch_forever(), name="rule files")

    async def reload(self, configuration: Configuration) -> tuple[Problem, ...]:
        """Go over to a configuration and what its rule files hold now; return the mistakes in them.

        A file with mistakes keeps the rules that it had.
        """
        async with self._reading:
            self._configuration = configuration
            await self._read(configuration)
            return self._set.problems

    async def stop(self) -> None:
        """End the watching, and all groups."""
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
        await self.manager.stop()

    def groups(self) -> Sequence[GroupView]:
        """Return all groups as they are now. Called from any thread."""
        return self.manager.groups()

    def warnings(self) -> list[str]:
        """Return mistakes in rule files, and rules that find nothing. Called from any thread."""
        return [*map(str, self._set.problems), *self.manager.warnings()]

    def _interval_ms(self) -> int:
        assert self._configuration is not None  # the API serves when rules have started
        return self._configuration.settings.rules.interval

    async def _read(self, configuration: Configuration) -> None:
        settings = configuration.settings
        self._signature = await asyncio.to_thread(signature, _patterns(settings), Path.cwd())
        found = await asyncio.to_thread(configured_files, configuration, self._equipment.engine)
        self._tell(found.problems, {file.name for file in self._set.files})
        self._set = found.keeping(self._set)
        groups = [*self._set.groups, *configured_groups(configuration)]
        offset_ms = _first(settings.rules.query_offset, self._written_after_ms(configuration))
        groups = [replace(g, query_offset_ms=_first(g.query_offset_ms, offset_ms)) for g in groups]
        if not settings.alerts.enabled:
            groups = [group for group in map(_recording_only, groups) if group.rules]
        await self.manager.update(
            groups,
            _options(settings),
            not_before_ms=self._not_before_ms,
            # Rules that a mistake hides, or that are switched off, may come back: their alerts are kept.
            forget=not found.problems and settings.alerts.enabled,
        )

    def _tell(self, problems: Sequence[Problem], known: Set[str]) -> None:
        """Count and log mistakes; `known` are the files that were there before."""
        telemetry = self._equipment.telemetry
        telemetry.count("metricsmith_rule_reloads_total", result="failure" if problems else "success")
        telemetry.set("metricsmith_rule_problems", len(problems))
        for what, told in (
            ("keep the rules that they had", [p for p in problems if p.file in known]),
            ("give only those of their rules that have none", [p for p in problems if p.file not in known]),
        ):
            if told:
                log.error("rule files with mistakes %s:\n  %s", what, "\n  ".join(map(str, told)))

    async def _watch_forever(self) -> None:
        while True:
            await self._equipment.clock.sleep(WATCH_S)
            try:
                async with self._reading:
                    await self._look()
            except Exception:  # watching must not end with one failure
                log.exception("rule files could not be looked at; it is tried again")

    async def _look(self) -> None:
        configuration = self._configuration
        assert configuration is not None
        patterns = _patterns(configuration.settings)
        if await asyncio.to_thread(signature, patterns, Path.cwd()) != self._signature:
            await self._read(configuration)
            log.info("rule files have changed: %d groups of rules", len(self._set.groups))


def configured_files(configuration: Configuration, engine: Engine) -> RuleSet:
    """Return what the packs and rule files hold that a configuration names."""
    settings = configuration.settings
    interval_ms = settings.rules.interval
    return load_rules(_patterns(settings), engine, default_interval_ms=interval_ms, base=Path.cwd())


def configured_groups(configuration: Configuration) -> tuple[Group, ...]:
    """Return the groups that the configuration itself holds: that of its threshold rules.

    They are evaluated as often as collectors collect, but no less often than other rules.
    """
    settings, origins = configuration.settings, configuration.origins
    rules = settings.alerts.rules
    if not rules:
        return ()
    places = [Origin(origins.file, origins.line(("alerts", "rules", i))) for i in range(len(rules))]
    interval_ms = min(settings.rules.interval, settings.service.interval)
    return (threshold_group(rules, places, interval_ms),)


def external_url(settings: Settings) -> str:
    """Return the address of the agent as people reach it; where none is set, that on which it listens.

    One that listens everywhere is reached under the name of its machine, as Prometheus assumes.
    """
    if settings.rules.external_url:
        return settings.rules.external_url
    host, port = settings.server.address()
    if host in ("0.0.0.0", "::"):
        host = socket.gethostname()
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _options(settings: Settings) -> RuleOptions:
    rules = settings.rules
    return RuleOptions(
        no_data=NoData(rules.no_data),
        resend_ms=rules.resend_delay,
        outage_tolerance_ms=rules.outage_tolerance,
        concurrency=rules.concurrency,
        external_labels=rules.external_labels,
        external_url=external_url(settings),
    )


def _patterns(settings: Settings) -> list[str]:
    """Return the files of packs, then the names and globs of other rule files."""
    packs = [glob.escape(str(rule_file(pack))) for pack in settings.rules.packs]
    return [*packs, *settings.rules.files]


def _first(chosen: int | None, default: int) -> int:
    return default if chosen is None else chosen


def _recording_only(group: Group) -> Group:
    return replace(group, rules=tuple(rule for rule in group.rules if isinstance(rule, RecordingRule)))
