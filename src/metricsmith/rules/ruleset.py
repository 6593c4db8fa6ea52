"""Which rule files there are, and what each gave: its groups, its mistakes, or what it gave before."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

from metricsmith.errors import Problem
from metricsmith.rules.files import RuleFile, read_rule_file
from metricsmith.rules.model import Engine, Group

MAX_FILES = 1000
Signature: TypeAlias = Mapping[str, tuple[int, ...] | None]
"""Of each file its device, number, size and time of change; None for one that cannot be looked at."""


@dataclass(frozen=True, slots=True)
class RuleSet:
    """All rule files, in a stable order; `missing` are problems of names that gave no file."""

    files: tuple[RuleFile, ...] = ()
    missing: tuple[Problem, ...] = ()

    @property
    def groups(self) -> tuple[Group, ...]:
        """The groups of all files, in order."""
        return tuple(group for file in self.files for group in file.groups)

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Every mistake in every file."""
        return (*self.missing, *(problem for file in self.files for problem in file.problems))

    @property
    def notes(self) -> tuple[Problem, ...]:
        """What authors should know although it works."""
        return tuple(note for file in self.files for note in file.notes)

    def keeping(self, previous: RuleSet) -> RuleSet:
        """Return this set where each file with mistakes has the groups that it had in the previous one.

        A bad file never replaces a good one. One that was not there before gives
        those of its rules that have no mistake.
        """
        before = {file.name: file.groups for file in previous.files}
        files = [
            replace(file, groups=before.get(file.name, file.groups)) if file.problems else file
            for file in self.files
        ]
        gone = {problem.file for problem in self.missing}
        kept = [file for file in previous.files if file.name in gone]
        return RuleSet((*files, *kept), self.missing)


def load_rules(
    patterns: Iterable[str], engine: Engine, *, default_interval_ms: int, base: Path | None = None
) -> RuleSet:
    """Return what the files of names and globs hold; relative ones stand beside `base`.

    Files come in the order of the patterns, those of a glob sorted, each once.
    A glob that matches nothing is no mistake, a name without file is one.
    """
    names, missing = _names(patterns, base)
    return read_files(names, engine, default_interval_ms, missing)


def signature(patterns: Iterable[str], base: Path | None = None) -> Signature:
    """Return what differs when `load_rules` would read something else, found without reading."""
    found: dict[str, tuple[int, ...] | None] = {}
    for name in _names(patterns, base)[0]:
        try:
            stat = Path(name).stat()
        except OSError:
            found[name] = None
        else:
            found[name] = (stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns)
    return found


def _names(patterns: Iterable[str], base: Path | None) -> tuple[list[str], list[Problem]]:
    names: dict[str, None] = {}
    missing: list[Problem] = []
    for pattern in patterns:
        found = list(matching(pattern, base))
        if not found and not glob.has_magic(pattern):
            missing.append(Problem("", "got no such file, wanted a rule file", _place(pattern, base)))
        names.update(dict.fromkeys(found))
    if len(names) > MAX_FILES:
        missing.append(Problem("", f"got {len(names)} rule files, wanted at most {MAX_FILES}"))
    return list(names)[:MAX_FILES], missing


def read_files(
    names: Sequence[str], engine: Engine, default_interval_ms: int, missing: Sequence[Problem] = ()
) -> RuleSet:
    """Return what files of these names hold."""
    files = tuple(read_rule_file(name, engine, default_interval_ms) for name in names)
    return RuleSet(files, tuple(missing))


def matching(pattern: str, base: Path | None = None) -> Iterator[str]:
    """Yield the files that a name or a glob stands for, sorted."""
    place = _place(pattern, base)
    if not glob.has_magic(pattern):
        if os.path.lexists(place):
            yield place
        return
    # Not Path.glob: it knows no absolute patterns.
    yield from sorted(match for match in glob.glob(place, recursive=True) if not Path(match).is_dir())  # noqa: PTH207


def _place(pattern: str, base: Path | None) -> str:
    return str((base or Path()) / pattern)
