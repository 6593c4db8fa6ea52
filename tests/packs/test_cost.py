"""What services cost: the sums are right, and Prometheus takes the file."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from metricsmith.model.labels import encode_labels
from metricsmith.model.series import SeriesTable
from metricsmith.packs import pack_names, rule_file
from metricsmith.promql.memory import GrowingSeries
from metricsmith.rules.files import read_rule_file
from metricsmith.rules.round import RunningGroup
from metricsmith.rules.templates import Expander
from metricsmith.runtime.rule_engine import RuleEngine
from metricsmith.testing.clock import FakeClock

MINUTE_MS = 60_000


@pytest.mark.parametrize("pack", pack_names())
def test_the_rules_of_every_pack_load_here_and_in_prometheus(pack: str, promtool: Path) -> None:
    found = read_rule_file(str(rule_file(pack)), RuleEngine(), MINUTE_MS)
    assert (found.problems, found.notes) == ((), ())
    count = sum(len(group.rules) for group in found.groups)
    command = [str(promtool), "check", "rules", str(rule_file(pack))]
    said = subprocess.run(command, capture_output=True, text=True, check=True)
    assert f"SUCCESS: {count} rules found" in said.stdout


def test_costs_add_up() -> None:
    data, table = GrowingSeries(), SeriesTable()
    engine = RuleEngine(data)
    groups = [
        RunningGroup(group, engine, data, table, FakeClock(), Expander())
        for group in read_rule_file(str(rule_file("cost")), engine, MINUTE_MS).groups
    ]
    for minute in range(121):
        now_ms = 1_700_000_100_000 + minute * MINUTE_MS
        for instance in ("a", "b"):  # half a core and a GiB each
            of = {"job": "shop", "instance": instance}
            data.append(encode_labels({"__name__": "process_cpu_seconds_total", **of}), now_ms, minute * 30.0)
            data.append(encode_labels({"__name__": "process_resident_memory_bytes", **of}), now_ms, 2.0**30)
            data.append(encode_labels({"__name__": "http_requests_total", **of}), now_ms, minute * 300.0)
        for running in groups:
            if now_ms % running.group.interval_ms == 0:
                batch = running.evaluate(now_ms).batch
                assert batch is not None
                for series, value in zip(batch.layout.ids.tolist(), batch.value.tolist(), strict=True):
                    data.append(table.key(series), now_ms, value)

    def ask(expr: str) -> dict[bytes, float]:
        answer = engine.instant(expr, now_ms)
        return dict(zip(answer.keys, answer.values.tolist(), strict=True))

    cpu, memory = 1 * 0.04, 2 * 0.005
    assert ask('job:cost:usd_per_hour{resource="cpu"}').popitem()[1] == pytest.approx(cpu)
    assert ask('job:cost:usd_per_hour{resource="memory"}').popitem()[1] == pytest.approx(memory)
    assert ask("job:cost:usd_1d").popitem()[1] == pytest.approx(2 * (cpu + memory), rel=0.02)
    thousand = ask("job:cost:usd_per_1000_requests")
    assert list(thousand.values()) == [pytest.approx((cpu + memory) / 36)]
    assert list(thousand) == [encode_labels({"__name__": "job:cost:usd_per_1000_requests", "job": "shop"})]
