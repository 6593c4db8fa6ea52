"""What jobs and Telegraf push to a running agent is kept over a kill, repeated, and ends when told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

import pytest
from prometheus_client import CollectorRegistry, Gauge, delete_from_gateway, push_to_gateway

from metricsmith.testing.programs import AgentProgram, eventually

Make: TypeAlias = Callable[..., AgentProgram]
SOURCE = "sources:\n- {{type: pushgateway, interval: 200ms, expiry: 1h}}\n"


@pytest.fixture
def registry() -> Iterator[CollectorRegistry]:
    registry = CollectorRegistry()
    Gauge("backup_rows", "Rows.", registry=registry).set(7)
    yield registry


def test_groups_and_lines_survive_a_kill(agent_program: Make, registry: CollectorRegistry) -> None:
    agent = agent_program(SOURCE)
    agent.start()
    push_to_gateway(agent.url, "backup", registry, {"instance": "db/1"})
    assert agent.ask("/write?db=plant", b"kettle temperature=65.5\n").status == 204
    agent.kill()
    agent.start()
    assert agent.value('kettle_temperature{db="plant"}') == 65.5
    before = len(agent.samples("backup_rows"))
    eventually(lambda: len(agent.samples("backup_rows")) > before + 2)
    assert agent.value('backup_rows{job="backup", instance="db/1"}') == 7
    delete_from_gateway(agent.url, "backup", {"instance": "db/1"})
    assert agent.query('{job="backup"}') == []
    assert agent.own("metricsmith_push_groups") == 0


def test_a_reload_keeps_the_groups(agent_program: Make, registry: CollectorRegistry) -> None:
    agent = agent_program(SOURCE)
    agent.start()
    push_to_gateway(agent.url, "backup", registry)
    agent.write_config(agent.config.replace("expiry: 1h", "expiry: 2h"))
    assert agent.ask("/-/reload", b"").status == 200
    before = len(agent.samples("backup_rows"))
    eventually(lambda: len(agent.samples("backup_rows")) > before + 2)
    assert agent.value("backup_rows") == 7
