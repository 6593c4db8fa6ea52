"""Metrics and labels under new names."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field, model_validator

from metricsmith.contracts import Context, PartConfig
from metricsmith.model.batch import Batch
from metricsmith.model.labels import NAME_LABEL
from metricsmith.model.matchers import compile_anchored
from metricsmith.model.relabel import LABEL_NAME
from metricsmith.model.template import template
from metricsmith.process.choice import MAX_SELECTORS, Choice, SelectorText
from metricsmith.process.series_map import SeriesMap


def _pattern(text: str) -> str:
    compile_anchored(text)
    return text


def _label(text: str) -> str:
    if not LABEL_NAME.fullmatch(text) or text == NAME_LABEL:
        raise ValueError(f'got "{text[:200]}", wanted a label name such as instance')
    return text


Pattern = Annotated[str, Field(min_length=1, max_length=10_000), AfterValidator(_pattern)]
LabelName = Annotated[str, Field(max_length=1000), AfterValidator(_label)]
Replacement = Annotated[str, Field(min_length=1, max_length=10_000)]


class RenameConfig(PartConfig):
    """Settings of a `rename` processor."""

    match: tuple[SelectorText, ...] = Field(
        (), max_length=MAX_SELECTORS, description="Only series that one of these matches; default all."
    )
    metrics: dict[Pattern, Replacement] = Field(
        {},
        max_length=1000,
        description="Pattern (RE2, whole name) to new name, where `$1` and `${name}` are groups; the first "
        "that matches counts.",
    )
    labels: dict[LabelName, LabelName] = Field(
        {}, max_length=1000, description="Old label name to new; a label of the new name is replaced."
    )

    @model_validator(mode="after")
    def _check(self) -> RenameConfig:
        if not self.metrics and not self.labels:
            raise ValueError("got neither `metrics` nor `labels`, wanted new names in one of them")
        return self


class RenameProcessor:
    """Gives metrics and labels other names; type, unit and help follow a metric's name.

    A name that would become empty stays as it is.
    """

    Config: ClassVar[type[RenameConfig]] = RenameConfig

    def __init__(self, config: RenameConfig, context: Context) -> None:
        self._choice = Choice(config.match) if config.match else None
        self._metrics = [(compile_anchored(old), template(new)) for old, new in config.metrics.items()]
        self._labels = config.labels
        self._map = SeriesMap(context, self._decide, "renamed")

    def process(self, batch: Batch) -> Batch | None:
        return self._map.process(batch)

    def _decide(self, labels: dict[str, str]) -> dict[str, str]:
        if self._choice is not None and not self._choice.has(labels):
            return labels
        # All are read before one is written, so that two labels can change places.
        moved = {new: labels[old] for old, new in self._labels.items() if old in labels}
        rest = {name: value for name, value in labels.items() if name not in self._labels}
        renamed = rest | moved
        if NAME_LABEL in renamed:
            renamed[NAME_LABEL] = self._metric(renamed[NAME_LABEL])
        return renamed

    def _metric(self, name: str) -> str:
        for pattern, new in self._metrics:
            if match := pattern.fullmatch(name):
                return new.expand(match) or name
        return name
