"""Archives of strangers: nothing is written outside, only plain files, no more than is allowed."""

from __future__ import annotations

import gzip
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metricsmith.integration.package import layout, unpack
from metricsmith.integration.package.archive import tar_gz
from metricsmith.integration.package.layout import Entry, PackageError
from metricsmith.integration.package.unpack import Limits

Hostile = Callable[..., Path]


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", size: int = 0) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, size
    return info


def everything(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("../evil", "wanted a path inside"),
        ("/etc/evil", "wanted a path inside"),
        ("{top}/../../evil", "wanted a path inside"),
        ("{top}/a/../../evil", "wanted a path inside"),
        ("{top}/./evil", "wanted a path inside"),
        ("{top}//evil", "wanted a path inside"),
        ("{top}/..\\evil", "wanted a path inside"),
        ("{top}/new\nline", "wanted a path inside"),
        ("{top}/esc\x1b[2J", "wanted a path inside"),
        ("other/evil", "outside the one folder"),
        ("evil", "outside the one folder"),
        ("{top}/program", "twice"),
        ("{top}/PROGRAM", "twice"),
        ("{top}/program/inside", "twice"),
    ],
)
def test_paths_that_lead_elsewhere(
    name: str, told: str, hostile: Hostile, contents: dict[str, Entry], top: str, tmp_path: Path
) -> None:
    into = tmp_path / "deep" / "into"
    into.mkdir(parents=True)
    good = [(member(f"{top}/{path}"), entry.data) for path, entry in contents.items()]
    archive = hostile(*good, (member(name.format(top=top)), b"evil"))
    with pytest.raises(PackageError, match=told):
        unpack.unpack(archive, into)
    assert not any("evil" in path and not path.startswith("deep/into") for path in everything(tmp_path))


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        (tarfile.SYMTYPE, "a symbolic link"),
        (tarfile.LNKTYPE, "a hard link"),
        (tarfile.CHRTYPE, "a device"),
        (tarfile.BLKTYPE, "a device"),
        (tarfile.FIFOTYPE, "a pipe"),
        (tarfile.GNUTYPE_SPARSE, "a sparse file"),
        (tarfile.XHDTYPE, "an extended header"),
        (tarfile.GNUTYPE_LONGNAME, "an extended header"),
        (b"7", "is something"),
        (b"Z", "is something"),
    ],
)
def test_only_plain_files(kind: bytes, told: str, hostile: Hostile, top: str, tmp_path: Path) -> None:
    archive = hostile((member(f"{top}/thing", kind, "/etc/passwd"), b""))
    with pytest.raises(PackageError, match=f"{told}, wanted a regular file"):
        unpack.unpack(archive, tmp_path)
    assert everything(tmp_path) == {archive.name}


