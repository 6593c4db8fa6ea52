"""Changes to a folder, as they are recorded: files by number, as names come and go."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

SAID = "said "
"""What lines on standard output begin with that are written down."""


@dataclass(frozen=True, slots=True)
class Create:
    """A new, empty file with a name."""

    path: str
    file: int


@dataclass(frozen=True, slots=True)
class Write:
    """Bytes of a file."""

    file: int
    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Truncate:
    """Another size of a file."""

    file: int
    size: int


@dataclass(frozen=True, slots=True)
class SyncFile:
    """What a file holds is durable now."""

    file: int


@dataclass(frozen=True, slots=True)
class SyncFolder:
    """The names in a folder are durable now."""

    path: str


@dataclass(frozen=True, slots=True)
class Rename:
    """Another name, in the place of what had it."""

    source: str
    target: str


@dataclass(frozen=True, slots=True)
class Link:
    """One more name of a file."""

    source: str
    target: str


@dataclass(frozen=True, slots=True)
class Remove:
    """A name that is gone: of a file, or of an empty folder."""

    path: str


@dataclass(frozen=True, slots=True)
class MakeFolder:
    """A new folder."""

    path: str


@dataclass(frozen=True, slots=True)
class Say:
    """A line on standard output: what others have been told by now."""

    line: str


Operation: TypeAlias = (
    Create | Write | Truncate | SyncFile | SyncFolder | Rename | Link | Remove | MakeFolder | Say
)
