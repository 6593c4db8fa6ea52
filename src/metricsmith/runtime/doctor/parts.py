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
from metricsmith.runtime.doctor.examination import Check


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


async def _examine(cls: Examined, part: Part, findings: Findings) -> None:
    context = Context(part.name, SeriesTable(), Overheard(), SystemClock())
    await cls.examine(part.config, context, findings)
