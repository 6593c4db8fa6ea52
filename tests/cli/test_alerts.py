"""`metricsmith alerts`: what is wrong now, for people and for scripts."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from metricsmith.testing.programs import AgentProgram, eventually
from metricsmith.testing.terminal import shape, shown_on

Run = Callable[..., subprocess.CompletedProcess[str]]
CONFIG = """
server: {{listen: "127.0.0.1:{port}"}}
storage: {{path: "{data}"}}
sources: []
rules: {{files: [rules.yml], interval: 100ms}}
"""
RULES = """
groups:
- name: queues
  rules:
  - alert: Always
    expr: vector(7) > 3
    labels: {severity: critical}
  - alert: Later
    expr: vector(1)
    for: 1h
"""


def alert(name: str, state: str, since: str = "2026-11-21T10:45:09.123Z", **more: Any) -> dict[str, Any]:
    labels = {"alertname": name, "job": "shop"} | more.pop("labels", {})
    return {"labels": labels, "state": state, "activeAt": since, "value": "1.2345e+03", **more}


@pytest.mark.parametrize(
    ("found", "code", "lines"),
    [
        ([], 0, ["no alert is pending or firing"]),
        (
            [alert("Slow", "pending")],
            0,
            ["alert state since value labels", 'Slow pending 2026-11-21T10:45:09Z 1234.5 {job="shop"}'],
        ),
        (
            [
                alert("Slow", "pending"),
                alert("Deep", "firing", noData=True),
                alert("Old", "firing", "2026-11-20T10:45:09.123456789Z", keepFiringSince="x"),
            ],
            1,
            [
                "alert state since value labels",
                'Old firing, held 2026-11-20T10:45:09Z 1234.5 {job="shop"}',
                'Deep firing, no data 2026-11-21T10:45:09Z 1234.5 {job="shop"}',
                'Slow pending 2026-11-21T10:45:09Z 1234.5 {job="shop"}',
            ],
        ),
    ],
)
def test_table_and_exit_code(
    here: Run, api: tuple[str, dict[str, Any]], found: list[Any], code: int, lines: list[str]
) -> None:
    url, state = api
    state["paths"] = {"/api/v1/alerts": {"alerts": found}}
    done = here("alerts", "--url", url)
    shown = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert (done.returncode, shown) == (code, lines)
    assert len(json.loads(here("alerts", "--url", url, "--json").stdout)) == len(found)


def test_labels_do_nothing_to_a_terminal(here: Run, api: tuple[str, dict[str, Any]]) -> None:
    url, state = api
    state["paths"] = {"/api/v1/alerts": {"alerts": [alert("a\x1b[2J", "firing", labels={"x": "\x1b]0;"})]}}
    assert "\x1b" not in here("alerts", "--url", url).stdout


def test_of_an_agent_whose_log_says_the_same(here: Run, tmp_path: Path) -> None:
    (tmp_path / "rules.yml").write_text(RULES)
    agent = AgentProgram(tmp_path, CONFIG)
    agent.start()
    try:
        agent.log.wait_for('alert Always is firing: value 7, {severity="critical"}')
        eventually(lambda: "Later" in here("alerts", "--url", agent.url).stdout)
        done = here("alerts", "--url", agent.url)
    finally:
        agent.kill()
    page = shown_on(Path(__file__).parents[2] / "docs" / "rules.md", "metricsmith alerts")
    assert [shape(line) for line in done.stdout.splitlines()] == [shape(line) for line in page.splitlines()]
    first, second = done.stdout.splitlines()[1:]
    assert (first.split()[3], second.split()[3]) == ("7", "1")
    assert done.returncode == 1
    assert here("alerts", "--url", agent.url).returncode == 5
