"""One evaluation of a group: rule after rule at one time, each seeing what those before it recorded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from metricsmith.model.arrays import F64
from metricsmith.model.batch import Batch, Layout
from metricsmith.model.clock import Clock
from metricsmith.model.series import SeriesTable
from metricsmith.rules.alerting import Alerting, Expand
from metricsmith.rules.model import Answer, Engine, Group, NoData, Notification, RecordingRule, Rule
from metricsmith.rules.overlay import Overlay
from metricsmith.rules.recording import Recording
from metricsmith.rules.remembered import question, rule_identities
from metricsmith.store_contracts import Selectable

NOTHING_MATCHED_ROUNDS = 5
"""A threshold on a metric that is not there for that many rounds is most likely misspelt."""


@dataclass(slots=True)
class RuleStatus:
    """How the last evaluation of a rule went; `nothing_matched` counts rounds without its metric."""

    health: str = "unknown"
    last_error: str = ""
    last_evaluation_ms: int = 0
    duration_s: float = 0.0
    samples: int = 0
    series: int = 0
    warnings: tuple[str, ...] = ()
    nothing_matched: int = 0


@dataclass(slots=True)
class RunningRule:
    """A rule at work: what evaluates it, how it went, and the series that it wrote last.

    `identity` is the same over restarts and reloads. `resumed_from_ms` is the
    last evaluation before a restart, until the first one after it.
    """

    work: Recording | Alerting
    identity: str
    resumed_from_ms: int = 0
    status: RuleStatus = field(default_factory=RuleStatus)
    written: list[bytes] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Round:
    """What an evaluation of a group gives: samples to keep, what to tell others, and which rules failed."""

    time_ms: int
    batch: Batch | None
    notifications: tuple[Notification, ...]
    failures: tuple[tuple[RunningRule, Exception], ...]


class RunningGroup:
    """A group at work. `evaluate` runs in a worker thread, never twice at once."""

    def __init__(
        self,
        group: Group,
        engine: Engine,
        store: Selectable,
        series: SeriesTable,
        clock: Clock,
        expand: Expand,
        no_data: NoData = NoData.KEEP,
        resend_ms: int = 60_000,
        outage_tolerance_ms: int = 3_600_000,
    ) -> None:
        self.group = group
        self.rules = [
            RunningRule(_work(group, rule, no_data, expand, engine), identity)
            for rule, identity in zip(group.rules, rule_identities(group), strict=True)
        ]
        self.last_evaluation_ms = 0
        self.duration_s = 0.0
        self.former: set[bytes] = set()
        """Series that rules wrote which are there no more: they are ended by the next round."""
        self._engine, self._store, self._series, self._clock = engine, store, series, clock
        self._resend_ms, self._outage_tolerance_ms = resend_ms, outage_tolerance_ms
        self._layout: Layout | None = None
        self._keys: list[bytes] = []

    @property
    def written(self) -> set[bytes]:
        """The series that the last round wrote, or that the next one will end."""
        return self.former.union(*(rule.written for rule in self.rules))

    def take_over(self, former: RunningGroup) -> None:
        """Go on where a group stopped that this one replaces: rules keep their alerts and series.

        Series of rules that are there no more are ended by the next round.
        """
        left = {rule.identity: rule for rule in former.rules}
        for rule in self.rules:
            old = left.pop(rule.identity, None)
            if old is None:
                continue
            rule.written, rule.resumed_from_ms = old.written, old.resumed_from_ms
            if isinstance(rule.work, Alerting) and isinstance(old.work, Alerting):
                rule.work.take_over(old.work)
        self.former = former.former.union(*(rule.written for rule in left.values()))

    def renew(self, group: Group) -> None:
        """Take note that the rules, which are the same, now stand elsewhere in the file."""
        self.group = group
        for rule, new in zip(self.rules, group.rules, strict=True):
            rule.work.rule = new

    def evaluate(self, now_ms: int) -> Round:
        """Evaluate all rules at a time; a rule that fails stops no other.

        The samples have the time that the group asks about: `query_offset` before `now_ms`.
        """
        began = self._clock.monotonic()
        time_ms = now_ms - (self.group.query_offset_ms or 0)
        overlay = Overlay(self._store, time_ms)
        ended: dict[bytes, None] = dict.fromkeys(self.former)
        written: dict[bytes, float] = {}
        failures = []
        notifications: list[Notification] = []
        for rule in self.rules:
            try:
                keys, values = self._run(rule, time_ms, now_ms, overlay)
            except Exception as error:  # a rule that meets a defect fails alone
                failures.append((rule, error))
                continue
            gone = []
            if keys != rule.written:
                here = set(keys)
                gone = [key for key in rule.written if key not in here]
            overlay.add(keys, values, gone)
            ended |= dict.fromkeys(gone)
            written |= dict(zip(keys, values.tolist(), strict=True))
            rule.written = keys
            if isinstance(rule.work, Alerting):
                notifications += rule.work.due(now_ms, self._resend_ms, self.group.interval_ms)
        self.former = set()
        self.last_evaluation_ms = now_ms
        self.duration_s = self._clock.monotonic() - began
        batch = self._batch(written, [key for key in ended if key not in written], time_ms)
        return Round(now_ms, batch, tuple(notifications), tuple(failures))

    def _run(self, rule: RunningRule, time_ms: int, now_ms: int, overlay: Overlay) -> tuple[list[bytes], F64]:
        began = self._clock.monotonic()
        status = rule.status
        try:
            answer = self._engine.instant(rule.work.rule.expr, time_ms, overlay)
            if isinstance(rule.work, Recording):
                keys, values = rule.work.record(answer)
            else:
                self._alert(rule, rule.work, answer, now_ms, overlay)
                keys, values = rule.work.series()
        except Exception as error:
            status.health, status.last_error = "err", str(error) or type(error).__name__
            raise
        finally:
            status.last_evaluation_ms = now_ms
            status.duration_s = self._clock.monotonic() - began
        status.health, status.last_error, status.warnings = "ok", "", answer.warnings
        status.samples, status.series = answer.samples, len(answer.keys)
        return keys, values

    def _alert(self, rule: RunningRule, work: Alerting, found: Answer, now_ms: int, overlay: Overlay) -> None:
        if rule.resumed_from_ms:
            missed_ms = now_ms - rule.resumed_from_ms - self.group.interval_ms
            if missed_ms > 0:
                work.resume(missed_ms, self._outage_tolerance_ms)
            rule.resumed_from_ms = 0
        with_data = None
        expr = self._engine.with_data(work.rule.expr) if work.asks_for_data(found) else None
        if expr is not None:
            data = self._engine.instant(expr, now_ms - (self.group.query_offset_ms or 0), overlay)
            with_data = work.sources(data)
        asked_in_vain = with_data is not None and not with_data and not found.keys
        rule.status.nothing_matched = rule.status.nothing_matched + 1 if asked_in_vain else 0
        work.evaluate(found, with_data, now_ms)

    def _batch(self, written: dict[bytes, float], ended: Sequence[bytes], time_ms: int) -> Batch | None:
        keys = [*written, *ended]
        if not keys:
            return None
        if self._layout is None or keys != self._keys:
            self._layout = Layout(self._series.intern_many(keys), f"rules {self.group.key}")
            self._keys = keys
        values = np.full(len(keys), np.nan)
        values[: len(written)] = list(written.values())
        stale = None
        if ended:
            stale = np.arange(len(keys)) >= len(written)
        return Batch(self._layout, time_ms, values, stale)


def _work(group: Group, rule: Rule, no_data: NoData, expand: Expand, engine: Engine) -> Recording | Alerting:
    if isinstance(rule, RecordingRule):
        return Recording(group, rule)
    return Alerting(group, rule, no_data, expand, question(engine, rule.expr))
