"""The example as a program, and an agent as a program that hears of it each way, with the pack's rules."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from metricsmith.testing.programs import AgentProgram, eventually
from metricsmith.testing.services import free_port

BASE = """
server: {{listen: "127.0.0.1:{port}"}}
storage: {{path: "{data}"}}
rules: {{packs: [pipeline], interval: 500ms}}
"""
WAYS = {
    "scraped": 'sources: [{{type: scrape, name: flow, interval: 250ms, targets: ["127.0.0.1:PORT"]}}]',
    "pushed": "",
    "published": 'service: {{type: consumer}}\nbus: {{endpoint: "tcp://127.0.0.1:PORT"}}',
}


@pytest.fixture(params=WAYS)
def agent(request: pytest.FixtureRequest, example: Path, tmp_path: Path) -> Iterator[AgentProgram]:
    """An agent that hears of the example, each way."""
    way, port = request.param, free_port()
    agent = AgentProgram(tmp_path, BASE + WAYS[way].replace("PORT", str(port)))
    agent.start()
    environment = os.environ | {
        "METRICSMITH_PROMETHEUS_ENABLED": "yes" if way == "scraped" else "no",
        "METRICSMITH_PROMETHEUS_PORT": str(port),
        "METRICSMITH_STATUS_PAGE_ENABLED": "no",
        "METRICSMITH_SERVICE_NAME": "flow",
        "METRICSMITH_TICK_INTERVAL": "250ms",
        "METRICSMITH_PUSH_URL": agent.url if way == "pushed" else "",
        "METRICSMITH_BUS_ENDPOINT": f"tcp://127.0.0.1:{port}" if way == "published" else "",
    }
    command = [sys.executable, str(example / "run.py"), "--journal", str(tmp_path / "events")]
    program = subprocess.Popen([*command, "--rate", "400", "--trouble", "0.5"], env=environment)
    yield agent
    program.terminate()
    assert program.wait(60) == 0
    agent.kill()


def test_queries_answer_in_an_agent(document: str, agent: AgentProgram) -> None:
    blocks = re.findall(r"```promql\n(.*?)```", document, re.DOTALL)
    queries = [query.strip() for block in blocks for query in block.split("\n\n")]
    queries.append("job_pipeline:dataflow_batches_failed:ratio5m > 0.1")
    waiting = [query.replace("pipeline-123", "pipeline-2") for query in queries]
    for query in waiting:
        eventually(lambda q=query: agent.query(q))
    (found,) = agent.query("dataflow_pipelines_running")
    assert found["value"][1] == "3"
    assert "flow" in (found["metric"].get("job"), found["metric"].get("service"))
