"""The image: what its Dockerfile says, checked by a linter and by making the same layout with plain commands.

No container engine is needed: what the last stage holds is put into a folder, and run there by a user
who may write nothing but the data folder.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

import pytest

from metricsmith.integration.generate import pods
from metricsmith.integration.generate.configured import Configured
from metricsmith.integration.generate.image import USER
from metricsmith.integration.generate.roles import roles
from metricsmith.testing.services import free_port

Configure = Callable[..., Configured]
ROOT = Path(__file__).parents[3]
Instruction = tuple[str, str]
LIMIT_S = 60


def stages() -> list[list[Instruction]]:
    """Return the instructions of each stage, what stands before the first aside."""
    text = re.sub(r"^\s*#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    found: list[list[Instruction]] = [[]]
    for line in re.sub(r"\\\n\s*", " ", text).splitlines():
        word, _, rest = line.strip().partition(" ")
        if word == "FROM":
            found.append([])
        if word:
            found[-1].append((word, rest))
    return found


def only(word: str, stage: list[Instruction]) -> str:
    (found,) = [rest for each, rest in stage if each == word]
    return found


def pins(file: str) -> set[tuple[str, str]]:
    """Names and versions. For which systems is left out: the tests need more than the image."""
    return {*re.findall(r"^([a-z0-9-]+)==(\S+)", (ROOT / file).read_text(), flags=re.MULTILINE)}


BEFORE, BUILD, LAST = stages()
PROGRAM = PurePosixPath(json.loads(only("ENTRYPOINT", LAST))[0])


def test_the_linter_has_nothing_to_say() -> None:
    beside = Path(sys.executable).with_name("hadolint")
    hadolint = str(beside) if beside.exists() else shutil.which("hadolint")
    if hadolint is None:
        pytest.skip("hadolint is not here")
    said = subprocess.run([hadolint, ROOT / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (said.returncode, said.stdout) == (0, "")


def test_the_base_is_one_image_and_no_other() -> None:
    assert ("ARG", "PYTHON_DIGEST") in BEFORE, "no default: one that is old would be taken unseen"
    for stage in (BUILD, LAST):
        assert only("FROM", stage).removesuffix(" AS build") == "${PYTHON_IMAGE}@${PYTHON_DIGEST}"


def test_the_last_stage_installs_nothing_and_is_not_root() -> None:
    ran = " ".join(rest for word, rest in LAST if word == "RUN")
    assert "uninstall" in ran and not re.search(r"(?<!un)install (?!--directory)|apt-get|curl|gcc", ran)
    assert only("USER", LAST) == f"{USER}:{USER}"
    assert [rest for word, rest in LAST if word == "COPY"] == [
        "--from=build /opt/metricsmith /opt/metricsmith"
    ]


def test_what_is_installed_is_pinned_with_hashes_and_needs_no_compiler() -> None:
    ran = " && ".join(rest for word, rest in BUILD if word == "RUN")
    for command in (each.strip() for each in ran.split("&&") if " install " in each):
        pinned = "--require-hashes --only-binary :all:" in command
        assert pinned or "--no-deps --no-index" in command, command


def test_versions_are_those_that_are_tested() -> None:
    tested = pins("requirements.lock")
    for file in ("deploy/requirements.lock", "deploy/build-requirements.lock"):
        assert pins(file) <= tested, f"{file}: run `make lock`"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    script = (ROOT / "tools/lock.sh").read_text()
    (command,) = [each for each in script.split("\n\n") if "deploy/requirements.lock" in each]
    extras = re.findall(r"--extra (\w+)", command)
    assert {"kafka", "oci", "notify"} <= {*extras}
    wanted = [
        *project["dependencies"],
        *(each for extra in extras for each in project["optional-dependencies"][extra]),
    ]
    names = {name for name, _ in pins("deploy/requirements.lock")}
    assert {re.split(r"[<>=; ]", each)[0].lower() for each in wanted} <= names


def test_what_is_copied_is_there_and_is_sent_to_the_builder() -> None:
    sent = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    for source in (each for word, rest in BUILD if word == "COPY" for each in rest.split()[:-1]):
        assert (ROOT / source).exists() and source in sent


@pytest.mark.parametrize("text", ["{}", "sources: [{type: host}]"])
def test_no_volume_hides_the_program(configure: Configure, text: str) -> None:
    (role,) = roles(configure(text))
    spec = pods.pod(role, configure(text).meaning.settings, "metricsmith:1", discovers=False)
    assert "command" not in spec["containers"][0], "the image's own program is run"
    for mount in spec["containers"][0]["volumeMounts"]:
        assert not PROGRAM.is_relative_to(mount["mountPath"])


@pytest.fixture(scope="session")
def image() -> Iterator[Path]:
    """What is in the image below /opt, made from the sources; libraries are those of the tests."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        root.chmod(0o755)
        (root / "src").mkdir()
        for source in ("pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(ROOT / source, root / "src")
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / "src/metricsmith", root / "src/src/metricsmith", ignore=ignore)
        venv = root / "opt/metricsmith"
        _run(_python(), "-m", "venv", "--without-pip", venv)
        (site,) = venv.glob("lib/python*/site-packages")
        _run(sys.executable, "-m", "pip", "wheel", *_QUIET, "--no-build-isolation", "-w", root, root / "src")
        (wheel,) = root.glob("*.whl")
        _run(
            sys.executable,
            "-m",
            "pip",
            "--python",
            venv / "bin/python",
            "install",
            *_QUIET,
            "--no-index",
            wheel,
        )
        (own,) = (
            p for p in map(Path, sys.path) if p.name == "site-packages" and p.is_relative_to(sys.prefix)
        )
        (site / "libraries.pth").write_text(f"{own}\n")
        yield root


