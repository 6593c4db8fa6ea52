"""`metricsmith rules backfill` beside a running agent."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from metricsmith.testing.programs import AgentProgram, eventually

Run = Callable[..., subprocess.CompletedProcess[str]]
CONFIG = """
server: {{listen: "127.0.0.1:{port}"}}
storage: {{path: "{data}", retention: 2d}}
"""
RULES = """\
groups:
- name: first
  rules:
  - {record: 'doubled', expr: x * 2}
  - {record: 'doubled:sum', expr: sum(doubled), labels: {by: rule}}
  - {alert: High, expr: x > 5}
- name: second
  interval: 5m
  rules:
  - {record: 'doubled:max', expr: 'max_over_time(doubled:sum[5m])'}
"""
MINUTE = 60_000


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AgentProgram]:
    agent = AgentProgram(tmp_path_factory.mktemp("backfill"), CONFIG)
    agent.start()
    yield agent
    agent.kill()


def test_recorded_series_get_a_history(agent: AgentProgram, here: Run, tmp_path: Path) -> None:
    end_ms = time.time_ns() // 1_000_000 - 10 * MINUTE
    begin_ms = end_ms - 60 * MINUTE
    messages = [
        {"service": "pusher", "timestamp": _rfc3339(begin_ms + i * 30_000), "metrics": {"x": float(i)}}
        for i in range(121)
    ]
    assert agent.post("/api/v1/metrics/batch", {"metrics": messages}).status == 201
    rules = tmp_path / "rules.yml"
    rules.write_text(RULES)
    span = ["--start", _rfc3339(begin_ms + 20 * MINUTE), "--end", _rfc3339(end_ms)]
    ended = here("rules", "backfill", str(rules), *span, "-c", str(agent.config_file))
    assert "note: 1 alerting rule left out" in ended.stderr
    # The second group may have a round before the first one has recorded anything.
    assert re.match("8[78] samples in 48 rounds of 2 groups", ended.stdout), ended
    doubled = agent.samples("doubled")
    assert len(doubled) == 40
    assert {b - a for (a, _), (b, _) in pairwise(doubled)} == {MINUTE}
    for time_ms, value in doubled:
        assert value == 2 * ((time_ms - begin_ms) // 30_000)
    assert agent.samples('doubled:sum{by="rule"}') == doubled
    again = here("rules", "backfill", str(rules), *span, "--url", agent.url)
    assert again.stdout == ended.stdout
    assert agent.samples("doubled") == doubled
    assert agent.query('ALERTS{alertname="High"}', end_ms / 1000) == []


def test_what_was_recorded_live_stays_as_it_is(here: Run, tmp_path: Path) -> None:
    rules = "groups: [{name: live, interval: 1s, rules: [{record: seen, expr: sum(x)}]}]"
    (tmp_path / "live.yml").write_text(rules)
    (tmp_path / "copy.yml").write_text(f"# elsewhere\n{rules}")
    agent = AgentProgram(tmp_path, CONFIG + "rules: {{files: [live.yml]}}\n")
    agent.start()
    try:
        begin_ms = time.time_ns() // 1_000_000
        assert agent.push({"x": 1.0}).status == 201
        eventually(lambda: len(agent.samples("seen")) >= 3)
        before = agent.samples("seen")
        span = ["--start", _rfc3339(begin_ms), "--end", _rfc3339(before[-1][0])]
        ended = here("rules", "backfill", str(tmp_path / "copy.yml"), *span, "--url", agent.url)
        # A round that a busy machine left out is there now; all others are as they were.
        after = [sample for sample in agent.samples("seen") if sample[0] <= before[-1][0]]
        assert ended.stdout.startswith(f"{len(after)} samples in "), ended
        assert set(before) <= set(after)
    finally:
        agent.kill()


def test_what_is_not_kept_is_refused(agent: AgentProgram, here: Run, tmp_path: Path) -> None:
    rules = tmp_path / "rules.yml"
    rules.write_text("groups: [{name: g, rules: [{record: a, expr: vector(1)}]}]")
    ended = here("rules", "backfill", str(rules), "--start", "-3d", "--url", agent.url)
    assert ended.returncode == 4
    assert ended.stderr.startswith("error: got a start 3d")
    assert "ago, wanted at most 2d: older samples are not kept (storage.retention)" in ended.stderr
    later = ["--start", "-1h", "--end", _rfc3339(time.time_ns() // 1_000_000 + 60 * MINUTE)]
    ended = here("rules", "backfill", str(rules), *later, "--url", agent.url)
    assert "ahead, wanted the past" in ended.stderr


def test_mistakes_are_told_before_anything_is_asked(here: Run, tmp_path: Path) -> None:
    rules = tmp_path / "rules.yml"
    rules.write_text("groups: [{name: g, rules: [{record: a, expr: 'b +'}]}]")
    ended = here("rules", "backfill", str(rules), "--start", "-1h", "--url", "127.0.0.1:1")
    assert (ended.returncode, ended.stdout) == (3, "")
    assert f"error: {rules}:1: groups[0].rules[0].expr: " in ended.stderr
    rules.write_text("groups: [{name: g, rules: [{alert: a, expr: b}]}]")
    ended = here("rules", "backfill", str(rules), "--start", "-1h", "--url", "127.0.0.1:1")
    assert (ended.returncode, "got no recording rules" in ended.stderr) == (1, True)


def test_a_rule_that_fails_is_told_and_the_others_go_on(
    agent: AgentProgram, here: Run, tmp_path: Path
) -> None:
    rules = tmp_path / "rules.yml"
    two = 'vector(1) or label_replace(vector(2), "a", "b", "", "")'
    bad, well = f"{{record: bad, expr: '{two}', labels: {{a: c}}}}", "{record: well, expr: vector(1)}"
    rules.write_text(f"groups: [{{name: g, rules: [{bad}, {well}]}}]")
    ended = here("rules", "backfill", str(rules), "--start", "-1h", "--url", agent.url)
    assert ended.returncode == 1
    assert len([line for line in ended.stderr.splitlines() if line.startswith(f"error: {rules}: bad: ")]) == 1
    assert len(agent.samples("well")) == 60


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ({"rules": "groups: [{name: g, rules: [{record: a, expr: 'b +'}]}]"}, "parse error"),
        ({"group": "other"}, 'got \\"other\\", wanted a group of the file that has recording rules'),
        ({"start_ms": "now"}, "start_ms: got"),
        ({"start": 5}, "start: unknown key"),
        ({"interval_ms": 0}, "interval_ms: got 0, wanted at least 1"),
        ({"end_ms": 1}, "before the start"),
        ({"start_ms": 1}, "are not kept"),
    ],
)
def test_malformed_requests_are_refused(agent: AgentProgram, change: dict[str, object], wanted: str) -> None:
    now_ms = time.time_ns() // 1_000_000
    rules = "groups: [{name: g, rules: [{record: a, expr: vector(1)}]}]"
    order = {"rules": rules, "group": "g", "start_ms": now_ms - 1000, "end_ms": now_ms} | change
    answer = agent.ask("/api/v1/rules/backfill", json.dumps(order).encode())
    assert (answer.status, wanted in answer.text) == (400, True), answer.text


def test_pages_of_other_origins_cannot_ask(agent: AgentProgram) -> None:
    answer = agent.ask("/api/v1/rules/backfill", b"{}", "text/plain")
    assert answer.status == 415


def _rfc3339(time_ms: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(time_ms // 1000)) + f".{time_ms % 1000:03d}Z"
