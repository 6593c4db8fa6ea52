"""The example as a program, scraped by an agent as a program, with the pack's rules."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from metricsmith.testing.programs import AgentProgram
from metricsmith.testing.services import free_port

AGENT = """
server: {{listen: "127.0.0.1:{port}"}}
storage: {{path: "{data}"}}
sources:
  - {{type: scrape, name: flow, interval: 250ms, targets: ["127.0.0.1:TARGET"]}}
rules: {{packs: [pipeline], interval: 500ms}}
"""
PUSHED = """
server: {{listen: "127.0.0.1:{port}"}}
storage: {{path: "{data}"}}
rules: {{packs: [pipeline], interval: 500ms}}
"""


@pytest.fixture(params=["scraped", "pushed"])
def agent(request: pytest.FixtureRequest, example: Path, tmp_path: Path) -> Iterator[AgentProgram]:
    """An agent that hears of the example, either way."""
    port, pushed = free_port(), request.param == "pushed"
    agent = AgentProgram(tmp_path, PUSHED if pushed else AGENT.replace("TARGET", str(port)))
    agent.start()
    environment = os.environ | {
        "METRICSMITH_PROMETHEUS_PORT": str(port),
        "METRICSMITH_STATUS_PAGE_ENABLED": "no",
        "METRICSMITH_SERVICE_NAME": "flow",
        "METRICSMITH_TICK_INTERVAL": "250ms",
    }
    if pushed:
        environment |= {"METRICSMITH_PUSH_URL": agent.url, "METRICSMITH_PROMETHEUS_ENABLED": "no"}
    command = [sys.executable, str(example / "run.py"), "--journal", str(tmp_path / "events")]
    program = subprocess.Popen([*command, "--rate", "400", "--trouble", "0.5"], env=environment)
    yield agent
    program.terminate()
    assert program.wait(20) == 0
    agent.kill()


def test_queries_answer_in_an_agent(document: str, agent: AgentProgram) -> None:
    blocks = re.findall(r"```promql\n(.*?)```", document, re.DOTALL)
    queries = [query.strip() for block in blocks for query in block.split("\n\n")]
    queries.append("job_pipeline:dataflow_batches_failed:ratio5m > 0.1")
    waiting = [query.replace("pipeline-123", "pipeline-2") for query in queries]
    deadline = time.monotonic() + 20
    while waiting and time.monotonic() < deadline:
        waiting = [query for query in waiting if not agent.query(query)]
        time.sleep(0.2)
    assert waiting == []
    assert agent.value('sum(dataflow_pipelines_running{job="flow"})') == 3
    assert agent.query("dataflow_batches_processed_total")[0]["metric"]["job"] == "flow"
