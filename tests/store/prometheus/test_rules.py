"""Rules over a server record and alert as over a store of our own, and what the server is not asked for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from textwrap import dedent
from typing import Any

import numpy as np

from metricsmith.model.labels import NAME_LABEL, decode_labels, encode_labels
from metricsmith.model.matchers import Matcher
from metricsmith.model.query_result import Result
from metricsmith.model.selection import Selection
from metricsmith.model.series import SeriesTable
from metricsmith.promql import EngineConfig
from metricsmith.promql.memory import GrowingSeries
from metricsmith.rules.alerting import Alerting
from metricsmith.rules.files import read_rule_text
from metricsmith.rules.model import Group, NoData
from metricsmith.rules.round import RunningGroup
from metricsmith.rules.templates import Expander
from metricsmith.runtime.rule_engine import RuleEngine
from metricsmith.testing.clock import FakeClock

Make = Callable[..., Any]
Recorded = dict[str, list[tuple[int, float | None]]]

RULES = """
groups:
  - name: chain
    interval: 15s
    query_offset: 5s
    rules:
      - {record: 'job:rl_load:sum', expr: sum by (job) (rl_load)}
      - {record: 'job:rl_load:share', expr: 'job:rl_load:sum / on () group_left () sum(job:rl_load:sum)'}
      - {record: 'rl_load:max1m', expr: 'max_over_time(rl_load[55s])'}
      - {record: 'rl_top', expr: 'max by (job) (rl_load:max1m) > 6'}
      - {record: 'rl_any', expr: 'count by (job) ({__name__=~"rl_load:.*"})'}
      - {record: rl_counted, expr: rl_counted + 1 or vector(0)}
      - {record: rl_fails, expr: rl_load + on (job) rl_load}
      - {record: rl_gone, expr: 'absent(rl_load{i="1"})'}
      - {alert: RlHigh, expr: rl_load > 4, labels: {level: page}}
      - {alert: RlWaits, expr: 'job:rl_load:sum > 8', for: 30s}
      - {alert: RlKept, expr: rl_load > 5, keep_firing_for: 30s}
      - {alert: RlFollows, expr: 'count by (i) (ALERTS{alertname="RlHigh", alertstate="firing"}) > 0'}
"""
OVERLAID = {"job:rl_load:share", "rl_top", "rl_any", "RlWaits", "RlFollows"}
"""Rules that read what an earlier one has recorded in every round."""
ROUNDS = 16


class Spy:
    """A store on a server that remembers what was asked how."""

    def __init__(self, store: Any) -> None:
        self.store, self.selected, self.handed = store, list[str](), list[str]()

    def select(
        self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, limit: int | None = None
    ) -> Selection:
        self.selected.append(",".join(map(str, matchers)))
        found: Selection = self.store.select(matchers, start_ms, end_ms, limit)
        return found

    def query_engine(self, **limits: Any) -> Any:
        engine, handed = self.store.query_engine(**limits), self.handed

        class Handing:
            def instant(self, text: str, time_ms: int, **options: Any) -> Result:
                handed.append(text)
                found: Result = engine.instant(text, time_ms, **options)
                return found

        return Handing()


def group(text: str) -> Group:
    found = read_rule_text(dedent(text), "r.yml", RuleEngine(), 60_000)
    assert not found.problems
    return found.groups[0]


def rounds(
    rules: Group, store: Any, config: EngineConfig, end_ms: int, keep: Callable[[Any], None]
) -> tuple[Recorded, list[dict[str, str]]]:
    """Evaluate a group round after round; return what it records, and each alert's state by round."""
    table = SeriesTable()
    engine = RuleEngine(store, config, FakeClock())
    running = RunningGroup(rules, engine, store, table, FakeClock(), Expander(), NoData.RESOLVE)
    recorded: Recorded = defaultdict(list)
    states = []
    for now_ms in range(end_ms - (ROUNDS - 1) * rules.interval_ms, end_ms + 1, rules.interval_ms):
        done = running.evaluate(now_ms)
        assert [rule.work.rule.name for rule, _ in done.failures] == ["rl_fails"], done.failures
        assert done.batch is not None
        new: dict[bytes, list[tuple[int, float | None]]] = {}
        rows = zip(
            done.batch.layout.ids.tolist(),
            done.batch.value.tolist(),
            done.batch.stales().tolist(),
            strict=True,
        )
        for series, value, stale in rows:
            sample = (now_ms - rules.query_offset_ms, None if stale else value)
            new[table.key(series)] = [sample]
            recorded[str(decode_labels(table.key(series)))].append(sample)
        keep(new)
        states.append(
            {
                str(sorted(alert.labels.items())): alert.state.value
                for rule in running.rules
                if isinstance(rule.work, Alerting)
                for alert in rule.work.alerts.values()
            }
        )
    return recorded, states


def loads(base_ms: int) -> dict[bytes, list[tuple[int, float | None]]]:
    """Loads that cross all thresholds, one of them ended by a marker."""
    values = [1, 2, 6, 7, 7, 5, 2, 1, 1, 6, 6, 2, 2, 1, 7, 7, 1, 1, 3, 6, 6, 6, 2, 1, 1, 1, 5, 5, 1, 1]
    found: dict[bytes, list[tuple[int, float | None]]] = {}
    for i in range(4):
        key = encode_labels({NAME_LABEL: "rl_load", "i": str(i), "job": "ab"[i % 2]})
        turned = values[i * 3 :] + values[: i * 3]
        rows: list[tuple[int, float | None]] = [
            (base_ms + n * 15_000 + i, float(v)) for n, v in enumerate(turned)
        ]
        if i == 1:
            rows[14:] = [(rows[14][0], None)]
        found[key] = rows
    return found


def test_chained_rules_record_and_alert_the_same(real: Any, store_at: Make, base_ms: int) -> None:
    # Prometheus 2 closes windows, which VictoriaMetrics and Prometheus 3 do not.
    config = EngineConfig(closed_windows=real.name == "prometheus")
    rules, end_ms = group(RULES), base_ms + 29 * 15_000
    samples = loads(base_ms)
    memory = GrowingSeries()

    def remember(new: Mapping[bytes, Sequence[tuple[int, float | None]]]) -> None:
        for key, rows in new.items():
            for time_ms, value in rows:
                memory.append(key, time_ms, np.nan if value is None else value, value is None)

    remember(samples)
    real.write(samples)
    spy = Spy(store_at(real.url))
    wanted = rounds(rules, memory, config, end_ms, remember)
    got = rounds(rules, spy, config, end_ms, real.write)
    assert got[1] == wanted[1]
    assert got[0] == wanted[0]
    seen = {state for each in wanted[1] for state in each.values()}
    assert {"pending", "firing", "inactive"} <= seen and len(wanted[0]) > 20
    texts = {rule.name: rule.expr for rule in rules.rules}
    assert {name for name, text in texts.items() if text not in spy.handed} == OVERLAID
    assert not any('__name__="rl_load"' in text for text in spy.selected)
