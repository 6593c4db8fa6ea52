"""Rules in a running agent: what they record can be queried, alerts are told, files are read anew."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from metricsmith.config import load_text
from metricsmith.runtime.rules import external_url
from metricsmith.testing.programs import AgentProgram, eventually

Make = Callable[..., AgentProgram]
SECTION = "rules: {{files: ['{data}/../rules/*.yml'], interval: 200ms}}\n"
RULES = """
groups:
  - name: shop
    interval: 100ms
    rules:
      - {record: "job:depth:max", expr: max by (job) (depth), labels: {unit: jobs}}
      - alert: Deep
        expr: job:depth:max > 5
        for: 300ms
        labels: {severity: page}
        annotations: {summary: "{{ $labels.job }} has {{ $value }}"}
"""


def write_rules(agent: AgentProgram, text: str, name: str = "shop.yml") -> Path:
    folder = agent.folder / "rules"
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text)
    return folder / name


def alerts(agent: AgentProgram, state: str = "") -> list[Any]:
    found = agent.get("/api/v1/alerts")["data"]["alerts"]
    return [alert for alert in found if state in ("", alert["state"])]


def test_what_rules_record_can_be_queried_and_alerts_fire(agent_program: Make) -> None:
    agent = agent_program(SECTION)
    write_rules(agent, RULES)
    agent.start()
    agent.push({"depth": 7}, service="a")
    (recorded,) = eventually(lambda: agent.query('{__name__="job:depth:max"}'))
    assert recorded["metric"]["unit"] == "jobs"
    (alert,) = eventually(lambda: alerts(agent, "firing"))
    assert alert["labels"]["alertname"] == "Deep" and alert["labels"]["severity"] == "page"
    assert alert["value"] == "7e+00"
    eventually(lambda: agent.query('ALERTS{alertstate="firing"}'))  # shown before its samples are committed
    (since,) = agent.query("ALERTS_FOR_STATE")
    assert since["metric"]["alertname"] == "Deep"
    agent.push({"depth": 2}, service="a")
    eventually(lambda: not alerts(agent))
    eventually(lambda: not agent.query("ALERTS"))
    assert agent.own("metricsmith_rule_group_iterations_total") > 3
    assert agent.own("metricsmith_rule_evaluation_failures_total") == 0
    assert agent.stop() == 0
    assert "Traceback" not in agent.log.text()


@pytest.mark.parametrize(
    ("listen", "url"),
    [
        ("127.0.0.1:9480", "http://127.0.0.1:9480"),
        ("[::1]:80", "http://[::1]:80"),
        (":9480", f"http://{socket.gethostname()}:9480"),
        ("[::]:9480", f"http://{socket.gethostname()}:9480"),
    ],
)
def test_links_lead_to_where_the_agent_listens(listen: str, url: str) -> None:
    assert external_url(load_text(f"server: {{listen: '{listen}'}}", "", {}).settings) == url
    set_ = "https://m.example/x"
    text = f"server: {{listen: '{listen}'}}\nrules: {{external_url: '{set_}'}}"
    assert external_url(load_text(text, "", {}).settings) == set_
