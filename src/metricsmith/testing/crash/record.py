"""Watches a program and writes down its changes to a folder, in their order; or kills it at one of them.

A program of its own: `python -m metricsmith.testing.crash.record OUT FOLDER KILL_AT COMMAND…`. With KILL_AT
n, the program is killed (SIGKILL) when it is about to make its n-th change; 0 lets it run to its end.
"""

from __future__ import annotations

import os
import pickle
import sys
from dataclasses import dataclass, field
from pathlib import Path

from metricsmith.testing.crash.operations import (
    SAID,
    Create,
    Link,
    MakeFolder,
    Operation,
    Remove,
    Rename,
    Say,
    SyncFile,
    SyncFolder,
    Truncate,
    Write,
)
from metricsmith.testing.crash.ptrace import Call, watch

WRITE, PWRITE, OPEN, OPENAT, CREAT, FTRUNCATE = 1, 18, 2, 257, 85, 77
SYNCS = (74, 75)
RENAMES = {82: False, 264: True, 316: True}
LINKS = {86: False, 265: True}
REMOVES = {87: False, 84: False, 263: True}
FOLDERS = {83: False, 258: True}
"""System calls that name files; of some, each name follows the folder that it is relative to."""
NOT_UNDERSTOOD = {
    20: "writev", 296: "pwritev", 328: "pwritev2", 326: "copy_file_range", 40: "sendfile", 76: "truncate",
}  # fmt: skip
STANDARD_OUTPUT = 1


@dataclass(slots=True)
class Recorder:
    """The changes that a program has made to a folder, which is empty when it begins."""

    folder: str
    kill_at: int = 0
    found: list[Operation] = field(default_factory=list)
    _begun: int = 0
    _count: int = 0
    _names: dict[str, int] = field(default_factory=dict)
    _files: dict[tuple[int, int], int] = field(default_factory=dict)

    def begins(self, call: Call) -> bool:
        """Return whether a call may be made."""
        if not self.kill_at or not self._is_change(call):
            return True
        self._begun += 1
        return self._begun < self.kill_at

    def ends(self, call: Call) -> None:
        """Write down what a call has changed."""
        if call.result >= 0:
            self.found += self._operations(call)

    def _is_change(self, call: Call) -> bool:
        number, (first, second, *_) = call.number, call.arguments
        if number in (OPEN, OPENAT, CREAT):
            path, flags = self._opened(call)
            return self._inside(path) and bool(flags & (os.O_CREAT | os.O_TRUNC))
        if number in (WRITE, PWRITE, FTRUNCATE, *SYNCS):
            return first != STANDARD_OUTPUT and self._inside(call.path_of(first))
        for calls in (RENAMES, LINKS, REMOVES, FOLDERS):
            if number in calls:
                at = calls[number]
                return self._inside(call.path_at(second, first) if at else call.path_at(first))
        return False

    def _operations(self, call: Call) -> list[Operation]:
        number, (first, second, third, fourth, _) = call.number, call.arguments
        if number in (OPEN, OPENAT, CREAT):
            return self._open(call)
        if number == WRITE and first == STANDARD_OUTPUT:
            lines = call.memory(second, call.result).decode().splitlines()
            return [Say(line.removeprefix(SAID)) for line in lines if line.startswith(SAID)]
        if number in (WRITE, PWRITE, FTRUNCATE, *SYNCS) or number in NOT_UNDERSTOOD:
            return self._change_file(call) if self._inside(call.path_of(first)) else []
        for calls, kind in ((RENAMES, Rename), (LINKS, Link)):
            if number in calls:
                at = calls[number]
                source = call.path_at(second, first) if at else call.path_at(first)
                target = call.path_at(fourth, third) if at else call.path_at(second)
                return self._move(source, target, kind) if self._inside(target) else []
        for calls in (REMOVES, FOLDERS):
            if number in calls:
                path = call.path_at(second, first) if calls[number] else call.path_at(first)
                if not self._inside(path):
                    return []
                name = self._name(path)
                if calls is FOLDERS:
                    return [MakeFolder(name)]
                self._names.pop(name, None)
                return [Remove(name)]
        return []

    def _opened(self, call: Call) -> tuple[str, int]:
        first, second, third, *_ = call.arguments
        if call.number == OPENAT:
            return call.path_at(second, first), third
        return call.path_at(first), os.O_CREAT | os.O_TRUNC if call.number == CREAT else second

    def _open(self, call: Call) -> list[Operation]:
        path, flags = self._opened(call)
        if not self._inside(path) or not flags & (os.O_CREAT | os.O_TRUNC):
            return []
        name = self._name(path)
        if name not in self._names:
            self._count += 1
            self._names[name] = self._files[call.identity(call.result)] = self._count
            return [Create(name, self._count)]
        return [Truncate(self._names[name], 0)] if flags & os.O_TRUNC else []

    def _change_file(self, call: Call) -> list[Operation]:
        descriptor, second, _, fourth, _ = call.arguments
        assert call.number not in NOT_UNDERSTOOD, f"{NOT_UNDERSTOOD[call.number]} has to be learnt"
        if call.is_folder(descriptor):
            return [SyncFolder(self._name(call.path_of(descriptor)))]
        file = self._files[call.identity(descriptor)]
        if call.number in SYNCS:
            return [SyncFile(file)]
        if call.number == FTRUNCATE:
            return [Truncate(file, second)]
        at = fourth if call.number == PWRITE else call.position(descriptor) - call.result
        return [Write(file, at, call.memory(second, call.result))]

    def _move(self, source: str, target: str, kind: type[Rename] | type[Link]) -> list[Operation]:
        old, new = self._name(source), self._name(target)
        moved = {n: n for n in self._names if n == old or n.startswith(f"{old}/")}
        for name in moved:
            self._names[new + name[len(old) :]] = self._names[name]
            if kind is Rename:
                del self._names[name]
        return [kind(old, new)]

    def _inside(self, path: str) -> bool:
        return path == self.folder or path.startswith(f"{self.folder}/")

    def _name(self, path: str) -> str:
        return os.path.relpath(path, self.folder)


def main(out: str, folder: str, kill_at: str, *command: str) -> int:
    """Record a program; return what its exit code says."""
    recorder = Recorder(os.path.realpath(folder), int(kill_at))
    code = watch(command, recorder.begins, recorder.ends)
    Path(out).write_bytes(pickle.dumps(recorder.found))
    return 0 if code == 0 or (recorder.kill_at and code == -9) else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
