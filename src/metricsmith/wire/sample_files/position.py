"""How far a folder of samples is written: which files are open, how long they are, which batch was the last.

One line each time, checksum and JSON, appended and forced to the disk after the samples are. The last
whole line counts: what files have beyond it was never acknowledged.
"""

from __future__ import annotations

import zlib
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import orjson

POSITION_FILE = "metrics.position"
MAX_BYTES = 1 << 20
"""A longer file is begun anew with its last line."""
_TAIL_BYTES = 1 << 16
_READ_BYTES = 8 << 20


@dataclass(frozen=True, slots=True)
class OpenFile:
    """How much of a current file counts.

    Units:
        bytes: from the file's beginning. first_ms, last_ms: times of samples, None without any.
    """

    bytes: int = 0
    samples: int = 0
    first_ms: int | None = None
    last_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Position:
    """`sequence` is the last batch delivered, of the journal called `journal`, in its run `life`."""

    journal: str = ""
    life: int = 0
    sequence: int = -1
    newest_ms: int | None = None
    files: dict[str, OpenFile] = field(default_factory=dict)


def pack_position(position: Position) -> bytes:
    """Return a position as a line."""
    text = orjson.dumps(asdict(position))
    return b"%08x %s\n" % (zlib.crc32(text), text)


def read_position(folder: Path) -> Position | None:
    """Return a folder's position; None where none is noted.

    Raises:
        OSError: it cannot be read.
    """
    try:
        with (folder / POSITION_FILE).open("rb") as file:
            file.seek(max(0, file.seek(0, 2) - _TAIL_BYTES))
            found = _last(file.read(_READ_BYTES))
            if found is None:
                file.seek(0)
                found = _last(file.read(_READ_BYTES))
            return found
    except FileNotFoundError:
        return None


def _last(data: bytes) -> Position | None:
    for line in reversed(data.split(b"\n")[:-1]):  # a last line without its end was being written
        found = _unpack(line)
        if found is not None:
            return found
    return None


def _unpack(line: bytes) -> Position | None:
    checksum, _, text = line.partition(b" ")
    if checksum != b"%08x" % zlib.crc32(text):
        return None
    try:
        fields: dict[str, Any] = orjson.loads(text)
        files = {name: OpenFile(**each) for name, each in fields.pop("files").items()}
        return Position(**fields, files=files)
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
