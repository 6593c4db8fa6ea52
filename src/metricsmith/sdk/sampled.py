"""A histogram for what happens all the time: it looks at some observations, and counts and adds up all."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import ClassVar, Unpack

from metricsmith.sdk.atomic import atomic
from metricsmith.sdk.buckets import DEFAULT_BUCKETS
from metricsmith.sdk.guard import Limits
from metricsmith.sdk.histogram import Histogram
from metricsmith.sdk.instrument import AnyRegistry
from metricsmith.sdk.registry import REGISTRY


class SampledHistogram(Histogram):
    """A Histogram that looks for the bucket of one observation in `one_in`, on average.

    The bucket that was found stands for the observations after it until the next look. So `_count` and `_sum`
    are right, buckets add up to `_count` and never fall, and quantiles are those of a random sample. Gaps are
    random, lest they fall into step with the application.
    """

    __slots__ = ("_at", "_gap", "_one_in", "_random")
    _updating: ClassVar[tuple[str, ...]] = ("observe",)
    _at: int
    _gap: int
    _one_in: int
    _random: Callable[[], float]

    def __init__(
        self,
        name: str,
        documentation: str,
        labelnames: Iterable[str] = (),
        namespace: str = "",
        subsystem: str = "",
        unit: str = "",
        registry: AnyRegistry | None = REGISTRY,
        _labelvalues: None = None,
        buckets: Sequence[float | str] = DEFAULT_BUCKETS,
        *,
        one_in: int = 10,
        **limits: Unpack[Limits],
    ) -> None:
        from random import random

        if one_in < 1:
            raise ValueError(f"{name}: got one_in={one_in}, wanted 1 or more")
        self._one_in, self._random = one_in, random
        super().__init__(
            name, documentation, labelnames, namespace, subsystem, unit, registry, None, buckets, **limits
        )

    def _like(self, parent: SampledHistogram) -> None:  # type: ignore[override]
        super()._like(parent)
        self._one_in, self._random = parent._one_in, parent._random

    def _begin(self) -> None:
        super()._begin()
        self._at = self._gap = 0

    @atomic
    def observe(self, amount: float, exemplar: Mapping[str, str] | None = None) -> None:
        """Count an observation, in its bucket or in that of the last one that was looked at."""
        if self._children is not None:
            raise self._no_value()
        gap = self._gap
        if gap and exemplar is None and type(amount) is float and amount == amount:
            self._gap = gap - 1
            self._counts[self._at] += 1
            self._sum += amount
            return
        super().observe(amount, exemplar)
        if amount == amount:
            self._at = bisect_left(self._bounds, amount)
            self._gap = int(self._random() * (2 * self._one_in - 1))
