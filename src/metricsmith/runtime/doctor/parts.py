"""Checks of sources, processors, sinks and the store, by themselves: `contracts.Examined`."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from metricsmith import registry
from metricsmith.config.load import Configuration
from metricsmith.config.parts import Part
from metricsmith.contracts import Context, Examined
from metricsmith.model.clock import SystemClock
from metricsmith.model.findings import Findings
from metricsmith.model.overheard import Overheard
from metricsmith.model.series import SeriesTable
from metricsmith.net.threads import in_thread
from metricsmith.runtime.doctor.examination import Check
from metricsmith.runtime.sources import build
from metricsmith.runtime.storage import writing_part
from metricsmith.store_contracts import Delivered


def part_checks(configuration: Configuration) -> Iterator[Check]:
    """Yield the checks of all parts whose classes have one, in the order of the file."""
    for area, parts in (
        ("sources", configuration.of("sources")),
        ("sinks", configuration.of("sinks")),
        ("storage", [configuration.store]),
    ):
        for part in parts:
            cls = registry.load(part.group, part.type)
            if isinstance(cls, Examined):
                yield Check(area, part.name, partial(_examine, cls, part))
            if part.group == "stores" and issubclass(cls, Delivered):
                yield Check(area, part.name, partial(_examine_writing, part))


async def _examine(cls: Examined, part: Part, findings: Findings) -> None:
    await cls.examine(part.config, _context(part), findings)


async def _examine_writing(part: Part, findings: Findings) -> None:
    """Examine the sink that writes a store."""
    store: Delivered = build(part, _context(part))
    try:
        sink = writing_part(store)
    finally:
        await in_thread("store", store.close)
    if sink is not None and isinstance(cls := registry.load("sinks", sink.type), Examined):
        await _examine(cls, sink, findings)


def _context(part: Part) -> Context:
    return Context(part.name, SeriesTable(), Overheard(), SystemClock())
