"""Backfills of an agent: one at a time, in pieces, each durable before the next."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import replace

from metricsmith.api.times import rfc3339
from metricsmith.errors import ConfigError, ExecutionError, Problem
from metricsmith.rules.backfill import Backfill, BackfillAnswer, BackfillRequest
from metricsmith.rules.files import read_rule_text
from metricsmith.rules.manager import Equipment
from metricsmith.rules.model import Group, RecordingRule

log = logging.getLogger(__name__)

REQUEST_S = 3.0
"""A request is answered after about that time, so that who asks can show how far it is, or stop."""
PIECE_S = 1.0


class RuleBackfill:
    """Evaluates groups of recording rules over the past.

    `loaded` returns the groups that run live, `interval_ms` the interval of those that say none.
    """

    def __init__(
        self, around: Equipment, loaded: Callable[[], Iterable[Group]], interval_ms: Callable[[], int]
    ) -> None:
        self._around, self._loaded, self._interval_ms = around, loaded, interval_ms
        self._one = asyncio.Lock()

    async def run(self, request: BackfillRequest) -> BackfillAnswer:
        """Evaluate rounds until the end of the range, or for some seconds; what they record is readable.

        Raises:
            ConfigError: the rules have mistakes, or there is no such group.
            ExecutionError: another backfill runs.
            JournalError: samples cannot be accepted now.
            StoreUnavailable: samples are accepted, and wait to be written.
        """
        if self._one.locked():
            raise ExecutionError("got a second backfill at one time, wanted one after the other")
        async with self._one:
            group = await asyncio.to_thread(self._group, request)
            return await self._run(group, request)

    async def _run(self, group: Group, request: BackfillRequest) -> BackfillAnswer:
        around = self._around
        if not request.continued:
            log.info("backfill of rule group %s, from %s", group.key, rfc3339(request.start_ms))
        backfill = Backfill(group, around.engine, around.store, around.series, around.clock)
        time_ms = backfill.first(request.start_ms)
        if request.continued:
            await asyncio.to_thread(backfill.prime, time_ms - group.interval_ms)
        began = around.clock.monotonic()
        rounds = samples = 0
        failures: dict[str, None] = {}
        while time_ms <= request.end_ms and around.clock.monotonic() - began < REQUEST_S:
            piece = await asyncio.to_thread(backfill.piece, time_ms, request.end_ms, PIECE_S)
            if piece.batch is not None:
                await around.accept(piece.batch)
                samples += len(piece.batch)
                if backfill.reads_itself:
                    await around.readable()
            rounds, time_ms = rounds + piece.rounds, piece.next_ms
            failures |= dict.fromkeys(piece.failures)
        if samples:
            await around.readable()
        next_ms = time_ms if time_ms <= request.end_ms else None
        return BackfillAnswer(rounds, samples, next_ms, tuple(failures))

    def _group(self, request: BackfillRequest) -> Group:
        """Return the group that is meant; one that runs live, where it is the same, for its rounds' times."""
        file = read_rule_text(request.text, request.file, self._around.engine, self._interval_ms())
        if file.problems:
            raise ConfigError(file.problems)
        found = next((group for group in file.groups if group.name == request.group), None)
        if found is None or not any(isinstance(rule, RecordingRule) for rule in found.rules):
            message = f'got "{request.group[:100]}", wanted a group of the file that has recording rules'
            raise ConfigError([Problem("group", message, request.file)])
        live = (g for g in self._loaded() if (g.name, g.rules) == (found.name, found.rules))
        group = next(live, found)
        return group if request.interval_ms is None else replace(group, interval_ms=request.interval_ms)
