"""Series kept or dropped by selectors."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field, model_validator

from metricsmith.contracts import Context, PartConfig
from metricsmith.model.batch import Batch
from metricsmith.process.choice import MAX_SELECTORS, Choice, SelectorText
from metricsmith.process.series_map import SeriesMap


class FilterConfig(PartConfig):
    """Settings of a `filter` processor; with both, a series must be kept and not dropped."""

    keep: tuple[SelectorText, ...] = Field(
        (), max_length=MAX_SELECTORS, description="Only series that one of these selectors matches go on."
    )
    drop: tuple[SelectorText, ...] = Field(
        (), max_length=MAX_SELECTORS, description="Series that one of these selectors matches do not go on."
    )

    @model_validator(mode="after")
    def _check(self) -> FilterConfig:
        if not self.keep and not self.drop:
            raise ValueError("got neither `keep` nor `drop`, wanted selectors in one of them")
        return self


class FilterProcessor:
    """Passes on the series that selectors choose; the others are counted as `filtered`."""

    Config: ClassVar[type[FilterConfig]] = FilterConfig

    def __init__(self, config: FilterConfig, context: Context) -> None:
        self._keep = Choice(config.keep) if config.keep else None
        self._drop = Choice(config.drop)
        self._map = SeriesMap(context, self._decide, "filtered")

    def process(self, batch: Batch) -> Batch | None:
        return self._map.process(batch)

    def _decide(self, labels: dict[str, str]) -> dict[str, str] | None:
        kept = self._keep is None or self._keep.has(labels)
        return labels if kept and not self._drop.has(labels) else None
