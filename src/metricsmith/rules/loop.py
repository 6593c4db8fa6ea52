"""One group, round after round, each when it is due."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import Executor
from hashlib import blake2b

from metricsmith.errors import QueryCancelled
from metricsmith.model.clock import Clock
from metricsmith.model.schedule import Schedule
from metricsmith.model.telemetry import Telemetry
from metricsmith.rules.alert_log import AlertLog
from metricsmith.rules.alerting import Alerting
from metricsmith.rules.commit import RoundKeeper
from metricsmith.rules.model import AlertState, Group
from metricsmith.rules.round import NOTHING_MATCHED_ROUNDS, Round, RunningGroup
from metricsmith.rules.views import nothing_matched, place

log = logging.getLogger(__name__)

GAUGES = (
    "metricsmith_rule_group_interval_seconds",
    "metricsmith_rule_group_rules",
    "metricsmith_rule_group_last_duration_seconds",
    "metricsmith_rule_group_last_evaluation_timestamp_seconds",
    "metricsmith_rule_group_last_evaluation_samples",
)
COUNTERS = (
    "metricsmith_rule_evaluations_total",
    "metricsmith_rule_evaluation_failures_total",
    "metricsmith_rule_group_iterations_total",
    "metricsmith_rule_group_iterations_missed_total",
)


class GroupLoop:
    """Evaluates one group in worker threads until it is stopped.

    Rounds are at fixed times: multiples of the interval, plus an offset that
    file and name of the group give, so that groups do not all begin at once.
    A round's time is when it was due, however late it begins.

    Source:
        Prometheus `Group.EvalTimestamp` and `Group.run`.
    """

    def __init__(
        self,
        running: RunningGroup,
        keeper: RoundKeeper,
        workers: Executor,
        clock: Clock,
        telemetry: Telemetry,
        not_before_ms: int = 0,
    ) -> None:
        self.running = running
        self.firing = self.pending = 0
        self.keeper, self._workers, self._clock, self._telemetry = keeper, workers, clock, telemetry
        self._alert_log = AlertLog(clock)
        self._not_before_ms = not_before_ms
        self._stopping = False
        self._in_round = False
        self._refused = _refused(running)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin, at the next time that is due."""
        key = self.running.group.key
        for name in COUNTERS:
            self._telemetry.count(name, 0, rule_group=key)
        self._telemetry.set(GAUGES[0], self.running.group.interval_ms / 1000, rule_group=key)
        self._telemetry.set(GAUGES[1], len(self.running.rules), rule_group=key)
        self._task = asyncio.create_task(self._run(), name=f"rule group {key}")

    async def stop(self) -> None:
        """Return when it has ended; a round that is going on is first brought to its end."""
        self._stopping = True
        if self._task is None:
            return
        if not self._in_round:
            self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    def forget(self) -> None:
        """Remove the metrics of a group that is gone."""
        for name in (*COUNTERS, *GAUGES):
            self._telemetry.forget(name, rule_group=self.running.group.key)

    async def _run(self) -> None:
        clock, group = self._clock, self.running.group
        schedule = Schedule(group.interval_ms, offset_ms(group))
        due = schedule.first(max(clock.now_ms() + 1, self._not_before_ms))
        while not self._stopping:
            wait_ms = due - clock.now_ms()
            if wait_ms > 0:
                await clock.sleep(wait_ms / 1000)
            if due - clock.now_ms() > group.interval_ms:  # the wall clock was set back
                due = schedule.first(clock.now_ms())
                continue
            await self._round(due)
            due, missed = schedule.following(due, clock.now_ms())
            self._telemetry.count(
                "metricsmith_rule_group_iterations_missed_total", missed, rule_group=group.key
            )

    async def _round(self, due_ms: int) -> None:
        self._in_round = True
        try:
            evaluate = asyncio.get_running_loop().run_in_executor(
                self._workers, self.running.evaluate, due_ms
            )
            done = await evaluate
            self._tell(done)
            await self.keeper.keep(done)
        except Exception:  # a defect met by one group ends neither it nor others
            self._telemetry.count(
                "metricsmith_rule_evaluation_failures_total", rule_group=self.running.group.key
            )
            log.exception("rule group %s: a round failed", self.running.group.key)
        finally:
            self._in_round = False

    def _tell(self, round: Round) -> None:
        """Count, and log what failed."""
        running, telemetry = self.running, self._telemetry
        key = running.group.key
        telemetry.count("metricsmith_rule_evaluations_total", len(running.rules), rule_group=key)
        telemetry.count("metricsmith_rule_group_iterations_total", rule_group=key)
        samples = 0 if round.batch is None else len(round.batch)
        for name, value in zip(GAUGES[2:], (running.duration_s, round.time_ms / 1000, samples), strict=True):
            telemetry.set(name, value, rule_group=key)
        for rule in running.rules:
            telemetry.observe("metricsmith_rule_evaluation_seconds", rule.status.duration_s)
            if rule.status.nothing_matched == NOTHING_MATCHED_ROUNDS:
                log.warning("%s", nothing_matched(running, rule))
        for rule, error in round.failures:
            if isinstance(error, QueryCancelled):  # the agent stops
                continue
            telemetry.problem(
                log,
                "metricsmith_rule_evaluation_failures_total",
                f"{place(running, rule)} failed: {type(error).__name__}: {error}",
                subject=rule.identity,
                rule_group=key,
            )
        self._alert_log.note(round.notifications)
        self._count_alerts()

    def _count_alerts(self) -> None:
        works = [rule.work for rule in self.running.rules if isinstance(rule.work, Alerting)]
        states = [alert.state for work in works for alert in work.alerts.values()]
        self.firing, self.pending = states.count(AlertState.FIRING), states.count(AlertState.PENDING)
        refused = _refused(self.running)
        if refused > self._refused:
            self._telemetry.problem(
                log,
                "metricsmith_rule_series_not_missed_total",
                f"rule group {self.running.group.key}: more series than can be missed when they are gone",
                amount=refused - self._refused,
            )
        self._refused = refused


def _refused(running: RunningGroup) -> int:
    return sum(rule.work.seen.refused for rule in running.rules if isinstance(rule.work, Alerting))


def offset_ms(group: Group) -> int:
    """Return a group's phase within its interval: the same over restarts."""
    digest = blake2b(group.key.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % group.interval_ms
