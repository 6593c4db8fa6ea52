"""What a folder holds after a crash: of recorded changes, those that reached the disk.

After a kill that is all that was done before, and any part of a write that was under way. After a power cut
it is what was synced, and any part of the rest: data in any order, names in theirs, as on file systems with
a journal (ext4, XFS). That a file is synced does not make its name durable; that takes a sync of its folder.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from metricsmith.testing.crash.operations import (
    Create,
    Link,
    MakeFolder,
    Operation,
    Remove,
    Rename,
    SyncFile,
    SyncFolder,
    Truncate,
    Write,
)

SECTOR = 512
Naming = Create | Rename | Link | Remove | MakeFolder


@dataclass(slots=True)
class Disk:
    """Files by number, and their names; folders have None."""

    names: dict[str, int | None] = field(default_factory=dict)
    files: dict[int, bytearray] = field(default_factory=dict)

    def apply(self, operations: Iterable[Operation]) -> None:
        """Make changes."""
        for operation in operations:
            match operation:
                case Create(path, file):
                    self.names[path] = file
                    self.files.setdefault(file, bytearray())
                case Write(file, offset, data):
                    held = self.files.setdefault(file, bytearray())
                    held.extend(bytes(max(0, offset + len(data) - len(held))))
                    held[offset : offset + len(data)] = data
                case Truncate(file, size):
                    held = self.files.setdefault(file, bytearray())
                    held.extend(bytes(max(0, size - len(held))))
                    del held[size:]
                case MakeFolder(path):
                    self.names[path] = None
                case Remove(path):
                    del self.names[path]
                case Rename(source, target) | Link(source, target):
                    for name in [n for n in self.names if n == source or n.startswith(f"{source}/")]:
                        self.names[target + name[len(source) :]] = self.names[name]
                        if isinstance(operation, Rename):
                            del self.names[name]

    def write_to(self, folder: Path) -> None:
        """Make a folder that holds what this disk does."""
        folder.mkdir()
        for name in sorted(self.names.keys() - {"."}):  # a folder before what is in it
            file = self.names[name]
            if file is None:
                (folder / name).mkdir()
            else:
                (folder / name).write_bytes(self.files[file])


def after_kill(operations: Sequence[Operation], chance: random.Random | None = None) -> Disk:
    """Return what a killed program leaves; with `chance`, of a write that comes last only a part."""
    disk = Disk()
    disk.apply(operations[:-1])
    last = list(operations[-1:])
    if chance is not None and last and isinstance(last[0], Write):
        write = last[0]
        last = [Write(write.file, write.offset, write.data[: chance.randrange(len(write.data))])]
    disk.apply(last)
    return disk


def after_power_cut(operations: Sequence[Operation], chance: random.Random | None = None) -> Disk:
    """Return what is left when the power goes: what was synced, and with `chance` some of the rest."""
    naming = [(at, operation) for at, operation in enumerate(operations) if isinstance(operation, Naming)]
    durable = _durable_names(operations)
    if chance is not None:
        later = [at for at, _ in naming if at > durable]
        durable = later[chance.randrange(len(later))] if later and chance.random() < 0.7 else durable
    disk = Disk()
    disk.apply(operation for at, operation in naming if at <= durable)
    for file, changes in _changes_of_files(operations).items():
        disk.apply(_that_reached_the_disk(changes, chance))
        disk.files.setdefault(file, bytearray())
    return disk


def _durable_names(operations: Sequence[Operation]) -> int:
    """Return the last change of names that a sync of its folder has made durable, and so all before it."""
    touched: dict[str, int] = {}
    durable = -1
    for at, operation in enumerate(operations):
        match operation:
            case SyncFolder(path):
                durable = max(durable, touched.pop(path, -1))
            case Create(path=path) | Remove(path=path) | MakeFolder(path=path):
                touched[_parent(path)] = at
            case Rename(source, target) | Link(source, target):
                touched[_parent(source)] = touched[_parent(target)] = at
    return durable


def _parent(name: str) -> str:
    return name.rpartition("/")[0] or "."


def _changes_of_files(operations: Sequence[Operation]) -> dict[int, list[Write | Truncate | SyncFile]]:
    found: dict[int, list[Write | Truncate | SyncFile]] = {}
    for operation in operations:
        if isinstance(operation, Create):
            found.setdefault(operation.file, [])
        if isinstance(operation, Write | Truncate | SyncFile):
            found.setdefault(operation.file, []).append(operation)
    return found


def _that_reached_the_disk(
    changes: Sequence[Write | Truncate | SyncFile], chance: random.Random | None
) -> Iterable[Operation]:
    synced = max((at for at, change in enumerate(changes) if isinstance(change, SyncFile)), default=-1)
    yield from changes[: synced + 1]
    if chance is None:
        return
    share = chance.choice((0.0, 0.5, 1.0))
    for change in changes[synced + 1 :]:
        if isinstance(change, Truncate) and chance.random() < share:
            yield change
        elif isinstance(change, Write):
            for start in range(0, len(change.data), SECTOR):
                if chance.random() < share:
                    yield Write(change.file, change.offset + start, change.data[start : start + SECTOR])