_QUIET = ("--quiet", "--disable-pip-version-check", "--no-deps")


def _run(*command: str | Path) -> None:
    subprocess.run([str(part) for part in command], check=True, timeout=LIMIT_S, capture_output=True)


def _python() -> str:
    """Return a Python of this version that other users can start, if there is one."""
    for path in (
        f"/usr/bin/python3.{sys.version_info.minor}",
        f"/usr/local/bin/python3.{sys.version_info.minor}",
    ):
        if Path(path).exists():
            return path
    return sys.executable


def _as_user(python: Path) -> dict[str, int]:
    """Return how to start a program as the image's user, where that is possible here."""
    if os.getuid() != 0:
        return {}
    everybody = all(p.stat().st_mode & 0o001 for p in (python.resolve(), *python.resolve().parents))
    return {"user": USER, "group": USER} if everybody else {}


def test_the_layout_runs_as_its_user_on_a_root_that_is_read_only(image: Path, tmp_path: Path) -> None:
    program = image / PROGRAM.relative_to("/")
    data = image / "data"
    data.mkdir(mode=0o700)
    user = _as_user(image / "opt/metricsmith/bin/python")
    if user:
        os.chown(data, USER, USER)
    port = free_port()
    environment = {
        "PATH": f"{program.parent}:/usr/bin:/bin",
        "PYTHONDONTWRITEBYTECODE": "1",
        "METRICSMITH_STORAGE_PATH": str(data),
        "METRICSMITH_SERVER_LISTEN": f"127.0.0.1:{port}",
        "METRICSMITH_URL": f"http://127.0.0.1:{port}",
    }
    check = [str(image / part.lstrip("/")) if part.startswith("/") else part for part in _health_check()]
    before = sorted(image.glob("opt/**/*"))
    command = [program, *json.loads(only("CMD", LAST))]
    with (tmp_path / "log").open("wb") as log:
        agent = subprocess.Popen(command, env=environment, cwd=data, stderr=log, **user)  # type: ignore[call-overload]
        try:
            health = _until_it_lives(check, environment, agent, user)
        finally:
            agent.terminate()
            agent.wait(LIMIT_S)
    assert (health.returncode, health.stdout) == (0, "ready\n"), (tmp_path / "log").read_text()
    assert agent.returncode == 0
    gone = subprocess.run(check, env=environment, capture_output=True, timeout=LIMIT_S, check=False, **user)
    assert gone.returncode == 5
    assert sorted(image.glob("opt/**/*")) == before
    assert (data / "journal").is_dir()


def _health_check() -> list[str]:
    found: list[str] = json.loads(only("HEALTHCHECK", LAST).partition("CMD ")[2])
    return found


def _until_it_lives(
    check: list[str], environment: dict[str, str], agent: subprocess.Popen[bytes], user: dict[str, int]
) -> subprocess.CompletedProcess[str]:
    """Ask as an engine does, again and again, until it is well or has ended."""
    while True:
        found = subprocess.run(
            check, env=environment, capture_output=True, text=True, timeout=LIMIT_S, check=False, **user
        )
        if found.stdout == "ready\n" or agent.poll() is not None:
            return found
