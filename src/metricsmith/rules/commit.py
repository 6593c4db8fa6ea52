"""What a round found, kept: samples and events in the journal, alerts in the state; then told to others."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence

from metricsmith.contracts import Emit, State
from metricsmith.errors import JournalError, StoreError
from metricsmith.model.batch import Batch, event_batch
from metricsmith.model.telemetry import Telemetry
from metricsmith.rules.alerting import Alerting
from metricsmith.rules.events import alert_events
from metricsmith.rules.model import Notification, Outbox
from metricsmith.rules.remembered import changes
from metricsmith.rules.round import Round, RunningGroup

log = logging.getLogger(__name__)


class NoOutbox:
    """Tells nobody."""

    def prepare(self, notifications: Sequence[Notification]) -> Mapping[str, bytes]:
        """Return nothing to keep."""
        return {}

    def release(self, entries: Mapping[str, bytes]) -> None:
        """Send nothing."""


class RoundKeeper:
    """Keeps the rounds of one group, one commit each.

    When the disk is full, alerts are told to others all the same; what could
    not be kept of the alerts' state goes into the next commit.
    """

    def __init__(
        self, running: RunningGroup, accept: Emit, state: State, outbox: Outbox, telemetry: Telemetry
    ) -> None:
        self._running, self._accept, self._state = running, accept, state
        self._outbox, self._telemetry = outbox, telemetry
        self._put: dict[str, bytes] = {}
        self._delete: dict[str, None] = {}

    def take_over(self, former: RoundKeeper) -> None:
        """Keep what a keeper that this one replaces could not."""
        self._put, self._delete = former._put, former._delete

    async def keep(self, round: Round) -> None:
        """Commit a round, then let its notifications go."""
        if round.batch is not None:
            await self._into_journal(round.batch, "samples")
        if events := alert_events(round.notifications):
            await self._into_journal(event_batch(events, round.time_ms), "events")
        entries = await asyncio.to_thread(self._alerts, round)
        if entries:
            self._outbox.release(entries)

    async def _into_journal(self, batch: Batch, what: str) -> None:
        try:
            await self._accept(batch)
        except JournalError as error:
            self._failed(what, error)

    def _alerts(self, round: Round) -> Mapping[str, bytes]:
        """Commit what changed of the alerts, and what is to be told; return the latter."""
        self._note_changes(round.time_ms)
        entries = self._outbox.prepare(round.notifications) if round.notifications else {}
        if not (self._put or self._delete or entries):
            return entries
        try:
            self._state.commit({**self._put, **entries}, list(self._delete))
        except (JournalError, StoreError) as error:
            self._failed("state", error)
        else:
            self._put, self._delete = {}, {}
        return entries

    def _note_changes(self, time_ms: int) -> None:
        for rule in self._running.rules:
            if isinstance(rule.work, Alerting):
                put, delete = changes(rule.identity, rule.work, time_ms)
                for key in put:
                    self._delete.pop(key, None)
                for key in delete:
                    self._put.pop(key, None)
                self._put |= put
                self._delete |= dict.fromkeys(delete)

    def _failed(self, what: str, error: Exception) -> None:
        group = self._running.group
        self._telemetry.problem(
            log,
            "metricsmith_rule_commit_failures_total",
            f"{what} of rule group {group.name} ({group.file}) not kept: {error}",
            subject=group.key,
            part=what,
        )
