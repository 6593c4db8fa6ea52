"""An agent whose alerts are told: to a real Alertmanager and a webhook, over kills of either.

Commands and outputs of docs/notifications.md are of what is tested here.
"""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from metricsmith.testing import services
from metricsmith.testing.programs import AgentProgram, eventually
from metricsmith.testing.terminal import alike, shown_on

DOCS = Path(__file__).parents[2] / "docs"

Make = Callable[..., AgentProgram]
SECTION = """
rules: {{interval: 100ms, resend_delay: 1s, external_labels: {{dc: a}}}}
service: {{interval: 100ms}}
alerts:
  alertmanagers: [{{url: "{am}"}}]
  rules:
    - {{name: deep, metric: depth, threshold: 5, operator: ">", message: "too deep", no_data: keep}}
"""


def alerts(server: services.Server) -> list[Any]:
    with urllib.request.urlopen(f"{server.url}/api/v2/alerts", timeout=60) as answer:
        return list(json.load(answer))


def test_alerts_outlast_kills_of_both(agent_program: Make, start_alertmanager: Any) -> None:
    with start_alertmanager() as server:
        agent = agent_program(SECTION.replace("{am}", server.url))
        agent.start()
        agent.push({"depth": 7}, service="a")
        (first,) = eventually(lambda: alerts(server))
        assert first["labels"] == {"alertname": "deep", "severity": "warning", "service": "a", "dc": "a"}
        assert first["annotations"] == {"message": "too deep"}
        assert first["generatorURL"].startswith(f"{agent.url}/graph?")
        agent.kill()
        agent.start()
        agent.push({"depth": 8}, service="a")
        (again,) = eventually(lambda: [a for a in alerts(server) if a["endsAt"] != first["endsAt"]])
        assert (again["startsAt"], again["fingerprint"]) == (first["startsAt"], first["fingerprint"])
        server.process.kill()
    with start_alertmanager() as server:
        (after,) = eventually(lambda: alerts(server))
        assert after["startsAt"] == first["startsAt"]
        agent.push({"depth": 1}, service="a")
        eventually(lambda: not alerts(server))
    url = f"{server.url}/api/v2/alerts"
    assert agent.get("/api/v1/alertmanagers")["data"]["activeAlertmanagers"] == [{"url": url}]
    # The Alertmanager shows an alert before we have its answer.
    eventually(lambda: agent.own("metricsmith_notifications_sent_total") >= 3)
    told = agent.get("/api/v1/alerts/destinations")["data"]
    (destination,) = told["destinations"]
    assert (destination["name"], destination["address"]) == ("alertmanager-0", url)
    shown = shown_on(DOCS / "notifications.md", "curl -s localhost:9480/api/v1/alerts/destinations")
    assert alike(shown.partition('"refused"')[0], agent.ask("/api/v1/alerts/destinations").text)
    assert destination["toldAlerts"] >= 3 and told["refused"] == []
    assert agent.stop() == 0
    assert "Traceback" not in agent.log.text()
