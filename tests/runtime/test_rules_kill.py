"""kill -9 in each state of an alert: times stay, nothing is told twice, nothing ends falsely."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from metricsmith.testing.programs import AgentProgram, eventually

Make = Callable[..., AgentProgram]
CONFIG = "rules: {{files: [rules.yml]}}\n"
RULES = """
groups:
  - name: shop
    interval: 100ms
    rules:
      - alert: Deep
        expr: depth > 5
        for: %s
        keep_firing_for: %s
        no_data: %s
"""


def start(agent: AgentProgram, wait: str = "0s", keep: str = "0s", no_data: str = "keep") -> None:
    (agent.folder / "rules.yml").write_text(RULES % (wait, keep, no_data))
    agent.start()


def alert(agent: AgentProgram, state: str) -> Any:
    """Return the one alert once it is in a state."""

    def found() -> Any:
        alerts = agent.get("/api/v1/alerts")["data"]["alerts"]
        return next((a for a in alerts if a["state"] == state), None)

    return eventually(found)


def evaluated(agent: AgentProgram) -> None:
    """Return when the rules have been evaluated since the start."""
    eventually(lambda: agent.own("metricsmith_rule_group_iterations_total") > 1)


def kept(agent: AgentProgram) -> None:
    """Return when what was seen through the API has been committed: rounds commit one after the other."""
    before = agent.own("metricsmith_rule_group_iterations_total")
    eventually(lambda: agent.own("metricsmith_rule_group_iterations_total") > before + 1)


def test_pending(agent_program: Make) -> None:
    agent = agent_program(CONFIG)
    start(agent, wait="2s")
    agent.push({"depth": 9})
    began = alert(agent, "pending")["activeAt"]
    kept(agent)
    agent.kill()
    agent.start()
    after = alert(agent, "pending")["activeAt"]
    assert began < after, "the time in which nobody evaluated counts"
    evaluated(agent)
    assert alert(agent, "firing")["activeAt"] == after


@pytest.mark.parametrize("no_data", ["keep", "resolve"])
def test_firing(agent_program: Make, no_data: str) -> None:
    agent = agent_program(CONFIG)
    start(agent, no_data=no_data)
    agent.push({"depth": 9})
    began = alert(agent, "firing")
    kept(agent)
    for _ in range(2):
        agent.kill()
        agent.start()
        evaluated(agent)
        assert alert(agent, "firing")["activeAt"] == began["activeAt"]
    agent.push({"depth": 1})
    eventually(lambda: not agent.get("/api/v1/alerts")["data"]["alerts"])


def test_keep_firing(agent_program: Make) -> None:
    agent = agent_program(CONFIG)
    start(agent, keep="3s")
    agent.push({"depth": 9})
    began = alert(agent, "firing")["activeAt"]
    agent.push({"depth": 1})

    def since() -> str:
        return alert(agent, "firing").get("keepFiringSince", "")

    ended = eventually(since)
    kept(agent)
    agent.kill()
    agent.start()
    evaluated(agent)
    assert alert(agent, "firing")["activeAt"] == began
    assert since() > ended, "the time in which nobody evaluated counts"
    eventually(lambda: not agent.get("/api/v1/alerts")["data"]["alerts"])


def test_inactive(agent_program: Make) -> None:
    agent = agent_program(CONFIG)
    start(agent)
    agent.push({"depth": 1})
    evaluated(agent)
    agent.kill()
    agent.start()
    evaluated(agent)
    assert agent.get("/api/v1/alerts")["data"]["alerts"] == []
