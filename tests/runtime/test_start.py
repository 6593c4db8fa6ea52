"""A start that cannot succeed is one clear line and the documented exit code; what is not used is said.

Commands and outputs of docs/operate.md are of what is tested here.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from metricsmith.config import load_text
from metricsmith.runtime.agent import source_parts
from metricsmith.runtime.service import log_without_sources
from metricsmith.testing.programs import AgentProgram
from metricsmith.testing.services import free_port
from metricsmith.testing.terminal import shape

Make = Callable[..., AgentProgram]
FAILED, BAD_CONFIG = 1, 3
PAGE = Path(__file__).parents[2] / "docs" / "operate.md"
SHOWN = {shape(line) for line in PAGE.read_text().splitlines()}


def assert_one_line(ended: tuple[int, str], code: int, *wanted: str) -> None:
    """It ended with this code and one line of log that holds all that is wanted."""
    got, text = ended
    assert got == code, text
    (line,) = text.splitlines()
    assert line.startswith("error: ")
    for part in wanted:
        assert part in line


def test_second_agent_on_the_same_data_names_the_first(agent_program: Make) -> None:
    first, second = agent_program(), agent_program()
    first.start()
    assert first.process is not None
    second.config = second.config.replace("{data}", str(first.data))
    process = f"process {first.process.pid}"
    ended = second.run_to_end()
    assert_one_line(ended, FAILED, str(first.data), process, "storage.path")
    assert shape(ended[1].replace(str(first.data), "./data")) in SHOWN
    assert first.push({"m": 1}).status == 201, "the first is not disturbed"
    first.kill()
    second.start()  # a lock of one that was killed holds nobody back
    assert len(second.samples("m")) == 1


def test_address_in_use_leaves_the_data_as_it_was(agent_program: Make) -> None:
    first, second = agent_program(), agent_program()
    first.start()
    second.port = first.port
    ended = second.run_to_end()
    assert_one_line(ended, FAILED, f"127.0.0.1:{first.port}", "another program", "server.listen")
    assert shape(ended[1]) in SHOWN
    second.port = free_port()
    second.start()


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        ("metricsmith data 99\n", ("format version 99", "a newer metricsmith", "storage.path")),
        ("something else\n", ("FORMAT", "something else", "metricsmith data 1")),
    ],
)
def test_data_of_another_format_is_refused_untouched(
    agent_program: Make, content: str, wanted: tuple[str, ...]
) -> None:
    agent = agent_program()
    agent.data.mkdir()
    (agent.data / "FORMAT").write_text(content)
    assert_one_line(agent.run_to_end(), FAILED, *wanted)
    assert (agent.data / "FORMAT").read_text() == content
    assert {path.name for path in agent.data.iterdir()} <= {"FORMAT", "LOCK"}


def test_journal_of_a_newer_format_is_refused(agent_program: Make) -> None:
    agent = agent_program()
    agent.start()
    assert agent.push({"m": 1}).status == 201
    agent.kill()
    (segment,) = (agent.data / "journal").glob("*")
    content = segment.read_bytes()
    head = content[:8] + (99).to_bytes(4, "little") + content[12:20]
    content = head + zlib.crc32(head).to_bytes(4, "little") + content[24:]
    segment.write_bytes(content)
    assert_one_line(agent.run_to_end(), FAILED, str(segment), "format version 99")
    assert segment.read_bytes() == content


@pytest.mark.parametrize("part", ["", "manifest.sqlite", "journal", "blocks"])
def test_data_directory_that_cannot_be_used_is_named(agent_program: Make, part: str) -> None:
    agent = agent_program()
    in_the_way: Path = agent.data / part
    in_the_way.parent.mkdir(exist_ok=True)
    in_the_way.write_bytes(b"something else, as long as a header of a data base would be " * 10)
    assert_one_line(agent.run_to_end(), FAILED, str(in_the_way if part != "blocks" else agent.data))


@pytest.mark.parametrize(
    ("base", "wanted"),
    [
        (
            "storage: {{type: influx}}\n",
            ("metricsmith.yaml:1: storage.type", "influx", "embedded", "influxdb"),
        ),
        ('server: {{listen: "127.0.0.1"}}\n', ("metricsmith.yaml:1", "server.listen", "HOST:PORT")),
        ("server: [\n", ("metricsmith.yaml:",)),
    ],
)
def test_configuration_that_cannot_be_used(agent_program: Make, base: str, wanted: tuple[str, ...]) -> None:
    assert_one_line(agent_program(base=base).run_to_end(), BAD_CONFIG, *wanted)


def test_every_mistake_of_a_configuration_has_its_line(agent_program: Make) -> None:
    code, text = agent_program("sources:\n- {{type: scrap}}\nrules: {{fils: []}}\n").run_to_end()
    assert code == BAD_CONFIG
    first, second = text.splitlines()
    assert "sources[0].type" in first
    assert "scrape" in first
    assert "rules.fils" in second
    assert "files" in second


def test_every_line_of_a_json_log_is_json(agent_program: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLANTD_MODULE_METRIC_NOPE", "1")
    agent = agent_program("logging: {{format: json}}\n")
    agent.start()
    assert agent.stop() == 0
    records = [json.loads(line) for line in agent.log.text().splitlines()]
    (warning,) = [record["message"] for record in records if record["level"] == "warning"]
    assert warning == "environment variable PLANTD_MODULE_METRIC_NOPE: belongs to no setting"


@pytest.mark.parametrize(
    ("sources", "instance"),
    [("[]", "edge"), ("[{type: self}]", "edge"), ("[{type: self, name: own, instance: mine}]", "mine")],
)
def test_own_metrics_are_those_of_the_service_unless_told_otherwise(sources: str, instance: str) -> None:
    configuration = load_text(f"service: {{name: edge}}\nsources: {sources}", "", {})
    (part,) = (part for part in source_parts(configuration) if part.type == "self")
    assert part.config.model_dump()["instance"] == instance


@pytest.mark.parametrize(("text", "told"), [("", True), ("sources: [{type: host}]", False)])
def test_an_agent_without_sources_says_so(caplog: pytest.LogCaptureFixture, text: str, told: bool) -> None:
    caplog.set_level("INFO")
    log_without_sources(load_text(text))
    assert ("no sources (no configuration file" in caplog.text) is told
