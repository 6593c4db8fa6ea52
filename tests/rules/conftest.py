from __future__ import annotations

import math
from collections.abc import Mapping
from textwrap import dedent

import numpy as np
import pytest

from metricsmith.model.labels import encode_labels
from metricsmith.model.series import SeriesTable
from metricsmith.model.state import MemoryState
from metricsmith.promql import EngineConfig
from metricsmith.promql.memory import GrowingSeries
from metricsmith.rules.alerting import Alerting
from metricsmith.rules.files import read_rule_text
from metricsmith.rules.model import AlertState, Group, Notification
from metricsmith.rules.remembered import changes, restore
from metricsmith.rules.round import RunningGroup
from metricsmith.rules.templates import Expander
from metricsmith.runtime.rule_engine import RuleEngine
from metricsmith.testing.clock import FakeClock


class Simulation:
    """A group of rules over data that a test gives, round by round; what is recorded can be read back."""

    def __init__(self, group: Group, config: EngineConfig | None = None) -> None:
        self.group, self.now_ms = group, 1_699_999_200_000
        self.data, self._table = GrowingSeries(), SeriesTable()
        self._engine = RuleEngine(self.data, config)
        self.running = self._run(group)

    @classmethod
    def of(cls, text: str, config: EngineConfig | None = None) -> Simulation:
        """Make one of the only group of a rule file."""
        return cls(_group(text), config)

    def change(self, to: str | Group, *, restart: bool) -> None:
        """Go over to another group, or the only one of a rule file, at a reload or over a restart."""
        former, self.running = self.running, self._run(_group(to) if isinstance(to, str) else to)
        if not restart:
            self.running.take_over(former)
            return
        state = MemoryState()
        for rule in former.rules:
            if isinstance(rule.work, Alerting):
                state.commit(*changes(rule.identity, rule.work, self.now_ms))
        for rule in self.running.rules:
            if isinstance(rule.work, Alerting):
                assert restore(rule.identity, rule.work, state) == []

    def _run(self, group: Group) -> RunningGroup:
        expander = Expander(failed=lambda error: pytest.fail(str(error)))
        return RunningGroup(group, self._engine, self.data, self._table, FakeClock(), expander)

    def round(self, values: Mapping[str, float], **labels: str) -> list[Notification]:
        """Let an interval go by, with a sample of each metric at its end."""
        self.now_ms += self.group.interval_ms
        for name, value in values.items():
            self.data.append(encode_labels({"__name__": name, **labels}), self.now_ms, float(value))
        done = self.running.evaluate(self.now_ms)
        assert not done.failures, done.failures
        if done.batch is not None:
            stale = done.batch.stales()
            for row, series in enumerate(done.batch.layout.ids.tolist()):
                key, value = self._table.key(series), float(done.batch.value[row])
                self.data.append(key, self.now_ms, value, bool(stale[row]))
        return list(done.notifications)

    def ask(self, expr: str) -> dict[str, float]:
        """Return values by the text of their labels, as of now."""
        answer = self._engine.instant(expr, self.now_ms)
        keys = [key.replace(b"\xff", b",").replace(b"\xfe", b"=").decode() for key in answer.keys]
        return dict(zip(keys, answer.values.tolist(), strict=True))

    def value(self, expr: str) -> float:
        """Return the only value of an expression, NaN where there is none."""
        (value,) = self.ask(expr).values() or (math.nan,)
        return value

    def firing(self) -> dict[str, float]:
        """Return the values of the alerts that fire, by name."""
        works = [rule.work for rule in self.running.rules if isinstance(rule.work, Alerting)]
        alerts = [alert for work in works for alert in work.alerts.values()]
        return {a.labels["alertname"]: a.value for a in alerts if a.state is AlertState.FIRING}


def _group(text: str) -> Group:
    found = read_rule_text(dedent(text), "r.yml", RuleEngine(), 60_000)
    assert not found.problems, found.problems
    (group,) = found.groups
    return group


@pytest.fixture(scope="session")
def simulation() -> type[Simulation]:
    """Rules over data of a test's own, in simulated time."""
    return Simulation


@pytest.fixture
def noise() -> np.random.Generator:
    """Chance that is the same in each run."""
    return np.random.default_rng(7)
