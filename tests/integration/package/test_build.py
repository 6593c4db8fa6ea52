"""Packages: the same sources give the same bytes, wherever and whenever they are built."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from metricsmith.integration.kinds import Kind
from metricsmith.integration.package import declared, payload
from metricsmith.integration.package.layout import PackageError
from metricsmith.integration.package.targets import TARGETS, Form, here
from metricsmith.integration.project import read_project

Edit = Callable[[Path], Any]
MakeProject = Callable[..., Path]
Packages = Callable[..., Any]
MACHINES = tuple(TARGETS)


def files_in(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as tar:
        return {
            m.name.partition("/")[2]: opened.read()
            for m in tar.getmembers()
            if (opened := tar.extractfile(m)) is not None
        }


@pytest.mark.parametrize("kind", list(Kind))
def test_two_builds_are_the_same_bytes(
    kind: Kind, new_project: MakeProject, packages: Packages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = new_project(kind)
    former = os.umask(0o077)
    try:  # another folder, umask, time zone and time of every file
        other = tmp_path / "elsewhere" / "copy"
        shutil.copytree(one, other)
        for path in other.rglob("*"):
            os.utime(path, (1_000_000_000, 1_000_000_000))
        monkeypatch.setenv("TZ", "Pacific/Apia")
        time.tzset()
        second = packages(other, *reversed(MACHINES), Form.OCI_IMAGE)
    finally:
        os.umask(former)
    monkeypatch.setenv("TZ", "America/Lima")
    time.tzset()
    first = packages(one, *MACHINES, Form.OCI_IMAGE)
    monkeypatch.undo()
    time.tzset()
    assert {each.path.name: each.sha256 for each in first} == {each.path.name: each.sha256 for each in second}
    for each in first[:-1]:
        assert each.path.read_bytes() == (other / "dist" / each.path.name).read_bytes()
    assert len({each.sha256 for each in first}) == 5


def test_the_folder_of_an_image_that_cannot_be_written_leaves_nothing(
    new_project: MakeProject, packages: Packages, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, write = new_project(Kind.EXEC), Path.write_bytes

    def full(self: Path, data: bytes) -> int:
        if self.name == "metricsmith.yaml":
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(self, data)

    (image,) = packages(folder, Form.OCI_IMAGE)
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        packages(folder, Form.OCI_IMAGE)
    assert [path.name for path in (folder / "dist").glob("*oci-image")] == [image.path.name]
    assert not list((folder / "dist").glob(".new-*"))


def test_the_time_of_files_is_that_of_the_environment(
    new_project: MakeProject, packages: Packages, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = new_project()
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    (made,) = packages(folder, Form.LINUX_AMD64)
    with tarfile.open(made.path) as tar:
        assert {(m.mtime, m.uid, m.gid, m.uname) for m in tar} == {(1_700_000_000, 0, 0, "")}
    document = json.loads(files_in(made.path)["sbom.cdx.json"])
    assert document["metadata"]["timestamp"] == "2023-11-14T22:13:20Z"
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "yesterday")
    with pytest.raises(PackageError, match='SOURCE_DATE_EPOCH: got "yesterday"'):
        packages(folder, Form.LINUX_AMD64)


@pytest.mark.parametrize("kind", list(Kind))
def test_a_package_has_all_that_agents_and_people_read(
    kind: Kind, new_project: MakeProject, packages: Packages, tmp_path: Path
) -> None:
    (made,) = packages(new_project(kind), Form.LINUX_AMD64, version="1.2.3")
    assert made.path.name == "queue-depth-1.2.3-linux-amd64.tar.gz"
    subprocess.run(
        ["sha256sum", "--check", "--quiet", f"{made.path.name}.sha256"], cwd=made.path.parent, check=True
    )
    subprocess.run(["tar", "xzf", made.path, "-C", tmp_path], check=True)
    folder = tmp_path / "queue-depth-1.2.3-linux-amd64"
    subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=folder, check=True)
    assert os.access(folder / "queue-depth", os.X_OK)
    definition = yaml.safe_load((folder / "definition.yml").read_text())
    assert definition["commands"]["metrics"] == {"command": ["./queue-depth"], "interval": 30}
    for name in ("integrations.d/queue-depth.yml", "config.yml.sample"):
        (entry,) = yaml.safe_load((folder / name).read_text())["integrations"]
        assert entry["exec"] == ["./queue-depth"] and entry["interval"] == "30s"
    declared = read_project(folder).declaration
    assert declared.integration.version == "1.2.3" and declared.integration.kind is not Kind.PYTHON
    assert not (folder / "tests").exists() and not (folder / "recordings").exists()


@pytest.mark.parametrize("end", ["\n", "\r", "\x85", "\u2028", "\u2029"])
def test_no_text_ends_its_comment(end: str, new_project: MakeProject, edit: Edit) -> None:
    folder = new_project(Kind.EXEC)
    text = json.dumps(f"a{end}evil: 1{end}- b")
    setting = f"settings:\n  - {{name: TEXT, help: {text}, default: {text}}}\n"
    edit(folder).replace("integration.yaml", "settings:\n", setting)
    edit(folder).replace("integration.yaml", "description: ", f"description: {text} # ")
    declaration = read_project(folder).declaration
    sample = yaml.safe_load(declared.sample(declaration))
    assert list(sample) == ["integrations"]
    assert sample["integrations"][0]["env"]["TEXT"] == f"a{end}evil: 1{end}- b"


@pytest.mark.parametrize(("form", "system"), [(Form.LINUX_ARM64, "linux"), (Form.DARWIN_ARM64, "darwin")])
def test_definitions_say_the_system_that_a_package_is_for(
    form: Form, system: str, new_project: MakeProject, packages: Packages
) -> None:
    (made,) = packages(new_project(Kind.EXEC), form)
    assert yaml.safe_load(files_in(made.path)["definition.yml"])["os"] == system


def test_the_list_of_parts_names_each_file_and_library(new_project: MakeProject, packages: Packages) -> None:
    (made,) = packages(new_project(), Form.LINUX_AMD64)
    inside = files_in(made.path)
    document = json.loads(inside["sbom.cdx.json"])
    assert (document["bomFormat"], document["specVersion"]) == ("CycloneDX", "1.5")
    listed = {c["name"]: c["hashes"][0]["content"] for c in document["components"] if c["type"] == "file"}
    assert listed["queue-depth"] == hashlib.sha256(inside["queue-depth"]).hexdigest()
    assert listed.keys() == inside.keys() - {"sbom.cdx.json", "SHA256SUMS"}
    references = [part["bom-ref"] for part in document["components"]]
    assert len(set(references)) == len(references)
    root = document["metadata"]["component"]["bom-ref"]
    needed = {each["ref"]: each["dependsOn"] for each in document["dependencies"]}
    assert set(needed[root]) <= set(references) and any("metricsmith" in ref for ref in needed[root])


def wheel(folder: Path, name: str, tag: str, files: dict[str, bytes]) -> None:
    """Write a wheel that pip takes."""
    meta = f"{name}-1.0.dist-info"
    pure = str(tag.endswith("any")).lower()
    files = {
        **files,
        f"{meta}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\nLicense: MIT\n".encode(),
        f"{meta}/WHEEL": f"Wheel-Version: 1.0\nRoot-Is-Purelib: {pure}\nTag: {tag}\n".encode(),
        f"{meta}/RECORD": b"",
    }
    with zipfile.ZipFile(folder / f"{name}-1.0-{tag}.whl", "w") as archive:
        for path, data in files.items():
            archive.writestr(path, data)


PYTHON = f"{sys.version_info.major}{sys.version_info.minor}"
TAGS = {
    Form.LINUX_AMD64: "manylinux_2_28_x86_64",
    Form.LINUX_ARM64: "manylinux2014_aarch64",
    Form.DARWIN_AMD64: "macosx_10_12_x86_64",
    Form.DARWIN_ARM64: "macosx_11_0_arm64",
}


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of wheels, the only place that pip looks in."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    wheel(folder, "purelib", "py3-none-any", {"purelib.py": b"WAITING = 'waiting'\n"})
    for form, tag in TAGS.items():
        wheel(
            folder,
            "native",
            f"cp{PYTHON}-cp{PYTHON}-{tag}",
            {"native.py": f"FOR = '{form.value}'\n".encode()},
        )
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def with_libraries(folder: Path, edit: Edit, libraries: str) -> None:
    edit(folder).replace("pyproject.toml", '["metricsmith"]', f'["metricsmith>=0.1", {libraries}]')
    edit(folder).replace("queue_depth.py", "import json\n", "import json\nimport native\nimport purelib\n")
    edit(folder).replace(
        "queue_depth.py", 'queue["waiting"], labels', 'queue[purelib.WAITING], {**labels, "on": native.FOR}'
    )


def test_each_machine_has_its_own_libraries(
    new_project: MakeProject, edit: Edit, packages: Packages, shelf: Path, machine: Form
) -> None:
    """Those of other machines cannot run here: what is in them is looked at."""
    folder = new_project()
    with_libraries(folder, edit, '"native", "purelib"')
    made = packages(folder, *MACHINES)
    for each in made:
        assert each.libraries == 2
        inside = files_in(each.path)
        with zipfile.ZipFile(io.BytesIO(inside["queue-depth"])) as program:
            assert each.form.value in program.read("site/native.py").decode()
            assert program.read("site/purelib.py")
        parts = {part["name"]: part for part in json.loads(inside["sbom.cdx.json"])["components"]}
        assert parts["native"]["purl"] == "pkg:pypi/native@1.0"
        (file,) = shelf.glob(f"native-*{TAGS[each.form]}.whl")
        assert parts["native"]["hashes"][0]["content"] == hashlib.sha256(file.read_bytes()).hexdigest()
        assert parts["purelib"]["licenses"] == [{"license": {"name": "MIT"}}]
    program_here = folder / "program"
    program_here.write_bytes(files_in(next(m.path for m in made if m.form == machine))["queue-depth"])
    done = subprocess.run([sys.executable, program_here], capture_output=True, text=True, check=True)
    (dataset,) = json.loads(done.stdout)["data"]
    assert {m["attributes"].get("on") for m in dataset["metrics"]} == {machine.value, None}


@pytest.mark.parametrize(
    ("library", "told"),
    [
        ('"missing-thing"', r"missing-thing for linux-arm64 and Python 3\.\d+: pip: .*no such wheel"),
        ('"purelib>=2"', "purelib>=2 for linux-arm64"),
        ('"--index-url=x"', "wanted NAME>=VERSION"),
    ],
)
def test_libraries_that_are_not_there_are_told(
    library: str, told: str, new_project: MakeProject, edit: Edit, packages: Packages, shelf: Path
) -> None:
    folder = new_project()
    edit(folder).replace("pyproject.toml", '["metricsmith"]', f"[{library}]")
    with pytest.raises(PackageError, match=told) as refused:
        packages(folder, Form.LINUX_ARM64)
    assert "://" not in str(refused.value)
    assert not (folder / "dist").exists()


def test_no_network_is_told(
    new_project: MakeProject, edit: Edit, packages: Packages, shelf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = new_project()
    edit(folder).replace("pyproject.toml", '["metricsmith"]', '["away"]')
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_INDEX_URL", "http://user:secret@127.0.0.1:9/simple")
    with pytest.raises(PackageError, match="the package index is away; PIP_FIND_LINKS") as refused:
        packages(folder, Form.LINUX_AMD64)
    assert "secret" not in str(refused.value) and "127.0.0.1" not in str(refused.value)


def test_locked_libraries_are_taken_by_their_hash(
    new_project: MakeProject, edit: Edit, packages: Packages, shelf: Path
) -> None:
    folder = new_project()
    digest = hashlib.sha256((shelf / "purelib-1.0-py3-none-any.whl").read_bytes()).hexdigest()
    (folder / "requirements.lock").write_text(f"purelib==1.0 --hash=sha256:{digest}\n")
    assert packages(folder, Form.LINUX_AMD64)[0].libraries == 1
    (folder / "requirements.lock").write_text(f"purelib==1.0 --hash=sha256:{'0' * 64}\n")
    with pytest.raises(PackageError, match=r"requirements.lock for linux-amd64"):
        packages(folder, Form.LINUX_AMD64)


@pytest.mark.parametrize(
    ("file", "old", "new", "told"),
    [
        (
            "integration.yaml",
            "[sample.json]",
            "[samples/*.json]",
            r"which no file is called \(integration.yaml:10\)",
        ),
        ("integration.yaml", "[sample.json]", "[integration.yaml]", "have a file of that name of their own"),
        ("integration.yaml", "[sample.json]", "[leak.txt]", "leads out of the project"),
        (
            "queue_depth.py",
            "import json\n",
            "import metricsmith.kafka\n",
            "queue_depth.py:5: imports metricsmith.kafka",
        ),
        ("queue_depth.py", "import json\n", "import json,\n", "queue_depth.py: is not Python"),
        ("pyproject.toml", '"metricsmith"', '"metricsmith[kafka]"', "packages have no extras"),
        ("pyproject.toml", '["metricsmith"]', "[", "pyproject.toml: "),
    ],
)
def test_what_cannot_be_packed_is_told(
    file: str, old: str, new: str, told: str, new_project: MakeProject, edit: Edit, packages: Packages
) -> None:
    folder = new_project()
    (folder / "leak.txt").symlink_to("/etc/hostname")
    edit(folder).replace(file, old, new)
    with pytest.raises(PackageError, match=told):
        packages(folder, Form.LINUX_AMD64)
    assert not (folder / "dist").exists()


def test_patterns_take_what_they_would_in_a_shell(new_project: MakeProject, edit: Edit) -> None:
    folder = new_project()
    for name in (".env", ".git/config", "data/a.txt", "data/.swp"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("x")
    edit(folder).replace("integration.yaml", "[sample.json]", '["*", "data/**/*"]')
    found = payload.project_files(read_project(folder)).keys()
    assert {"sample.json", "queue_depth.py", "README.md", "data/a.txt"} <= found
    assert not found & {".env", "data/.swp", "integration.yaml", ".gitignore"}
    edit(folder).replace("integration.yaml", '["*", "data/**/*"]', '[.env, "data/.s*"]')
    assert {".env", "data/.swp"} <= payload.project_files(read_project(folder)).keys()


def test_secrets_are_in_no_file(new_project: MakeProject, edit: Edit, packages: Packages) -> None:
    folder = new_project(Kind.EXEC)
    secret = "settings:\n  - {name: TOKEN, help: A token., secret: true, example: tok-example}\n"
    edit(folder).replace("integration.yaml", "settings:\n", secret)
    (made,) = packages(folder, Form.LINUX_AMD64)
    inside = files_in(made.path)
    for name in ("config.yml.sample", "integrations.d/queue-depth.yml"):
        assert b"TOKEN" in inside[name] and b"tok-example" not in inside[name]


def test_a_script_with_libraries_is_packed_with_them(
    new_project: MakeProject, edit: Edit, packages: Packages, shelf: Path, machine: Form, tmp_path: Path
) -> None:
    folder = new_project(Kind.OHI)
    (folder / "pyproject.toml").write_text('[project]\nname = "x"\ndependencies = ["purelib"]\n')
    edit(folder).replace("queue-depth", "import urllib.request\n", "import urllib.request\nimport purelib\n")
    (made,) = packages(folder, machine)
    program = tmp_path / "program"
    program.write_bytes(files_in(made.path)["queue-depth"])
    done = subprocess.run([sys.executable, program], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["integration"]["name"] == "queue-depth"
    shell = new_project(Kind.EXEC)
    shutil.copy(folder / "pyproject.toml", shell)
    with pytest.raises(PackageError, match="what runs is no Python script"):
        packages(shell, machine)


def test_what_packages_have_of_metricsmith_needs_only_python() -> None:
    """The collector of a package runs where nothing is installed."""
    code = "import metricsmith.integration.inputs as i, metricsmith.integration.package.standalone as s"
    code += "; print(i.__file__, s.__file__)"
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("PYTHONPATH", raising=False)
        made = Path(os.environ["HOME"])
        for name, entry in payload.runtime().items():
            path = made / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(entry.data)
        done = subprocess.run(
            [sys.executable, "-S", "-c", code], cwd=made / "site", capture_output=True, text=True, check=True
        )
    assert done.stdout.strip().startswith(str(made))


def test_here_is_a_target() -> None:
    assert here() in TARGETS


def test_a_wheel_has_what_pyproject_says(
    new_project: MakeProject, edit: Edit, packages: Packages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_BUILD_ISOLATION", "0")  # pip's word for: with the build tool that is here
    folder = new_project()
    (made,) = packages(folder, Form.WHEEL)
    (again,) = packages(folder, Form.WHEEL, out=tmp_path / "again")
    assert made.sha256 == again.sha256
    with zipfile.ZipFile(made.path) as archive:
        assert archive.read("queue_depth.py") == (folder / "queue_depth.py").read_bytes()
        points = archive.read("queue_depth-0.1.0.dist-info/entry_points.txt").decode()
    assert "[metricsmith.collectors]\nqueue-depth = queue_depth" in points
    with pytest.raises(PackageError, match=r"got --version 9.9.9, wanted that of the project"):
        packages(folder, Form.WHEEL, version="9.9.9")


@pytest.mark.parametrize(
    ("command", "taken", "run"),
    [
        ("[./queue-depth, --all]", {"queue-depth"}, ["/opt/q/queue-depth", "--all"]),
        ("[lib/run.sh]", {"lib/run.sh"}, ["/opt/q/lib/run.sh"]),
        ("[sh, lib/run.sh, --all]", {"lib/run.sh"}, ["sh", "lib/run.sh", "--all"]),
        ("[/bin/sh, ./lib/run.sh, /x]", {"lib/run.sh"}, ["/bin/sh", "./lib/run.sh", "/x"]),
    ],
)
def test_command_lines_find_their_files(
    command: str, taken: set[str], run: list[str], new_project: MakeProject, edit: Edit
) -> None:
    folder = new_project(Kind.EXEC)
    (folder / "lib").mkdir()
    (folder / "lib" / "run.sh").write_text("#!/bin/sh\n")
    edit(folder).replace("integration.yaml", "[./queue-depth]", command)
    project = read_project(folder)
    assert payload.project_files(project).keys() == taken | {"sample.txt"}
    (entry,) = yaml.safe_load(declared.integration_file(project.declaration, "/opt/q"))["integrations"]
    assert (entry["exec"], entry["working_dir"]) == (run, "/opt/q")


def test_a_program_that_is_not_there_is_told(new_project: MakeProject, packages: Packages) -> None:
    folder = new_project(Kind.EXEC)
    (folder / "queue-depth").unlink()
    with pytest.raises(PackageError, match="queue-depth: cannot be read: No such file"):
        packages(folder, Form.LINUX_AMD64)
