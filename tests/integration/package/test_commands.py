"""From a new project to a metric in the query of a second agent, by the commands that people type."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from metricsmith.integration.kinds import Kind
from metricsmith.testing.programs import AgentProgram, eventually

Command = Callable[..., tuple[int, str]]
PAGE = Path(__file__).parents[3] / "docs" / "package.md"
AGENT = """
server: {{listen: "127.0.0.1:{port}"}}
storage: {{path: "{data}"}}
sources:
  - {{type: exec, name: integrations, files: "integrations.d/*.yml", min_interval: 1s}}
"""


def test_a_build_notes_what_will_not_be_beside_the_program(command: Command, tmp_path: Path) -> None:
    command("new", "queue-depth", "--kind", "python")
    code = tmp_path / "queue-depth" / "queue_depth.py"
    code.write_text(code.read_text() + 'BACKUPS = HERE / "backups"\n')
    line = len(code.read_text().splitlines())
    for target, noted in (("linux-amd64", True), ("wheel", False)):
        done, said = command("build", "queue-depth", "--target", target)
        assert done == 0, said
        assert (f'note: queue_depth.py:{line}: looks for "backups" beside itself' in said) == noted


@pytest.fixture
def second_agent(tmp_path: Path) -> Iterator[AgentProgram]:
    """An agent in a folder of its own, not started yet."""
    folder = tmp_path / "second"
    folder.mkdir()
    agent = AgentProgram(folder, AGENT, environment={"HOME": str(tmp_path / "home")})
    yield agent
    if agent.process is not None:
        agent.kill()


def archive(folder: Path, machine: str) -> Path:
    (found,) = (folder / "dist").glob(f"*-{machine}.tar.gz")
    return found


def test_each_kind_is_built_installed_and_seen(
    command: Command, second_agent: AgentProgram, machine: str, tmp_path: Path
) -> None:
    names = {kind: f"{kind.value}-queue" for kind in Kind}
    for kind, name in names.items():
        assert command("new", name, "--kind", kind.value)[0] == 0
        declaration = tmp_path / name / "integration.yaml"
        declaration.write_text(declaration.read_text().replace("interval: 30s", "interval: 1s"))
        code, said = command("build", name, "--target", machine)
        assert code == 0, said
        code, said = command("install", archive(tmp_path / name, machine), "--into", second_agent.folder)
        assert code == 0, said
        assert f"{name} 0.1.0: installed in " in said
    second_agent.start()
    for name in names.values():
        metric = name.replace("-", "_") + "_items"
        eventually(lambda metric=metric: second_agent.query(f'{metric}{{queue="orders"}} == 12'))  # type: ignore[misc]
    for kind, name in names.items():
        if kind is not Kind.PYTHON:  # that of Python is looked at below
            continue
        code, said = command("verify", second_agent.folder / "integrations" / name / "current", "--json")
        report = json.loads(said)
        assert code == 0 and report["passed"], said
        verdicts = {each["name"]: each["verdict"] for each in report["checks"]}
        assert (verdicts["package"], verdicts["metrics"], verdicts["errors"]) == ("passed",) * 3


def test_a_package_that_breaks_its_contract_is_told(command: Command, package: Callable[..., Path]) -> None:
    broken = package(Kind.EXEC, change=("queue-depth", "oldest_seconds", "youngest_seconds"))
    code, said = command("verify", broken)
    assert code == 1
    assert "queue_depth_youngest_seconds is not declared" in said


def test_what_was_built_and_installed_as_json(command: Command, machine: str, tmp_path: Path) -> None:
    command("new", "queue-depth", "--kind", "exec")
    code, said = command("build", "queue-depth", "--target", machine, "--version", "2.0.0-rc.1", "--json")
    (told,) = json.loads(said[said.index("[") : said.rindex("]") + 1])
    assert code == 0 and told["target"] == machine
    assert Path(told["path"]).name == f"queue-depth-2.0.0-rc.1-{machine}.tar.gz"
    assert "itself must say version 2.0.0-rc.1" in said
    code, said = command("install", told["path"], "--newrelic", "--prefix", "root", "--dry-run", "--json")
    assert code == 0 and json.loads(said)["dry_run"] is True
    assert not (tmp_path / "root").exists()


def test_the_folder_for_an_image(command: Command, tmp_path: Path) -> None:
    command("new", "queue-depth")
    assert command("build", "queue-depth", "--target", "oci-image")[0] == 0
    folder = tmp_path / "queue-depth" / "dist" / "queue-depth-0.1.0-oci-image"
    lines = (folder / "Dockerfile").read_text().splitlines()
    assert "FROM ${AGENT_IMAGE}@${AGENT_DIGEST}" in lines and "USER 10001:10001" in lines
    copied = [line.split()[1] for line in lines if line.startswith("COPY")]
    for machine in ("amd64", "arm64"):
        for source in copied:
            assert (folder / source.replace("${TARGETARCH}", machine)).exists()
    (entry,) = yaml.safe_load((folder / "queue-depth.yml").read_text())["integrations"]
    assert entry["exec"] == ["/opt/integrations/queue-depth/queue-depth"]
    assert command("build", "queue-depth", "--target", "oci-image")[0] == 0  # its own is replaced
    (folder / "Dockerfile").write_text("FROM scratch\n")
    code, said = command("build", "queue-depth", "--target", "oci-image")
    assert code == 1 and "was not made by this command" in said


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("build", "--version", "one"), 2, "wanted a version such as 1.2.3"),
        (("build", "--python", "2.7"), 2, "wanted a version such as 3.12"),
        (("build", "--target", "windows"), 2, "windows"),
        (("build", "nowhere"), 3, "metricsmith integration new NAME"),
        (("build", "--target", "wheel"), 1, "wheel: got kind exec, wanted kind python"),
        (("install", "x.tar.gz"), 2, "wanted one of them"),
        (("install", "x.tar.gz", "--into", "a", "--newrelic"), 2, "wanted one of them"),
        (("install", "x.tar.gz", "--into", "a", "--prefix", "b"), 2, "--prefix without --newrelic"),
        (("install", "x.tar.gz", "--into", "a"), 1, "error: x.tar.gz: is no file"),
        (("install", "README.md", "--into", "a", "--dry-run"), 1, "README.md: is damaged or no package"),
        (("verify", "x.tar.gz"), 1, "error: x.tar.gz: is no file"),
        (("verify", "."), 1, "has no manifest.json"),
    ],
)
def test_what_is_wrong_is_told(
    arguments: tuple[str, ...], code: int, told: str, command: Command, monkeypatch: pytest.MonkeyPatch,
    new_project: Callable[..., Path],
) -> None:  # fmt: skip
    folder = new_project(Kind.EXEC)
    monkeypatch.chdir(folder)
    got, said = command(*arguments)
    assert (got, told in " ".join(said.replace("│", " ").split())) == (code, True), said
    assert not (folder / "dist").exists()


def test_the_page(command: Command, machine: str) -> None:
    """What docs/package.md shows is what happens, in its order; … stands for anything."""
    command("new", "disk-room")
    (block,) = re.findall(r"^```console\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    for step in block.replace("linux-amd64", machine).split("$ ")[1:]:
        typed, _, wanted = step.partition("\n")
        code, said = command(*shlex.split(typed)[2:])
        lines = [re.escape(line).replace("…", "(?s:.*)") for line in wanted.splitlines()]
        assert code == 0
        assert re.search(r"[ ]*\n".join(lines) + r"\s*\Z", said), f"{typed}\n{said}"
