"""Drawing the leaves of queries: selectors, modifiers, ranges, groupings, scalars."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import TypeVar

from metricsmith.testing.promql import vectors as of
from metricsmith.testing.promql.vectors import METRICS, Vec

T = TypeVar("T")


class Draw(ABC):
    """Draws from a seed."""

    def __init__(self, seed: int | str) -> None:
        self._random = Random(seed)

    @abstractmethod
    def vector(self, depth: int) -> Vec:
        """Return an instant vector nested at most this deep."""

    def exact(self, depth: int) -> Vec:
        """Return an instant vector whose bits are defined."""
        vec = self.vector(depth)
        return vec if vec.exact else self.selector()

    def one(self, choices: Sequence[T]) -> T:
        """Return one of them."""
        return self._random.choice(choices)

    def some(self, choices: Sequence[T], most: int = 2) -> list[T]:
        """Return a few of them, or none."""
        return self._random.sample(choices, min(len(choices), self._random.randint(0, most)))

    def chance(self, share: float) -> bool:
        """Return true in a share of the cases."""
        return self._random.random() < share

    def weighted(self, choices: dict[T, int]) -> T:
        """Return one of them, by weight."""
        return self._random.choices(list(choices), list(choices.values()))[0]

    def selector(self, metric: Vec | None = None) -> Vec:
        """Return an instant selector."""
        metric = metric or self.weighted(METRICS)
        return replace(metric, text=self.matched(metric) + self.modifiers())

    def distinct(self) -> Vec:
        """Return a selector without equal values."""
        return self.selector(self.one([metric for metric in METRICS if metric.distinct]))

    def matched(self, metric: Vec) -> str:
        """Return a selector without modifiers."""
        labels = self.some([*sorted(metric.labels), "absent"]) if self.chance(0.3) else []
        matchers = ",".join(self.one(of.MATCHERS[label]) for label in labels)
        if metric.text.startswith("{"):
            return metric.text[:-1] + (f",{matchers}" if matchers else "") + "}"
        if self.chance(0.03):
            return "{" + ",".join([f'__name__="{metric.text}"', *([matchers] if matchers else [])]) + "}"
        return f"{metric.text}{{{matchers}}}" if matchers else metric.text

    def modifiers(self, *, only_one: bool = False) -> str:
        """Return `offset` and `@`, mostly neither."""
        offset = self.offset()
        at = f" @ {self.one(of.PINNED)}" if self.chance(0.1) and not (offset and only_one) else ""
        return offset + at if self.chance(0.5) else at + offset

    def offset(self) -> str:
        """Return an offset, mostly none."""
        return f" offset {self.one(of.OFFSETS)}" if self.chance(0.15) else ""

    def ranged(self, depth: int, metric: Vec | None = None) -> tuple[str, Vec]:
        """Return a range vector, and what its samples are."""
        if metric is None and depth > 0 and self.chance(0.35):
            inner = self.vector(depth - 1)
            window = f"[{self.one(of.RANGES)}:{self.one(of.STEPS)}]"
            return f"({inner.text}){window}{self.modifiers()}", inner
        metric = metric or self.weighted(METRICS)
        return f"{self.matched(metric)}[{self.one(of.RANGES)}]{self.modifiers()}", metric

    def grouping(self, vec: Vec) -> tuple[str, frozenset[str]]:
        """Return a grouping clause and the labels that it keeps."""
        if self.chance(0.25):
            return "", frozenset()
        named = self.some([*sorted(vec.labels), self.one(of.LABELS)], 3)
        if self.chance(0.7):
            return f" by ({', '.join(named)})", vec.labels & frozenset(named)
        return f" without ({', '.join(named)})", vec.labels - frozenset(named)

    def aggregated(self, op: str, vec: Vec, parameter: str = "") -> Vec:
        """Return the vector with an aggregation's text and labels."""
        grouping, labels = self.grouping(vec)
        inside = f"({parameter}{vec.text})"
        text = f"{op}{grouping} {inside}" if self.chance(0.7) else f"{op}{inside}{grouping}"
        return replace(
            vec, text=text, labels=labels, unique=vec.unique or not grouping.startswith(" without")
        )

    def scalar(self, depth: int) -> str:
        """Return a scalar."""
        constants = of.CONSTANTS + of.ODD_CONSTANTS
        match self._random.randint(0, 6):
            case 0:
                return self.one(["time()", "pi()"])
            case 1:
                return f"scalar({self.vector(max(depth - 1, 0)).text})"
            case 2:
                return f"({self.one(constants)} {self.one(['+', '-', '*', '/', '%'])} {self.one(constants)})"
            case 3:
                return f"({self.one(constants)} {self.one(of.COMPARISONS)} bool {self.one(constants)})"
            case 4:
                return "-scalar(sum(owner))"
        return self.one(constants)
