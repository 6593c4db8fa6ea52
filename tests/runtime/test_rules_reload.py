"""Rule files that change: what is good is taken, what is bad keeps what it was, alerts live on."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from metricsmith.testing.programs import AgentProgram, eventually

Make = Callable[..., AgentProgram]
SECTION = "rules: {{files: ['rules/*.yml']}}\n"
GROUP = """
groups:
  - name: {name}
    interval: 100ms
    rules: [{rules}]
"""


def write_rules(agent: AgentProgram, name: str, *rules: str) -> Path:
    folder = agent.folder / "rules"
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.yml"
    path.write_text(GROUP.format(name=name, rules=", ".join(rules)))
    return path


def groups(agent: AgentProgram) -> dict[str, Any]:
    return {group["name"]: group for group in agent.get("/api/v1/rules")["data"]["groups"]}


def test_a_bad_file_keeps_its_rules_and_the_others_are_taken(agent_program: Make) -> None:
    agent = agent_program(SECTION)
    write_rules(agent, "a", "{record: one, expr: '1'}")
    bad = write_rules(agent, "b", "{record: two, expr: '2'}")
    agent.start()
    eventually(lambda: agent.query("one") and agent.query("two"))
    assert agent.get("/status")["warnings"] == []
    write_rules(agent, "a", "{record: one, expr: '11'}")
    write_rules(agent, "b", "{record: two, expr: '2 +'}")
    answer = agent.post("/-/reload", None)
    assert answer.status == 400
    told = json.loads(answer.text)["problems"]
    assert [problem["file"] for problem in told] == [str(agent.config_file), str(bad)]
    assert told[1]["line"] == 5
    (warning,) = agent.get("/status")["warnings"]
    assert "parse error" in warning
    assert "parse error" in agent.log.text()
    assert "mistakes keep the rules that they had" in agent.log.text()
    eventually(lambda: agent.value("one") == 11)
    at = eventually(lambda: groups(agent)["b"]["lastEvaluation"])
    eventually(lambda: groups(agent)["b"]["lastEvaluation"] > at)
    assert groups(agent)["b"]["rules"][0]["query"] == "2"
    write_rules(agent, "b", "{record: two, expr: '22'}")
    assert agent.post("/-/reload", None).status == 200
    eventually(lambda: agent.value("two") == 22)
    assert agent.get("/status")["warnings"] == []


def test_at_the_first_start_a_bad_file_gives_its_good_rules(agent_program: Make) -> None:
    agent = agent_program(SECTION)
    write_rules(agent, "a", "{record: one, expr: '1'}, {record: two, expr: '2 +'}")
    agent.start()
    eventually(lambda: agent.query("one"))
    assert "mistakes give only those of their rules that have none" in agent.log.text()
    assert "that they had" not in agent.log.text()


def test_files_that_change_on_disk_are_read_without_being_told(agent_program: Make) -> None:
    agent = agent_program(SECTION)
    gone = write_rules(agent, "a", "{record: one, expr: '1'}")
    agent.start()
    eventually(lambda: agent.query("one"))
    gone.unlink()
    write_rules(agent, "b", "{record: two, expr: '2'}")
    eventually(lambda: agent.query("two"))
    assert set(groups(agent)) == {"b"}
    eventually(lambda: not agent.query("one"))
    assert 'rule_group="' + str(gone) not in agent.ask("/metrics").text


def test_alerts_live_on_when_their_rule_changes(agent_program: Make) -> None:
    agent = agent_program(SECTION)
    write_rules(agent, "a", "{alert: Deep, expr: 'vector(1) > 0', for: 1h}", "{record: x, expr: '1'}")
    agent.start()

    def since() -> str:
        found = agent.get("/api/v1/alerts")["data"]["alerts"]
        return found[0]["activeAt"] if found else ""

    began = eventually(since)
    write_rules(agent, "a", "{record: y, expr: '1'}", "{alert: Deep, expr: 'vector(2) > 0', for: 2h}")
    agent.send(signal.SIGHUP)
    eventually(lambda: agent.query("y"))
    eventually(lambda: not agent.query("x"))
    assert since() == began
    assert len(agent.query("ALERTS")) == 1


def test_alerts_that_are_switched_off_wait_for_their_return(agent_program: Make) -> None:
    agent = agent_program(SECTION)
    write_rules(agent, "a", "{alert: Deep, expr: 'vector(1)'}", "{record: x, expr: '1'}")
    agent.start()
    config = agent.config_file.read_text()
    began = eventually(lambda: agent.query("ALERTS_FOR_STATE"))[0]["value"][1]
    agent.config_file.write_text(config + "alerts: {enabled: false}\n")
    assert agent.post("/-/reload", None).status == 200
    eventually(lambda: not agent.query("ALERTS"))
    assert [rule["name"] for rule in groups(agent)["a"]["rules"]] == ["x"]
    agent.config_file.write_text(config)
    assert agent.post("/-/reload", None).status == 200
    assert eventually(lambda: agent.query("ALERTS_FOR_STATE"))[0]["value"][1] == began
