"""What docs/exec.md and docs/scrape.md show comes out of agents that are set up as these pages say."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from metricsmith.testing.programs import AgentProgram, eventually
from metricsmith.testing.targets import running_target, silent
from metricsmith.testing.terminal import Terminal, shape, steps

Make = Callable[..., AgentProgram]
DOCS = Path(__file__).parents[2] / "docs"
PROGRAM = "/var/db/newrelic-infra/custom-integrations/tombstone-monitor"
SAMPLE = {"event_type": "KafkaTopicTombstoneSample", "topic.name": "orders", "topic.tombstoneRatio": 25}
ENTITY = {"name": "kafka-tombstone-monitor", "type": "tombstone-monitor"}
DOCUMENT = {
    "name": "com.custom.kafka.tombstone",
    "protocol_version": "3",
    "integration_version": "1.0.0",
    "data": [{"entity": ENTITY, "metrics": [SAMPLE]}],
}


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", (DOCS / page).read_text(), re.MULTILINE | re.DOTALL)


def assert_shown(terminal: Terminal, text: str) -> None:
    """Each command of a block says all that is shown, line by line, but for numbers."""
    for command, shown in steps(text):
        wanted = [shape(line) for line in shown.splitlines()]
        said = list[Any]()

        def is_said(command: str = command, wanted: list[str] = wanted, said: list[Any] = said) -> bool:
            said[:] = [shape(line) for line in terminal.run(command)[1].splitlines()]
            return said == wanted

        try:
            eventually(is_said)
        except AssertionError:
            assert said == wanted, command


def test_series_of_an_integration(agent_program: Make, tmp_path: Path) -> None:
    configuration, entry = blocks("exec.md", "yaml")[:2]
    files = tmp_path / "integrations.d"
    files.mkdir()
    program = tmp_path / "tombstone-monitor"
    program.write_text(f"#!{sys.executable}\nprint({json.dumps(DOCUMENT)!r})\n")
    program.chmod(0o755)
    assert PROGRAM in entry
    (files / "page.yml").write_text(entry.replace(PROGRAM, str(program)))
    (files / "other.yml").write_text("integrations: [{name: broken, exec: 'false'}]\n")
    there, *_ = re.findall(r"files: (\S+)", configuration)
    agent = agent_program(
        f"\nsources: [{{{{type: exec, files: {there}}}}}]\n".replace(
            "/etc/newrelic-infra/integrations.d", str(files)
        )
    )
    agent.start()
    (shown,) = [text for text in blocks("exec.md", "console") if "metricsmith query" in text]
    assert_shown(Terminal(tmp_path, {}, agent.url), shown)
    assert agent.stop() == 0


def test_labels_that_a_target_has_itself(agent_program: Make, tmp_path: Path) -> None:
    (shown,) = [text for text in blocks("scrape.md", "console") if "exported_job" in text]
    with running_target('jobs_total{job="inner"} 6\n') as target:
        honest = target.source("honest").replace("interval", "honor_labels: true, interval")
        agent = agent_program(f"sources:\n{target.source('plain')}{honest}")
        agent.start()
        assert_shown(Terminal(tmp_path, {".venv/bin/": ""}, agent.url), shown)
        assert agent.stop() == 0


def _unauthorised(handler: BaseHTTPRequestHandler, _: Event) -> None:
    handler.send_error(401)


@pytest.mark.parametrize("line", blocks("scrape.md", "text")[-1].splitlines())
def test_what_the_log_says_of_a_failure(agent_program: Make, line: str) -> None:
    found = re.fullmatch(r"(WARNING sources\.target: (\w+): )http://[\d.:]+/\w+(: .*)", line)
    assert found, line
    text = found[3].rpartition("value: ")[2].strip("'") if found[2] == "bad" else ""
    behave = {"noauth": _unauthorised, "bad": None, "slow": silent}[found[2]]
    with running_target(f"{text}\n", behave) as target:
        source = target.source(found[2], "2s")
        agent = agent_program(f"sources:\n{source}")
        agent.start()
        agent.log.wait_for(f"{found[1]}{target.url}{found[3]}")
        agent.stop()
