"""Installing: all of a package or nothing, the version before it left to go back to."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from metricsmith.integration.kinds import Kind
from metricsmith.integration.package import install as installing
from metricsmith.integration.package.install import Installed, agent_place, install, newrelic_place
from metricsmith.integration.package.layout import PackageError
from metricsmith.integration.package.targets import TARGETS, Form
from metricsmith.integration.package.verify import verify

Make = Callable[..., Path]


def tree(folder: Path) -> dict[str, str]:
    """What is there: each file's digest, each link's target."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            found[name] = f"-> {path.readlink()}"
        elif path.is_file():
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


@pytest.fixture
def agent(tmp_path: Path) -> Path:
    folder = tmp_path / "agent"
    folder.mkdir()
    return folder


def put(file: Path, agent: Path, *, dry: bool = False) -> Installed:
    return install(file, agent_place(agent), dry=dry)


def test_agents_of_other_users_can_read_it_whatever_the_umask(package: Make, tmp_path: Path) -> None:
    file, agent = package(), tmp_path / "etc" / "agent"
    former = os.umask(0o077)
    try:
        done = put(file, agent)
        done.file.chmod(0o640)
        put(package(version="0.2.0", change=("integration.yaml", "interval: 30s", "interval: 45s")), agent)
    finally:
        os.umask(former)
    for path in (agent.parent, agent, *agent.rglob("*")):
        if path.is_dir():
            assert path.stat().st_mode & 0o777 == 0o755, path
    assert done.file.stat().st_mode & 0o777 == 0o640, "what somebody has set stays"


def test_what_is_installed_runs_from_the_file_that_agents_read(package: Make, agent: Path) -> None:
    done = put(package(), agent)
    assert (done.former, done.file_outcome) == (None, "created")
    (entry,) = yaml.safe_load((agent / "integrations.d" / "queue-depth.yml").read_text())["integrations"]
    ran = subprocess.run(
        entry["exec"],
        cwd=entry["working_dir"],
        env=os.environ | entry["env"],
        capture_output=True,
        check=True,
    )
    assert b'"queue":"orders"' in ran.stdout
    modes = {path.name: path.stat().st_mode & 0o777 for path in done.folder.rglob("*") if path.is_file()}
    assert {name for name, mode in modes.items() if mode == 0o755} == {"queue-depth"}
    assert set(modes.values()) == {0o755, 0o644}
    assert done.folder.stat().st_mode & 0o777 == 0o755  # agents may run as another user


def test_rules_and_dashboards_are_made_of_what_is_installed(package: Make, agent: Path) -> None:
    put(package(Kind.PYTHON), agent)
    page = (Path(__file__).parents[3] / "docs/package.md").read_text()
    typed = re.findall(r"^metricsmith (generate .*?)(?: +#.*)?$", page, re.MULTILINE)
    assert len(typed) == 2
    for line in typed:
        command = [sys.executable, "-m", "metricsmith", *line.replace("NAME", "queue-depth").split()]
        subprocess.run(command, cwd=agent, check=True, capture_output=True)
    for file in ("generated/rules/queue-depth.yml", "dashboards/queue-depth.json"):
        assert "queue_depth_items" in (agent / file).read_text()


def test_a_dry_run_changes_nothing_and_tells_the_same(package: Make, agent: Path) -> None:
    file = package()
    told = put(file, agent, dry=True)
    assert not list(agent.iterdir())
    done = put(file, agent)
    assert (told.folder, told.file, told.file_outcome) == (done.folder, done.file, done.file_outcome)


def test_an_upgrade_and_the_way_back(package: Make, agent: Path) -> None:
    versions = ["0.1.0", "0.2.0", "0.3.0"]
    one, two, three = (package(version=version) for version in versions)
    put(one, agent)
    done = put(two, agent)
    assert (done.former, done.removed) == ("0.1.0", ())
    home, current = agent / "integrations" / "queue-depth", agent / "integrations" / "queue-depth" / "current"
    assert current.resolve() == done.folder
    put(one, agent)
    assert current.readlink().name.startswith("0.1.0-")
    put(two, agent)
    done = put(three, agent)
    (gone,) = done.removed
    assert gone.startswith("0.1.0-")
    assert sorted(p.name[:5] for p in home.iterdir() if p.name != "current") == ["0.2.0", "0.3.0"]
    before = tree(agent)
    put(three, agent)
    assert tree(agent) == before


