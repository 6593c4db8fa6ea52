"""The collectors of a source: what files and modules hold now, the last good version of each."""

from __future__ import annotations

import asyncio
import glob
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeAlias

from metricsmith.model.clock import Clock
from metricsmith.sources.python import load
from metricsmith.sources.python.find import Unit
from metricsmith.sources.python.settings import PythonConfig
from metricsmith.sources.python.threads import Threads

MAX_FILES = 1000
Mark: TypeAlias = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Refusal:
    """Something that cannot be used: what, why (a short constant), and a message that says where."""

    what: str
    reason: str
    message: str


@dataclass(slots=True)
class _Held:
    """What a file or module gave when it was last good."""

    mark: Mark | None
    units: list[Unit] = field(default_factory=list)
    refusal: Refusal | None = None


class Catalogue:
    """Reads what has changed; what cannot be read leaves what it gave before."""

    def __init__(self, config: PythonConfig, threads: Threads, clock: Clock) -> None:
        self._config, self._threads, self._clock = config, threads, clock
        self._held: dict[str, _Held] = {}
        self._news: list[Refusal] = []
        self._told: frozenset[Refusal] = frozenset()
        self._installed = False

    async def look(self) -> bool:
        """Read what is new or has changed; return whether anything was."""
        changed = False
        if not self._installed:
            self._installed = changed = True
            for name in self._config.modules:
                await self._read(name, None, partial(load.load_module, name))
            for point in load.offered() if self._config.entry_points else ():
                name = f"{load.ENTRY_POINTS}: {point.name}"
                await self._read(name, None, partial(load.load_entry_point, point))
        marks = await asyncio.to_thread(marks_of, self._config)
        for path in [p for p, held in self._held.items() if held.mark is not None and p not in marks]:
            del self._held[path]
            changed = True
        for path, mark in marks.items():
            if path not in self._held or self._held[path].mark != mark:
                changed = True
                await self._read(path, mark, partial(load.load_file, path))
        return changed

    def chosen(self) -> tuple[dict[str, Unit], tuple[Refusal, ...]]:
        """Return the collectors to run by name, and what is refused."""
        refusals = [held.refusal for held in self._held.values() if held.refusal is not None]
        chosen: dict[str, Unit] = {}
        describers: dict[str, str] = {}
        for unit in (unit for held in self._held.values() for unit in held.units):
            own = self._config.collectors.get(unit.name)
            if own is not None and not own.enabled:
                continue
            refusal = self._against(unit, chosen, describers)
            if refusal is not None:
                refusals.append(refusal)
                continue
            chosen[unit.name] = unit
            describers.update(dict.fromkeys(unit.described, unit.name))
        refusals += self._unknown()
        self._news = [refusal for refusal in refusals if refusal not in self._told]
        self._told = frozenset(refusals)
        return chosen, tuple(refusals)

    def take_news(self) -> list[Refusal]:
        """Return the refusals that are new since the choice before the last."""
        taken, self._news = self._news, []
        return taken

    def _against(self, unit: Unit, chosen: dict[str, Unit], describers: dict[str, str]) -> Refusal | None:
        """Return why a collector is not run, None when it is."""
        other = chosen.get(unit.name)
        if other is not None:
            message = f"{unit.origin}: collector {unit.name} is there already, from {other.origin}"
            return Refusal(unit.origin, "same_name", f'{message} (give it a name="…")')
        for metric in unit.described:
            if metric in describers:
                message = f"{unit.origin}: collector {unit.name} describes {metric}"
                return Refusal(unit.origin, "same_metric", f"{message}, as {describers[metric]} does already")
        if len(chosen) >= self._config.max_collectors:
            limit = self._config.max_collectors
            return Refusal(unit.origin, "too_many", f"got more than {limit} collectors (max_collectors)")
        return None

    def _unknown(self) -> list[Refusal]:
        """Settings of collectors that are not there, once everything could be read."""
        if any(held.refusal is not None for held in self._held.values()):
            return []
        there = {unit.name for held in self._held.values() for unit in held.units}
        known = ", ".join(sorted(there)[:20]) or "none"
        return [
            Refusal(name, "unknown", f"collectors.{name}: no collector of that name (there are: {known})")
            for name in self._config.collectors
            if name not in there
        ]

    async def _read(self, what: str, mark: Mark | None, read: Callable[[], list[Unit]]) -> None:
        held = self._held.setdefault(what, _Held(mark))
        held.mark, held.refusal = mark, None
        reading = self._threads.submit(read)
        sleeping = asyncio.ensure_future(self._clock.sleep(self._config.load_timeout / 1000))
        await asyncio.wait((reading, sleeping), return_when=asyncio.FIRST_COMPLETED)
        sleeping.cancel()
        if not reading.done():
            limit_s = self._config.load_timeout / 1000
            held.refusal = Refusal(what, "load", f"{what}: took longer than {limit_s:g} s to read")
            self._threads.interrupt(reading)
            reading.add_done_callback(lambda late: late.cancelled() or late.exception())
        elif (failure := reading.exception()) is None:
            held.units = reading.result()
        else:
            message = str(failure) if isinstance(failure, load.LoadError) else f"{what}: {failure!r:.500}"
            held.refusal = Refusal(what, "load", message)


def marks_of(config: PythonConfig) -> dict[str, Mark]:
    """Return the files to read, and what changes when one of them does."""
    patterns = list(config.files)
    paths = {path for pattern in patterns for path in glob.glob(pattern)}  # noqa: PTH207 - patterns may be absolute
    paths |= {pattern for pattern in patterns if not glob.has_magic(pattern)}  # missing ones are told
    if config.directory:
        paths |= {str(p) for p in Path(config.directory).glob("[!_.]*.py")}
    found: dict[str, Mark] = {}
    for path in sorted(paths)[:MAX_FILES]:
        try:
            status = Path(path).stat()
        except OSError:
            found[path] = (0,)
            continue
        found[path] = (status.st_mtime_ns, status.st_size, status.st_ino)
    return found
