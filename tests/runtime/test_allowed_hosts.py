"""A running agent, asked by names that are and are not its own."""

from __future__ import annotations

import http.client
from collections.abc import Callable
from typing import Any

import pytest

from metricsmith.config.load import load_text
from metricsmith.errors import ConfigError
from metricsmith.testing.programs import AgentProgram

MakeAgent = Callable[..., AgentProgram]
EVERYWHERE = """
server: {{listen: "0.0.0.0:{port}", allowed_hosts: ["*.corp.example"]}}
storage: {{path: "{data}"}}
"""
BROWSER = {"Accept-Language": "en", "User-Agent": "Mozilla/5.0"}


def asked(agent: AgentProgram, method: str, path: str, host: str, **headers: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", agent.port, timeout=60)
    try:
        connection.request(method, path, headers={"Host": f"{host}:{agent.port}"} | headers)
        return connection.getresponse().status
    finally:
        connection.close()


def test_on_loopback(agent_program: MakeAgent) -> None:
    agent = agent_program()
    agent.start()
    evil: Any = {"Origin": f"http://evil.example:{agent.port}"}
    assert asked(agent, "POST", "/-/reload", "evil.example", **evil) == 421
    assert asked(agent, "GET", "/status", "evil.example") == 421
    assert asked(agent, "GET", "/metrics", "evil.example") == 200
    assert asked(agent, "POST", "/-/reload", "localhost", Origin=f"http://localhost:{agent.port}") == 200
    agent.log.wait_for("server.allowed_hosts")


def test_beyond_loopback(agent_program: MakeAgent) -> None:
    agent = agent_program(base=EVERYWHERE)
    agent.start()
    query = "/api/v1/query?query=1"
    assert asked(agent, "GET", query, "metricsmith.monitoring") == 200, "Grafana, by the name of a service"
    assert asked(agent, "GET", query, "metricsmith.monitoring.svc", **BROWSER) == 200
    assert asked(agent, "GET", query, "evil.example", **BROWSER) == 421
    assert asked(agent, "GET", query, "metrics.corp.example", **BROWSER) == 200


def test_a_name_with_a_port_is_a_mistake() -> None:
    with pytest.raises(ConfigError, match="wanted a name without port, such as metrics"):
        load_text('server: {allowed_hosts: ["metrics.example.com:9480"]}', "", {})