def test_a_damaged_installation_is_mended(package: Make, agent: Path) -> None:
    file = package()
    done = put(file, agent)
    before = tree(agent)
    (done.folder / "queue-depth").write_text("#!/bin/sh\n")
    with pytest.raises(PackageError, match="queue-depth: is not what SHA256SUMS says"):
        verify(done.folder)
    put(file, agent)
    assert tree(agent) == before


def test_what_people_changed_is_kept(package: Make, agent: Path) -> None:
    put(package(), agent)
    file = agent / "integrations.d" / "queue-depth.yml"
    longer = ("integration.yaml", "interval: 30s", "interval: 1m")
    done = put(package(version="0.2.0", change=longer), agent)
    assert done.file_outcome == "changed" and 'interval: "60s"' in file.read_text()
    file.write_text(file.read_text() + "# by hand\n")
    done = put(package(version="0.3.0"), agent)
    assert done.file_outcome == "kept" and file.read_text().endswith("# by hand\n")
    assert "30s" in file.with_suffix(".yml.sample").read_text()


@pytest.mark.parametrize("at", ["_put_folder", "_put_file", "_point"])
@pytest.mark.parametrize("first", [True, False])
def test_what_fails_midway_leaves_what_was_there(
    at: str, first: bool, package: Make, agent: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not first:
        put(package(), agent)
    before = tree(agent)
    two = package(version="0.2.0", change=("integration.yaml", "interval: 30s", "interval: 1m"))

    def fails(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(installing._Step, at, fails)
        with pytest.raises(OSError, match="No space"):
            put(two, agent)
    after = tree(agent)
    assert {n: t for n, t in after.items() if "/0.2.0-" not in n and not n.endswith(".lock")} == {
        n: t for n, t in before.items() if not n.endswith(".lock")
    }
    assert not list((agent / "integrations").glob(".new-*"))
    done = put(two, agent)
    assert (agent / "integrations" / "queue-depth" / "current").resolve() == done.folder


def test_the_folders_of_new_relics_agent(package: Make, tmp_path: Path) -> None:
    root = tmp_path / "image"
    done = install(package(Kind.OHI), newrelic_place(root))
    file = root / "etc/newrelic-infra/integrations.d/queue-depth.yml"
    (entry,) = yaml.safe_load(file.read_text())["integrations"]
    there = "/var/db/newrelic-infra/custom-integrations/queue-depth/current"
    assert entry["exec"] == [f"{there}/queue-depth"] and entry["working_dir"] == there
    assert (root / there[1:] / "queue-depth").resolve() == done.folder / "queue-depth"


def test_packages_for_other_machines_are_refused(
    new_project: Make, packages: Make, agent: Path, machine: Form
) -> None:
    folder = new_project(Kind.EXEC)
    for form in TARGETS.keys() - {machine}:
        (made,) = packages(folder, form)
        with pytest.raises(PackageError, match=f"is for {form}, and this machine is {machine}"):
            put(made.path, agent)
    assert not tree(agent).keys() - {"integrations/.lock"}


def test_what_a_killed_installation_has_left_goes_with_the_next(
    package: Make, agent: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file, left = package(), agent / "integrations" / ".new-of-a-killed-one"
    (left / "deep").mkdir(parents=True)
    (left / "deep" / "file").write_text("x")
    put(file, agent, dry=True)
    assert left.exists()
    put(file, agent)
    assert not list((agent / "integrations").glob(".new-*"))
    assert f"removed {left}" in caplog.text


def test_other_things_in_its_place_are_left(package: Make, agent: Path, tmp_path: Path) -> None:
    file, home = package(), agent / "integrations" / "queue-depth"
    home.parent.mkdir()
    home.write_text("mine")
    with pytest.raises(PackageError, match="was not installed by this command"):
        put(file, agent)
    home.unlink()
    home.symlink_to(tmp_path)
    with pytest.raises(PackageError, match="was not installed by this command"):
        put(file, agent)
    home.unlink()
    (home / "current").mkdir(parents=True)
    with pytest.raises(PackageError, match="current: is there"):
        put(file, agent)


def test_a_package_that_is_not_its_checksum_is_refused(package: Make, agent: Path) -> None:
    file = package()
    beside = file.with_name(file.name + ".sha256")
    beside.write_text("0" * 64 + beside.read_text()[64:])
    with pytest.raises(PackageError, match=r"is not what .*sha256 says"):
        put(file, agent)
    assert not list(agent.iterdir())
