"""Packages of new projects, and archives that nobody would build."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from metricsmith.integration.kinds import Kind
from metricsmith.integration.package import layout
from metricsmith.integration.package.build import Order, build
from metricsmith.integration.package.layout import Built, Entry, Manifest
from metricsmith.integration.package.targets import Form, here
from metricsmith.integration.project import read_project
from metricsmith.integration.scaffold import write_project

Make = Callable[..., Path]


@pytest.fixture(autouse=True)
def _no_cache_of_people(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs unpack into the home folder of who runs them."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home" / "cache"))
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)


@pytest.fixture
def machine() -> Form:
    """The target that this machine is."""
    found = here()
    assert found is not None
    return found


def built(folder: Path, *forms: Form, version: str = "0.1.0", out: Path | None = None) -> list[Built]:
    order = Order(forms, version, out=out or folder / "dist")
    return build(read_project(folder), order, lambda text: None)


@pytest.fixture
def packages() -> Callable[..., list[Built]]:
    """Build packages of a project."""
    return built


@pytest.fixture
def package(tmp_path: Path, machine: Form) -> Make:
    """Build the package of a new project for this machine; return its file."""

    def make(
        kind: Kind = Kind.EXEC, version: str = "0.1.0", change: tuple[str, str, str] | None = None
    ) -> Path:
        folder = tmp_path / "projects" / f"{kind.value}-{version}"
        write_project("queue-depth", kind, folder, force=True)
        if change is not None:
            file, old, new = change
            text = (folder / file).read_text()
            assert old in text
            (folder / file).write_text(text.replace(old, new))
        return built(folder, machine, version=version, out=tmp_path / f"dist-{kind.value}-{version}")[0].path

    return make


@pytest.fixture
def hostile(tmp_path: Path) -> Callable[..., Path]:
    """Write an archive from members, each a header and its data."""

    def write(*members: tuple[tarfile.TarInfo, bytes], end: bytes = bytes(1024)) -> Path:
        packed = io.BytesIO()
        for info, data in members:
            info.size = info.size or len(data)
            packed.write(info.tobuf(tarfile.USTAR_FORMAT if not info.pax_headers else tarfile.PAX_FORMAT))
            packed.write(data + bytes(-len(data) % 512))
        path = tmp_path / "hostile.tar.gz"
        path.write_bytes(gzip.compress(packed.getvalue() + end, mtime=0))
        return path

    return write


@pytest.fixture
def contents(machine: Form) -> dict[str, Entry]:
    """The least that a package holds."""
    manifest = Manifest(name="queue-depth", version="1.0.0", target=machine.value)
    files = {layout.MANIFEST: Entry(manifest.encode()), "program": Entry(b"#!/bin/sh\n", 0o755)}
    return {**files, layout.SUMS: Entry(layout.sums_of(files))}


@pytest.fixture
def top(machine: Form) -> str:
    """The folder in that package."""
    return f"queue-depth-1.0.0-{machine.value}"
