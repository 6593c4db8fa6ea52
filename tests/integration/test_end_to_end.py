"""From a name to a metric in a query, as the page says; what a project's code does ends no command."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from metricsmith.integration import kit
from metricsmith.integration.alerts import rule_file
from metricsmith.integration.kinds import Kind
from metricsmith.integration.project import read_project
from metricsmith.integration.testing import assert_contract
from metricsmith.testing.programs import AgentProgram, eventually

MakeProject = Callable[..., Path]
Edit = Callable[[Path], Any]
Command = Callable[..., tuple[int, str]]
AGENT = '\nserver: {{listen: "127.0.0.1:{port}"}}\nstorage: {{path: "{data}"}}\n'


@pytest.fixture
def agent_of() -> Iterator[Callable[[Path, str], AgentProgram]]:
    """Start an agent with a project's sample configuration."""
    made: list[AgentProgram] = []

    def start(folder: Path, config: str) -> AgentProgram:
        made.append(AgentProgram(folder, config + AGENT))
        made[-1].start()
        return made[-1]

    yield start
    for program in made:
        if program.process is not None:
            program.kill()


def write_rules(folder: Path) -> None:
    """Write the rules of a declaration where the sample configuration looks for them."""
    rules = folder / "generated" / "rules" / "queue-depth.yml"
    rules.parent.mkdir(parents=True)
    rules.write_text(yaml.safe_dump(rule_file(read_project(folder).declaration)))


@pytest.mark.parametrize("kind", list(Kind))
def test_a_new_project_runs_in_an_agent_and_is_tested(
    kind: Kind,
    tmp_path: Path,
    agent_of: Callable[[Path, str], AgentProgram],
    command: Command,
    edit: Edit,
) -> None:
    code, said = command("new", "queue-depth", "--kind", kind.value)
    assert code == 0 and "Next: cd queue-depth" in said
    folder = tmp_path / "queue-depth"
    config = (folder / "metricsmith.yaml").read_text()
    if kind is Kind.OHI:  # its interval stands in the file for New Relic's agent
        file = folder / "integrations.d" / "queue-depth.yml"
        file.write_text(file.read_text().replace("interval: 30s", "interval: 1s"))
    config = config.replace("interval: 30s", "interval: 1s")
    if kind is not Kind.PYTHON:
        config = config.replace("type: exec", "type: exec\n    min_interval: 1s")
    wakes = kind is Kind.PYTHON  # once is enough: rules are made from the declaration, whatever runs
    if wakes:
        edit(folder).replace("integration.yaml", "for: 10m", "for: 0s")
        edit(folder).replace("sample.json", '"waiting": 3', '"waiting": 3000')
        write_rules(folder)
        config = config.replace("rules:", "rules:\n  interval: 1s")
    agent = agent_of(folder, config)
    found = eventually(lambda: agent.query('queue_depth_items{queue="orders"} == 12'))
    assert found[0]["metric"]["queue"] == "orders"
    up = "collector_up" if kind is Kind.PYTHON else "integration_up"
    assert eventually(lambda: agent.query(f"{up} == 1"))
    if wakes:
        firing = 'ALERTS{alertname="QueueDepthHigh", alertstate="firing", queue="mail", severity="warning"}'
        eventually(lambda: agent.query(firing))
    agent.kill()
    if wakes:  # the tests that come with the others do the same
        code, said = command("test", "--json", "--collections", "3", str(folder))
        assert code == 0 and json.loads(said)["passed"], said
    code, said = command("new", "queue-depth")
    assert code == 1 and "there already; nothing was written" in said


def test_the_table_and_the_exit_code_tell_what_failed(
    new_project: MakeProject, edit: Edit, command: Command
) -> None:
    folder = new_project()
    edit(folder).replace("queue_depth.py", '"queue_depth_items"', '"other"')
    code, said = command("test", "--collections", "0", folder=folder)
    assert code == 1
    assert "failed: metrics: other is not declared; add to integration.yaml, under metrics: - {name: " in said
    assert said.endswith("checks failed\n")
    edit(folder).replace("integration.yaml", "type: counter", "type: kounter")
    code, said = command("test", folder=folder)
    assert code == 3
    assert 'did you mean "counter"?' in said and "integration.yaml:" in said


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("os._exit(7)", "ended the process with code 7, at: collect"),
        ("os.kill(os.getpid(), 11)", "died of signal 11 (SIGSEGV), at: collect"),
    ],
)
def test_a_collector_that_ends_its_process_is_told(
    code: str, told: str, new_project: MakeProject, edit: Edit
) -> None:
    folder = new_project()
    edit(folder).replace(
        "queue_depth.py", "queues = json", f"print('last words', flush=True); {code}\n    queues = json"
    )
    (finding,) = kit.examine(folder).failures()
    assert told in finding and finding.endswith("it said:\nlast words")


def test_a_project_that_never_ends_is_ended(
    new_project: MakeProject, edit: Edit, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = new_project()
    edit(folder).append("queue_depth.py", "\nwhile True:\n    pass\n")
    monkeypatch.setattr(kit, "START_SECONDS", 3.0)
    monkeypatch.setattr(kit, "LEAK_SECONDS", 0.0)
    monkeypatch.setattr(kit, "COLLECTIONS", 0)
    (finding,) = kit.examine(folder).failures()
    assert "took longer than 3 s" in finding


def test_recording_makes_new_goldens_possible(new_project: MakeProject, edit: Edit, command: Command) -> None:
    folder = new_project()
    shutil.rmtree(folder / "recordings")
    _, said = command("test", "--collections", "0", folder=folder)
    assert "--record` makes it" in said
    edit(folder).replace("sample.json", '"waiting": 3', '"waiting": 5')
    code, said = command("test", "--record", "--update-golden", "--collections", "0", folder=folder)
    assert code == 0, said
    assert (folder / "recordings" / "queues.json").read_bytes() == (folder / "sample.json").read_bytes()
    assert 'items{queue="mail"} 5' in (folder / "tests" / "golden" / "metrics.prom").read_text()


@pytest.mark.parametrize(("kind", "tests"), [(Kind.PYTHON, 4), (Kind.EXEC, 3), (Kind.OHI, 3)])
def test_the_tests_of_a_project_pass_as_they_are(
    kind: Kind, tests: int, new_project: MakeProject, edit: Edit
) -> None:
    folder = new_project(kind)
    edit(folder).replace("tests/test_queue_depth.py", "t(PROJECT)", "t(PROJECT, collections=1)")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=folder, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert f"{tests} passed" in done.stdout, done.stdout


def test_a_broken_contract_fails_the_projects_tests(new_project: MakeProject, edit: Edit) -> None:
    folder = new_project()
    edit(folder).replace("queue_depth.py", "counter(", "gauge(")
    with pytest.raises(AssertionError, match="got type gauge, wanted counter"):
        assert_contract(folder, collections=0)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("new", "Queue Depth"), 'try "queue-depth"'),
        (("new", "x", "--kind", "perl"), "perl"),
        (("test", "--record", "--live"), "wanted one of them"),
        (("test", "--live", "--update-golden"), "wanted --record"),
    ],
)
def test_wrong_usage_is_told(arguments: tuple[str, ...], told: str, tmp_path: Path, command: Command) -> None:
    code, said = command(*arguments)
    assert code == 2
    assert told in " ".join(said.replace("│", " ").split())
    assert not list(tmp_path.iterdir())
