"""Collectors of one file or module, called when asked, without an agent around them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector

from metricsmith.collector import Options
from metricsmith.errors import SourceError
from metricsmith.model.clock import SystemClock
from metricsmith.model.metadata import Metadata
from metricsmith.sources.python import load
from metricsmith.sources.python.admission import Admission, Owners
from metricsmith.sources.python.advice import advice
from metricsmith.sources.python.collecting import Collecting
from metricsmith.sources.python.find import Unit
from metricsmith.sources.python.runner import REPORT
from metricsmith.sources.python.settings import PythonConfig, limits_of
from metricsmith.sources.python.threads import Threads
from metricsmith.sources.python.values import Name, Timed, key_of, merged
from metricsmith.wire.exposition import ExpositionFormat, write_exposition
from metricsmith.wire.messages import json_value


@dataclass(frozen=True, slots=True)
class Given:
    """What one collector gave; `failure` says why it gave nothing."""

    unit: Unit
    samples: Sequence[tuple[Name, float]]
    timed: Sequence[Timed]
    metadata: dict[str, Metadata]
    remarks: Sequence[str]
    failure: str = ""
    duration_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Reading:
    """What all collectors gave at one time."""

    time_ms: int
    given: Sequence[Given]

    @property
    def failures(self) -> list[str]:
        """Why collectors gave nothing."""
        return [f"{each.unit.name}: {each.failure}" for each in self.given if each.failure]

    @property
    def remarks(self) -> list[str]:
        """What was left out."""
        return [f"{each.unit.name}: {remark}" for each in self.given for remark in each.remarks]

    @property
    def metadata(self) -> dict[str, Metadata]:
        """What is known of all families."""
        return {name: known for each in self.given for name, known in each.metadata.items()}

    def rows(self) -> list[tuple[Name, float, int | None]]:
        """Return all samples, sorted by name and labels, with the times that they have themselves."""
        found: list[tuple[Name, float, int | None]] = []
        for each in self.given:
            found += [(name, value, None) for name, value in each.samples]
            found += each.timed
        return sorted(found, key=lambda row: (row[0], row[2] or 0))

    def exposition(self) -> bytes:
        """Return the samples in Prometheus' text format, under the names that they were given."""
        rows = self.rows()
        times = None
        if any(time_ms is not None for _, _, time_ms in rows):
            times = np.array([self.time_ms if t is None else t for _, _, t in rows], dtype=np.int64)
        values = np.array([value for _, value, _ in rows], dtype=np.float64)
        keys = [key_of(name) for name, _, _ in rows]
        text = ExpositionFormat.TEXT
        return write_exposition(keys, values, self.metadata, text, times, as_named=True).body

    def json(self) -> list[dict[str, Any]]:
        """Return the samples as objects."""
        return [_object(*row, self.metadata) for row in self.rows()]

    def advice(self) -> list[str]:
        """Return what the author should know of names and labels."""
        own = [each for each in self.given if each.unit.origin != PROCESS]
        names = [name for each in own for name, _ in each.samples]
        return advice(names, {name: known for each in own for name, known in each.metadata.items()})


def with_report(reading: Reading) -> Reading:
    """Return a reading that also says how each collector is, as the agent does."""
    samples: list[tuple[Name, float]] = []
    for each in reading.given:
        labels = (("collector", each.unit.name),)
        report = (not each.failure, each.duration_s, len(each.samples) + len(each.timed))
        samples += [((name, labels), float(value)) for name, value in zip(REPORT, report, strict=True)]
    unit = Unit(PROCESS, lambda: None, Options(), {}, PROCESS)
    return Reading(reading.time_ms, [*reading.given, Given(unit, samples, (), dict(REPORT), ())])


PROCESS = "process"
LOAD_LIMIT_S = 30.0


class CollectorSession:
    """Some collectors that run together, each isolated from the others as in the agent."""

    def __init__(self, units: Sequence[Unit], threads: Threads, config: PythonConfig) -> None:
        self._clock, self._threads = SystemClock(), threads
        owners = Owners()
        self._parts = []
        for unit in units:
            limits = replace(limits_of(unit.name, unit.options, config, ""), labels=unit.options.labels)
            admission = Admission(unit.name, owners, limits.max_series)
            self._parts.append((Collecting(unit, limits, threads, self._clock), admission))
        self._reading: asyncio.Future[Reading] | None = None

    async def read(self) -> Reading:
        """Return what all collectors give now. Who asks meanwhile gets the same."""
        if self._reading is None or self._reading.done():
            self._reading = asyncio.ensure_future(self._read())
        return await asyncio.shield(self._reading)

    def close(self) -> None:
        """Release threads and event loops."""
        for collecting, _ in self._parts:
            collecting.close()
        self._threads.close()

    async def _read(self) -> Reading:
        time_ms = self._clock.now_ms()
        outcomes = await asyncio.gather(*(collecting.once() for collecting, _ in self._parts))
        given = []
        for (collecting, admission), outcome in zip(self._parts, outcomes, strict=True):
            unit, rows = collecting.unit, outcome.rows
            if outcome.error:
                given.append(Given(unit, (), (), {}, (), outcome.error, outcome.duration_s))
                continue
            names, values = admission.admit(rows, time_ms)
            timed = admission.admit_timed(rows)
            remarks = [f"{rows.problems[reason]} left out: {told}" for reason, told in rows.told.items()]
            metadata = merged(unit.described, rows.metadata)
            samples = list(zip(names, values, strict=True))
            given.append(Given(unit, samples, timed, metadata, remarks, "", outcome.duration_s))
        return Reading(time_ms, given)


async def open_session(target: str, config: PythonConfig, process: bool = False) -> CollectorSession:
    """Return the collectors of a file, or of an installed `package.module:Name`.

    Raises:
        SourceError: nothing that can be used; the message says where.
    """
    threads = Threads("collectors")
    is_file = target.endswith(".py") or "/" in target
    read = partial(load.load_file if is_file else load.load_module, target)
    try:
        units = await asyncio.wait_for(threads.submit(read), LOAD_LIMIT_S)
    except TimeoutError:
        raise SourceError(f"{target}: took longer than {LOAD_LIMIT_S:g} s to read") from None
    return CollectorSession([*units, *(process_units() if process else ())], threads, config)


def process_units() -> Iterator[Unit]:
    """Yield a collector of this process and its runtime."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    yield Unit(PROCESS, registry.collect, Options(), {}, PROCESS)


def _object(name: Name, value: float, time_ms: int | None, metadata: dict[str, Metadata]) -> dict[str, Any]:
    metric, labels = name
    known = metadata.get(metric)
    found: dict[str, Any] = {"name": metric, "labels": dict(labels), "value": json_value(value)}
    if time_ms is not None:
        found["timestamp_ms"] = time_ms
    if known is not None:
        found |= {"type": known.type.value, "help": known.help, "unit": known.unit}
    return found
