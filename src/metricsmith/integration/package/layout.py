"""What is in a package: its files, its manifest, its checksums."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from metricsmith.errors import MetricsmithError
from metricsmith.integration.package.targets import Form
from metricsmith.integration.project import DECLARATION

MANIFEST = "manifest.json"
SUMS = "SHA256SUMS"
SBOM = "sbom.cdx.json"
DEFINITION = "definition.yml"
SAMPLE = "config.yml.sample"
FILES_FOLDER = "integrations.d"
OWN = frozenset((DECLARATION, MANIFEST, SUMS, SBOM, DEFINITION, SAMPLE))
"""Names at the top of a package that are not the project's."""
EXECUTABLE, PLAIN = 0o755, 0o644
MAX_NAME = 255
"""Characters of a path: what the oldest tar format can hold."""
_LINE = re.compile(r"([0-9a-f]{64})  (.+)", re.ASCII)


class PackageError(MetricsmithError):
    """A package cannot be built, read or installed."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A file of a package."""

    data: bytes
    mode: int = PLAIN


@dataclass(frozen=True, slots=True)
class Built:
    """A file or folder that was made; `libraries` counts the wheels in it."""

    form: Form
    path: Path
    bytes: int
    sha256: str
    libraries: int = 0

    def json(self) -> dict[str, object]:
        """Return it as plain data."""
        return {"target": self.form.value, "path": str(self.path), "bytes": self.bytes,
                "sha256": self.sha256, "libraries": self.libraries}  # fmt: skip


class Manifest(BaseModel):
    """What a package says of itself, for who installs it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    name: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$", max_length=50)]
    version: Annotated[str, StringConstraints(pattern=r"^[0-9][0-9A-Za-z.+-]*$", max_length=100)]
    target: str = Field(max_length=50)
    python: str | None = Field(None, max_length=20, description="Python that it needs; None for none.")

    @property
    def folder(self) -> str:
        """The only folder at the top of its archive."""
        return f"{self.name}-{self.version}-{self.target}"

    def encode(self) -> bytes:
        """Return it as JSON."""
        return self.model_dump_json(indent=2).encode() + b"\n"


def read_manifest(data: bytes) -> Manifest:
    """Return the manifest in a file.

    Raises:
        PackageError: it is none, or that of a later format.
    """
    try:
        return Manifest.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "JSON"
        hint = "was it built by a later metricsmith?"
        raise PackageError(f"{MANIFEST}: {where}: {first['msg']} ({hint})") from None


def sums_of(entries: Mapping[str, Entry]) -> bytes:
    """Return checksums as `sha256sum --check` reads them, by name."""
    lines = (f"{hashlib.sha256(entries[name].data).hexdigest()}  {name}\n" for name in sorted(entries))
    return "".join(lines).encode()


def read_sums(data: bytes) -> dict[str, str]:
    """Return the checksum of each file.

    Raises:
        PackageError: a line is none.
    """
    found: dict[str, str] = {}
    for number, line in enumerate(data.decode("utf-8", "replace").splitlines(), 1):
        match = _LINE.fullmatch(line)
        if match is None or match[2] in found:
            raise PackageError(f"{SUMS}: line {number}: wanted a checksum, two blanks and a new name")
        found[match[2]] = match[1]
    return found


def compare_sums(wanted: Mapping[str, str], got: Mapping[str, str]) -> None:
    """Refuse files that are not those of the checksums.

    Raises:
        PackageError: one is another, missing or too many; the first by name is told.
    """
    for name in sorted(wanted.keys() | got.keys()):
        if name not in got:
            raise PackageError(f"{name}: is in {SUMS} and not in the package")
        if name not in wanted:
            raise PackageError(f"{name}: is in the package and not in {SUMS}")
        if wanted[name] != got[name]:
            raise PackageError(f"{name}: is not what {SUMS} says (damaged or changed: get the package again)")


def check_path(path: str) -> str:
    """Return a path that stays inside a folder, on any system.

    Raises:
        PackageError: it is another.
    """
    parts = path.split("/")
    bad = not path or any(part in ("", ".", "..") for part in parts) or "\\" in path
    if bad or len(path.encode()) > MAX_NAME or not path.isprintable() or PurePosixPath(path).is_absolute():
        raise PackageError(f"got a file called {path[:80]!a}, wanted a path inside the package")
    return path
