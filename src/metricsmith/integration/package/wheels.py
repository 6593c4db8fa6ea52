"""Libraries of a package: wheels that pip finds for another machine, taken apart."""

from __future__ import annotations

import email.parser
import hashlib
import io
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from metricsmith.integration.package.layout import Entry, PackageError, check_path
from metricsmith.integration.package.payload import LOCK, Needs
from metricsmith.integration.package.targets import Target

LIMIT_S = 600.0
MAX_BYTES = 1 << 30
_DATA = re.compile(r"[^/]+\.data/(purelib|platlib)/(.+)")
_LEFT_OUT = re.compile(r"[^/]+\.data/")
_ADDRESS = re.compile(r"[a-z+]+://\S+", re.IGNORECASE)
_AWAY = (
    "NewConnectionError",
    "Max retries",
    "Temporary failure",
    "Could not fetch URL",
    "Failed to establish",
)


@dataclass(frozen=True, slots=True)
class Library:
    """A wheel that went into a package."""

    name: str
    version: str
    licence: str
    sha256: str
    pure: bool


def libraries(needs: Needs, target: Target, python: str) -> tuple[dict[str, Entry], list[Library]]:
    """Return the files of all wheels, under `site/`, and what they are.

    Raises:
        PackageError: pip is missing, or cannot find them; with what pip said.
    """
    entries: dict[str, Entry] = {}
    found = []
    with tempfile.TemporaryDirectory(prefix="metricsmith-wheels-") as scratch:
        _download(needs, target, python, Path(scratch))
        for path in sorted(Path(scratch).glob("*.whl")):
            data = path.read_bytes()
            taken = _taken_apart(path.name, data)
            for name in entries.keys() & taken.keys():
                if entries[name] != taken[name]:
                    raise PackageError(f"{path.name}: {name} is another in another library")
            entries |= taken
            found.append(_library(path.name, data, taken))
    return entries, found


def run_pip(
    arguments: Sequence[str],
    what: str,
    folder: Path | None = None,
    variables: Mapping[str, str] | None = None,
) -> None:
    """Run pip, whose index and settings are those of the machine, with more environment `variables`.

    Raises:
        PackageError: it is not there, takes too long or fails; with what it said, without addresses.
    """
    command = [sys.executable, "-m", "pip", "--no-input", "--disable-pip-version-check"]
    try:
        done = subprocess.run(
            [*command, *arguments],
            cwd=folder, env={**os.environ, **(variables or {})},
            capture_output=True, text=True, errors="replace",
            timeout=LIMIT_S, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise PackageError(f"{what}: pip took longer than {LIMIT_S:.0f} s") from None
    if done.returncode == 0:
        return
    said = done.stderr + done.stdout
    if "No module named pip" in said:
        raise PackageError(f"{what}: there is no pip for {sys.executable} (python -m ensurepip makes one)")
    errors = [line.removeprefix("ERROR: ") for line in said.splitlines() if line.startswith("ERROR:")]
    told = _ADDRESS.sub("…", " / ".join(errors[:3]) or said.strip()[-200:])
    hint = "no such wheel; another --python may have one"
    if any(sign in said for sign in _AWAY):
        hint = "the package index is away; PIP_FIND_LINKS can name a folder with wheels, with PIP_NO_INDEX=1"
    raise PackageError(f"{what}: pip: {told} ({hint})")


def _download(needs: Needs, target: Target, python: str, folder: Path) -> None:
    wanted = needs.lock
    if wanted is None:
        wanted = folder / "requirements.txt"
        wanted.write_text("".join(f"{line}\n" for line in needs.requirements), encoding="utf-8")
    platforms = [word for platform in target.platforms for word in ("--platform", platform)]
    arguments = [
        "download", "--quiet", "--only-binary=:all:", "--dest", str(folder), "--retries", "1",
        "--implementation", "cp", "--python-version", python, *platforms, "-r", str(wanted.absolute()),
    ]  # fmt: skip
    where = LOCK if needs.lock else ", ".join(needs.requirements)[:100]
    run_pip(arguments, f"{where} for {target.form} and Python {python}")


def _taken_apart(wheel: str, data: bytes) -> dict[str, Entry]:
    found: dict[str, Entry] = {}
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        if sum(info.file_size for info in archive.infolist()) > MAX_BYTES:
            raise PackageError(f"{wheel}: is over {MAX_BYTES >> 20} MiB unpacked")
        for info in archive.infolist():
            moved = _DATA.fullmatch(info.filename)
            name = moved[2] if moved else info.filename
            if not info.is_dir() and (
                moved or not _LEFT_OUT.match(name)
            ):  # scripts, headers: nobody calls them
                found[f"site/{check_path(name)}"] = Entry(archive.read(info))
    return found


def _library(wheel: str, data: bytes, taken: dict[str, Entry]) -> Library:
    parts = wheel.removesuffix(".whl").split("-")
    own = next(_metadata(taken), b"")
    fields = email.parser.BytesHeaderParser().parsebytes(own)
    licence = fields.get("License-Expression") or fields.get("License") or ""
    one_line = licence.strip() if len(licence) <= 100 and "\n" not in licence.strip() else ""
    digest = hashlib.sha256(data).hexdigest()
    return Library(fields.get("Name") or parts[0], parts[1], one_line, digest, parts[-1] == "any")


def _metadata(taken: dict[str, Entry]) -> Iterator[bytes]:
    return (entry.data for name, entry in taken.items() if name.count("/") == 2
            and name.endswith(".dist-info/METADATA"))  # fmt: skip
