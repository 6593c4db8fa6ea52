"""Threshold rules, anomalies and objectives in a running agent: they fire, and say what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from metricsmith.testing.programs import AgentProgram, eventually

Make = Callable[..., AgentProgram]
THRESHOLDS = """
collection: {{application_metrics: false}}
service: {{interval: 100ms}}
query: {{lookback: 1s}}
alerts:
  rules:
    - {{name: high_cpu, metric: cpu_usage, operator: '>', threshold: 80, duration: 300ms}}
    - {{name: service_down, metric: uptime_seconds, operator: '<', threshold: 60, severity: critical}}
    - {{name: typo, metric: cpu_usge, operator: '>', threshold: 80}}
"""
RULES = """
groups:
  - name: short
    interval: 100ms
    rules:
      - anomaly: depth
        expr: depth
        window: 1s
        min_history: 500ms
        min_deviation: 5
        for: 0s
        keep_firing_for: 1m
        labels: {severity: page}
      - {slo: jobs, objective: 99, errors: failed_total, total: jobs_total}
"""


def firing(agent: AgentProgram) -> dict[str, Any]:
    found = agent.get("/api/v1/alerts")["data"]["alerts"]
    return {alert["labels"]["alertname"]: alert for alert in found if alert["state"] == "firing"}


def test_thresholds_fire_and_miss_what_was_there(agent_program: Make) -> None:
    agent = agent_program(THRESHOLDS)
    agent.start()
    assert "service_down: uptime_seconds < 60 holds after each restart" in agent.log.text()
    agent.push({"uptime_seconds": 3600}, service="shop")

    def high() -> Any:
        agent.push({"cpu_usage_percent": 95.5}, service="system")
        return firing(agent).get("high_cpu")

    alert: Any = eventually(high)
    assert alert["labels"] == {"alertname": "high_cpu", "service": "system", "severity": "warning"}
    assert alert["annotations"] == {"message": "cpu_usage_percent > 80"}
    down: Any = eventually(lambda: firing(agent).get("service_down"))  # a second after its last sample
    assert (down["labels"]["service"], down["labels"]["severity"]) == ("shop", "critical")
    (warning,) = eventually(lambda: [w for w in agent.get("/status")["warnings"] if "typo" in w]) or [""]
    assert "no series matched" in warning
    (group,) = agent.get("/api/v1/rules")["data"]["groups"]
    assert (group["file"], group["name"], group["interval"]) == ("alerts.rules", "thresholds", 0.1)
    assert agent.stop() == 0


def test_anomalies_and_objectives_are_recorded(agent_program: Make) -> None:
    agent = agent_program("rules: {{files: ['{data}/../short.yml']}}\n")
    (agent.folder / "short.yml").write_text(RULES)
    agent.start()

    def pushed(value: float) -> None:
        agent.push({"depth": value, "jobs_total": 10, "failed_total": 1}, service="a")

    def band() -> Any:
        pushed(10)
        return agent.query("depth:anomaly_upper")

    (upper,) = eventually(band)
    assert float(upper["value"][1]) >= 15

    def fired() -> Any:
        # A machine that pauses has the band forgotten: it is there again before the next that is too much.
        top = [float(each["value"][1]) for each in agent.query("depth:anomaly_upper")]
        pushed(100 if top and top[0] < 50 else 10)
        return firing(agent).get("depth")

    alert = eventually(fired)
    assert alert["labels"] == {"alertname": "depth", "service": "a", "severity": "page"}
    eventually(lambda: agent.query('slo:objective:ratio{slo="jobs"} == 0.99'))
    assert agent.own("metricsmith_rule_evaluation_failures_total") == 0
    assert agent.stop() == 0
