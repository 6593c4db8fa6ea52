"""Relabelling of every batch that passes, decided once per series."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from metricsmith.contracts import Context, PartConfig
from metricsmith.model.batch import Batch
from metricsmith.model.relabel import RelabelRule, relabel
from metricsmith.process.series_map import SeriesMap


class RelabelConfig(PartConfig):
    """Settings of a `relabel` processor."""

    rules: tuple[RelabelRule, ...] = Field(
        min_length=1, max_length=1000, description="Rules in Prometheus' form, applied in order."
    )


class RelabelProcessor:
    """Applies relabel rules to the labels of every series; a dropped series is not passed on."""

    Config: ClassVar[type[RelabelConfig]] = RelabelConfig

    def __init__(self, config: RelabelConfig, context: Context) -> None:
        self._map = SeriesMap(context, lambda labels: relabel(labels, config.rules), "relabel")

    def process(self, batch: Batch) -> Batch | None:
        return self._map.process(batch)
