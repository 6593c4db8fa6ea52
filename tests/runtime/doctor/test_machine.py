"""The machine under an agent: ports, files of secrets, the data folder, room, clock, limits."""

from __future__ import annotations

import asyncio
import os
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest

from metricsmith.config.load import load_text
from metricsmith.model.clock import SystemClock
from metricsmith.model.findings import Findings, Level
from metricsmith.runtime.doctor import clock, limits
from metricsmith.runtime.doctor.clock import examine_clock
from metricsmith.runtime.doctor.disk import examine_disk, file_system_of
from metricsmith.runtime.doctor.limits import Allowed, cgroup_limits, examine_limits
from metricsmith.store.datadir import DataDir
from metricsmith.testing.programs import AgentProgram

Examine = Callable[..., Any]


def told(findings: Findings, level: Level, text: str) -> bool:
    return any(line.level is level and text in str(line) for line in findings.lines)


@pytest.fixture
def findings() -> Findings:
    return Findings(SystemClock(), 10.0)


def test_who_has_the_port_and_who_may_reach_it(examine: Examine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        found = examine(f'server: {{listen: "127.0.0.1:{port}"}}', "server")
    assert found.told("problem", "server.listen", f"is used by process {os.getpid()}"), found
    assert examine(f'server: {{listen: "127.0.0.1:{port}"}}', "server").told("ok", "", "is free")
    assert examine('server: {listen: "192.0.2.1:9480"}', "server").told(
        "problem", "", "an address of this machine"
    )
    found = examine('server: {listen: "0.0.0.0:0"}', "server")
    assert found.told("warning", "server.listen", "without authentication"), found


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[AgentProgram]:
    text = 'server: {{listen: "127.0.0.1:{port}"}}\nstorage: {{path: "{data}"}}\n'
    program = AgentProgram(tmp_path, text)
    program.start()
    yield program
    program.stop()


def test_the_agent_that_runs_is_known_and_another_one_is_in_the_way(
    examine: Examine, agent: AgentProgram, tmp_path: Path
) -> None:
    text = agent.config_file.read_text()
    pid = agent.process.pid if agent.process else 0
    found = examine(text, "server", "disk")
    assert found.told("ok", "server.listen", f"process {pid}") and found.told("ok", "/ready", "ready"), found
    assert found.told("ok", "LOCK", f"process {pid}") and not found.of(Level.PROBLEM), found
    (tmp_path / "data").rename(tmp_path / "elsewhere")
    found = examine(text, "server")
    assert found.told("problem", "server.listen", "another agent listens"), found
    (tmp_path / "elsewhere").rename(tmp_path / "data")


def test_files_of_secrets_are_read_and_closed_to_others(examine: Examine, tmp_path: Path) -> None:
    for name, mode in (("closed", 0o600), ("open", 0o644)):
        (tmp_path / name).write_text("s3cret-of-the-file")
        (tmp_path / name).chmod(mode)
    text = """sources:
- {type: scrape, name: a, targets: ["h:1"], authorization: {credentials: s3cret-in-clear}}
- {type: scrape, name: b, targets: ["h:1"], basic_auth: {username: u, password: "file:closed"}}
- {type: scrape, name: c, targets: ["h:1"], basic_auth: {username: u, password_file: open}}
- {type: scrape, name: d, targets: ["h:1"], authorization: {credentials_file: none}}
"""
    (tmp_path / "metricsmith.yaml").touch(0o644)
    found = examine(text, "configuration")
    assert found.told("ok", "closed", "readable"), found
    assert found.told("warning", "open", "0644") and found.told("problem", "none", "No such file"), found
    assert found.told("warning", "metricsmith.yaml", "secrets stand in it"), found
    (tmp_path / "metricsmith.yaml").chmod(0o640)
    assert not examine(text, "configuration").told("warning", "metricsmith.yaml", ""), found
    (tmp_path / "metricsmith.yaml").chmod(0o646)
    found = examine(text, "configuration")
    assert found.told("problem", "metricsmith.yaml", "everyone on this machine may write it"), found
    assert "s3cret" not in repr(found)


def test_an_empty_secret_is_told(examine: Examine, tmp_path: Path) -> None:
    (tmp_path / "token").touch(0o600)
    text = """sources:
- {type: scrape, name: a, targets: ["h:1"], authorization: {credentials: ""}}
- {type: scrape, name: b, targets: ["h:1"], authorization: {credentials_file: token}}
"""
    found = examine(text, "configuration")
    assert found.told("warning", "credentials", "it is empty"), found
    assert found.told("problem", str(tmp_path / "token"), "it is empty"), found


def test_secrets_from_the_environment_do_not_stand_in_the_file(
    examine: Examine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = 'sources: [{type: scrape, targets: ["h:1"], authorization: {credentials: "${TOKEN_OF_TEST}"}}]'
    file = tmp_path / "m.yaml"
    file.write_text(text)
    from metricsmith.runtime.doctor.secrets import examine_files

    configuration = load_text(text, str(file), {"TOKEN_OF_TEST": "s3cret-of-the-environment"})
    findings = Findings(SystemClock(), 10.0)
    examine_files(configuration, findings)
    assert not findings.lines


def test_mistakes_and_notes_of_the_configuration_are_findings(examine: Examine, tmp_path: Path) -> None:
    (tmp_path / "bad.yml").write_text("groups: [{name: a, rules: [{record: b, expr: sum(c}]}]")
    found = examine("rules: {files: [bad.yml, none.yml]}\nstorage: {url: 'http://a'}", "configuration")
    assert found.told("problem", "bad.yml", "parse error"), found
    assert found.told("warning", "storage.url", "is not used") and found.told(
        "warning", "", "no file matches"
    )


def disk(tmp_path: Path, more: str = "", samples_per_s: float = 0.0, path: str = "data") -> Findings:
    text = f'storage: {{path: "{tmp_path / path}"{more}}}'
    found, others = Findings(SystemClock(), 10.0), Findings(SystemClock(), 10.0)
    others.samples_per_s = samples_per_s
    examine_disk(load_text(text, "", {}), [others], found)
    return found


def test_the_data_folder(tmp_path: Path) -> None:
    found = disk(tmp_path)
    assert told(found, Level.OK, "it will be made") and told(found, Level.OK, "fsync"), found.lines
    assert not list(tmp_path.iterdir()), "nothing is made"
    held = DataDir(tmp_path / "data")
    held.open()
    assert told(disk(tmp_path), Level.OK, f"held by the agent that runs, process {os.getpid()}")
    held.close()
    assert told(disk(tmp_path), Level.OK, "LOCK: free")
    (tmp_path / "data" / "FORMAT").write_text("metricsmith data 99\n")
    assert told(disk(tmp_path), Level.PROBLEM, "a newer metricsmith wrote it")
    (tmp_path / "data" / "FORMAT").write_text("of somebody else\n")
    assert told(disk(tmp_path), Level.PROBLEM, "is storage.path right?")
    (tmp_path / "file").touch()
    assert told(disk(tmp_path, path="file/data"), Level.PROBLEM, "is no folder")
    assert told(disk(tmp_path, path="/proc/data"), Level.PROBLEM, "/proc/data") or os.geteuid() == 0


@pytest.fixture
def reached_by_all() -> Iterator[Path]:
    """A folder that other users may look into, as pytest's own are closed."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def test_a_data_folder_of_another_user(reached_by_all: Path, findings: Findings) -> None:
    if os.geteuid():
        pytest.skip("only root can be another user")
    folder = reached_by_all
    (folder / "data" / "blocks").mkdir(parents=True)
    (folder / "data").chmod(0o700)
    disk(folder)  # what it needs is loaded
    os.seteuid(65_534)
    try:
        found, below = disk(folder), disk(folder, path="data/below")
        examine_limits(load_text(f'storage: {{path: "{folder}/data"}}', "", {}), [], findings)
    finally:
        os.seteuid(0)
    for each in (found, below):
        assert told(each, Level.PROBLEM, "user 65534 may not write to"), each.lines
    assert told(findings, Level.OK, "user 65534, not root")


def test_room_for_what_retention_will_need(tmp_path: Path) -> None:
    assert told(
        disk(tmp_path, samples_per_s=10), Level.OK, "10 samples/s over 30d at 2.0 bytes a sample (usual)"
    )
    assert told(disk(tmp_path, ", retention: 10y", 1e9), Level.PROBLEM, "shorten storage.retention")
    assert told(disk(tmp_path, ", max_disk: 1MB", 1000), Level.PROBLEM, "raise storage.max_disk")
    assert told(disk(tmp_path, ", max_disk: 900TB", 1000), Level.WARNING, "it protects nothing so")


def test_a_file_system_in_memory_is_told(tmp_path: Path) -> None:
    shared = Path("/dev/shm")
    if file_system_of(shared) != "tmpfs":
        pytest.skip("no tmpfs at /dev/shm")
    assert told(disk(shared, path="metricsmith-none"), Level.WARNING, "which is memory")


@pytest.mark.parametrize(
    ("ahead_s", "level", "text"),
    [
        ((0, 0), Level.OK, "of that of 2 servers"),
        ((-30, -31), Level.WARNING, "behind that of 2 servers"),
        ((3600, 3600, 3600), Level.PROBLEM, "s ahead of that of 3 servers"),
        ((0, 0, 600), Level.WARNING, "s2: its clock is"),
        ((), Level.OK, "nothing to compare with"),
    ],
)
async def test_the_clock_against_those_of_servers(
    findings: Findings, ahead_s: tuple[float, ...], level: Level, text: str
) -> None:
    other = Findings(SystemClock(), 10.0)
    for number, ahead in enumerate(ahead_s):
        other.told_time(f"s{number}", {"Date": formatdate(time.time() - ahead, usegmt=True)})
    other.told_time("odd", {"Date": "soon"})
    other.told_time("none", {})
    await examine_clock(SystemClock(), [other], findings)
    assert told(findings, level, text), findings.lines


async def test_a_year_that_cannot_be(findings: Findings) -> None:
    class Early(SystemClock):
        def now_ms(self) -> int:
            return 1000

    await examine_clock(Early(), [], findings)
    assert told(findings, Level.PROBLEM, "the year 1970")


async def test_a_machine_that_pauses_between_two_looks_has_a_steady_clock(
    findings: Findings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clock, "LOOK_S", 0)

    class Paused(SystemClock):
        now_s, looks = 1.8e9, 0

        def monotonic(self) -> float:
            self.looks += 1
            self.now_s += 0.2 * (self.looks % 7 == 2)
            return self.now_s

        def now_ms(self) -> int:
            return int(self.monotonic() * 1000)

    await examine_clock(Paused(), [], findings)
    assert [line.level for line in findings.lines] == [Level.OK], findings.lines


def test_limits_of_a_container(tmp_path: Path) -> None:
    own, root = tmp_path / "own", tmp_path / "cgroup"
    group = root / "a" / "b"
    group.mkdir(parents=True)
    own.write_text("0::/a/b\n")
    for folder, file, text in (
        (group, "cpu.max", "max 100000"),
        (root / "a", "cpu.max", "20000 100000"),
        (root, "cpu.max", "30000 100000"),
        (group, "memory.max", "1048576"),
        (root / "a", "memory.max", "524288"),
        (group, "pids.max", "max"),
        (group, "pids.current", "3"),
        (root / "a", "pids.max", "64"),
        (root / "a", "pids.current", "60"),
        (root, "pids.max", "70"),
        (root, "pids.current", "62"),
    ):
        (folder / file).write_text(f"{text}\n")
    assert cgroup_limits(root, own) == Allowed(524_288, 0.2, 4), "each is the tightest of those around it"


def test_limits_of_version_1_and_of_none(tmp_path: Path) -> None:
    own, root = tmp_path / "own", tmp_path / "cgroup"
    own.write_text("7:memory:/x\n3:cpu,cpuacct:/x\n")
    assert cgroup_limits(root, own) == Allowed()
    for file, text in (
        ("memory/x/memory.limit_in_bytes", 1 << 20),
        ("memory/memory.limit_in_bytes", 1 << 62),
        ("cpu/cpu.cfs_quota_us", 50_000),
        ("cpu/cpu.cfs_period_us", 100_000),
    ):
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_text(f"{text}\n")
    assert cgroup_limits(root, own) == Allowed(1 << 20, 0.5)


@pytest.mark.parametrize(
    ("found", "level", "text"),
    [
        (Allowed(256 << 20), Level.PROBLEM, "256.0MB of this container"),
        (Allowed(600 << 20), Level.WARNING, "set query.max_samples to"),
        (Allowed(1 << 62), Level.OK, "of this machine"),
        (Allowed(cpus=0.2), Level.WARNING, "0.2 by quota"),
        (Allowed(processes=4), Level.WARNING, "4 more are allowed"),
    ],
)
def test_what_limits_mean(
    findings: Findings, monkeypatch: pytest.MonkeyPatch, found: Allowed, level: Level, text: str
) -> None:
    monkeypatch.setattr(limits, "cgroup_limits", lambda: found)
    examine_limits(load_text("", "", {}), [], findings)
    assert told(findings, level, text), findings.lines


def test_more_targets_than_files_may_be_open(findings: Findings) -> None:
    other = Findings(SystemClock(), 10.0)
    other.targets = 10**9
    examine_limits(load_text("", "", {}), [other], findings)
    assert told(findings, Level.PROBLEM, "ulimit -n")


def test_what_was_found_before_the_time_ran_out_stays() -> None:
    from metricsmith.runtime.doctor.examination import Check, Examination

    async def slow(findings: Findings) -> None:
        findings.ok("first", "is well")
        await asyncio.Event().wait()

    async def broken(findings: Findings) -> None:
        raise RuntimeError("with a s3cret in it")

    examination = Examination([Check("a", "", slow), Check("b", "", broken)], None, 0.05)

    async def run() -> list[str]:
        return [str(line) async for done in examination.run() for line in done.findings.lines]

    lines = asyncio.run(run())
    assert lines[0] == "first: is well" and "not done within 0.05s" in lines[1], lines
    assert "the check itself failed: RuntimeError" in lines[2] and "s3cret" not in lines[2], lines
