"""`metricsmith sink test newrelic` says what is wrong, and what to do about it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from metricsmith.testing.newrelic_server import Fault, NewRelicServer
from metricsmith.testing.programs import AgentProgram
from metricsmith.testing.services import free_port
from metricsmith.testing.terminal import Terminal


@pytest.fixture
def agent(far: NewRelicServer, tmp_path: Path) -> Iterator[AgentProgram]:
    """An agent with a sink whose key is in a file, and one whose address is nobody's."""
    sink = {"type": "newrelic", "api_key": f"file:{tmp_path}/key", "timeout": "60s"}
    sinks = [
        {**sink, "name": "newrelic", "endpoint": far.metrics_url},
        {**sink, "name": "hasty", "endpoint": far.metrics_url, "timeout": "500ms"},
        {**sink, "name": "nobody", "endpoint": f"http://127.0.0.1:{free_port()}/metric/v1"},
        {**sink, "name": "unknown", "endpoint": "https://metric-api.newrelic.invalid/metric/v1"},
    ]
    head = "server: {{listen: '127.0.0.1:{port}'}}\nstorage: {{path: '{data}'}}\nsinks: "
    (tmp_path / "key").write_text(far.key)
    program = AgentProgram(tmp_path, head + json.dumps(sinks).replace("{", "{{").replace("}", "}}"))
    program.start()
    yield program
    assert program.stop() == 0


@pytest.fixture
def tried(agent: AgentProgram, tmp_path: Path) -> Callable[..., str]:
    """Try a sink; return what is told of one that does not take it."""

    terminal = Terminal(tmp_path, {}, agent.url)

    def run(name: str = "newrelic") -> str:
        code, said = terminal.run(f"metricsmith sink test {name}")
        assert said.startswith(f"{name}: {'not taken: ' if code else 'taken in '}"), said
        return said.strip() if code else ""

    return run


def test_what_is_wrong_is_told_and_mended_while_it_runs(
    far: NewRelicServer, tried: Callable[..., str], tmp_path: Path
) -> None:
    assert tried() == ""
    assert [(p.name, p.type) for p in far.points] == [("metricsmith_sink_test", "gauge")]
    (tmp_path / "key").write_text("0123456789abcdef")
    told = tried()
    assert "got 403" in told and "a licence key of an account in region us" in told
    assert "0123456789abcdef" not in told
    (tmp_path / "key").write_text("NRAK-0123456789")
    assert tried() == "newrelic: not taken: got a user key (NRAK-…) as api_key, wanted a licence key"
    (tmp_path / "key").unlink()
    assert "the api key cannot be read" in tried()
    (tmp_path / "key").write_text(far.key)
    for fault, said in (
        (Fault("status", 404), "check the address"),
        (Fault("status", 429, retry_after="7"), "got HTTP status 429"),
        (Fault("status", 503), "got HTTP status 503"),
        (Fault("reset"), "the connection failed"),
    ):
        far.fault = lambda _, fault=fault: fault  # type: ignore[misc]
        assert said in tried()
    far.fault = lambda _: Fault("slow", wait_s=0.8)
    assert "no answer within 0.5s" in tried("hasty")
    assert "cannot connect: Connection refused" in tried("nobody")
    assert "cannot connect: the name is not known" in tried("unknown")
    far.fault = lambda _: None
    assert tried() == ""