def test_limits_of_files_and_bytes(
    hostile: Hostile, contents: dict[str, Entry], top: str, tmp_path: Path
) -> None:
    good = [(member(f"{top}/{path}"), entry.data) for path, entry in contents.items()]
    many = [(member(f"{top}/f{n}"), b"") for n in range(20)]
    folders = [(member(f"{top}/d{n}", tarfile.DIRTYPE), b"") for n in range(30)]
    large = [(member(f"{top}/zeros"), bytes(100_000))]
    for number, (members, end, limits, told) in enumerate(
        [
            ((*good, *many), bytes(1024), Limits(files=10), "more than 10 files"),
            ((*good, *folders), bytes(1024), Limits(files=10), "more than 10 files"),
            ((*good, *large), bytes(1024), Limits(bytes=50_000), "zeros: is beyond 50000 bytes in all"),
            (good, bytes(1 << 20), Limits(bytes=50_000), "something after its end"),
            (good, bytes(1024), Limits(packed=100), "wanted at most 100"),
            (good, bytes(1024), Limits(small=10), "manifest.json: got .* bytes, wanted at most 10"),
            ([(member(f"{top}/x", size=1 << 32), b"")], b"", Limits(), "is beyond"),
            (good, bytes(512) + b"x" * 512, Limits(), "something after its end"),
            (good, b"", Limits(), "ends too early"),
            (good[:1], bytes(1024), Limits(), "has no SHA256SUMS"),
            (good[1:], bytes(1024), Limits(), "has no manifest.json"),
        ]
    ):
        into = tmp_path / f"into-{number}"
        into.mkdir()
        with pytest.raises(PackageError, match=told):
            unpack.unpack(hostile(*members, end=end), into, limits)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"program": b"#!/bin/sh\nevil\n"}, "program: is not what SHA256SUMS says"),
        ({"more": b"x"}, "more: is in the package and not in SHA256SUMS"),
        ({"program": None}, "program: is in SHA256SUMS and not in the package"),
        ({"SHA256SUMS": b"rubbish\n"}, "SHA256SUMS: line 1: wanted a checksum"),
    ],
)
def test_what_is_not_as_its_checksums_say(
    change: dict[str, bytes | None], told: str, contents: dict[str, Entry], top: str, tmp_path: Path
) -> None:
    files = {**contents, **{name: Entry(data) for name, data in change.items() if data is not None}}
    files = {name: entry for name, entry in files.items() if change.get(name, b"") is not None}
    archive = tmp_path / "changed.tar.gz"
    archive.write_bytes(tar_gz(top, files, 0))
    into = tmp_path / "into"
    into.mkdir()
    with pytest.raises(PackageError, match=told):
        unpack.unpack(archive, into)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"{", "manifest.json: JSON: "),
        (b'{"format": 2, "name": "a", "version": "1", "target": "x"}', "later metricsmith"),
        (b'{"name": "../a", "version": "1", "target": "x"}', "manifest.json: name"),
        (b'{"name": "a", "version": "1/../../x", "target": "x"}', "manifest.json: version"),
    ],
)
def test_manifests_that_are_none(text: bytes, told: str) -> None:
    with pytest.raises(PackageError, match=told):
        layout.read_manifest(text)


@given(place=st.integers(0, 1 << 16), bit=st.integers(0, 7))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_damaged_byte_is_refused_or_changes_nothing(
    place: int, bit: int, contents: dict[str, Entry], top: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    plain = bytearray(gzip.decompress(tar_gz(top, contents, 0)))
    plain[place % len(plain)] ^= 1 << bit
    folder = tmp_path_factory.mktemp("damaged")
    (folder / "a.tar.gz").write_bytes(gzip.compress(bytes(plain), 1))
    (folder / "into").mkdir()
    try:
        found = unpack.unpack(folder / "a.tar.gz", folder / "into")
    except PackageError:
        return
    for name, entry in contents.items():
        assert (found.folder / name).read_bytes() == entry.data


@given(data=st.binary(max_size=2000), packed=st.booleans())
def test_rubbish_is_refused(data: bytes, packed: bool, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("rubbish")
    (folder / "a.tar.gz").write_bytes(gzip.compress(data) if packed else data)
    (folder / "into").mkdir()
    with pytest.raises(PackageError):
        unpack.unpack(folder / "a.tar.gz", folder / "into")


@given(
    files=st.dictionaries(
        st.from_regex(r"[a-z0-9_.-]{1,20}(/[a-z0-9_.-]{1,20}){0,3}", fullmatch=True).filter(
            lambda name: not {".", ".."} & set(name.split("/"))
        ),
        st.binary(max_size=2000),
        max_size=8,
    )
)
def test_what_is_built_comes_back(files: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory) -> None:
    names = set(files)
    files = {n: d for n, d in files.items() if not any(o.startswith(f"{n}/") for o in names)}
    manifest = layout.Manifest(name="a", version="1.0.0", target="linux-amd64")
    entries = {name: Entry(data) for name, data in files.items()} | {
        layout.MANIFEST: Entry(manifest.encode())
    }
    entries[layout.SUMS] = Entry(layout.sums_of(entries))
    folder = tmp_path_factory.mktemp("built")
    (folder / "a.tar.gz").write_bytes(tar_gz(manifest.folder, entries, 0))
    (folder / "into").mkdir()
    found = unpack.unpack(folder / "a.tar.gz", folder / "into")
    assert {p: (found.folder / p).read_bytes() for p in entries} == {p: e.data for p, e in entries.items()}
    assert unpack.check_folder(found.folder).sums == found.sums
