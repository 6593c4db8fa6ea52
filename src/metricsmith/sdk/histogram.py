"""Histogram: how many observations lie below fixed bounds."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from typing import ClassVar, Unpack

from metricsmith.sdk.atomic import atomic
from metricsmith.sdk.buckets import DEFAULT_BUCKETS, bounds_of
from metricsmith.sdk.family import Extra
from metricsmith.sdk.guard import Limits
from metricsmith.sdk.instrument import AnyRegistry, Instrument
from metricsmith.sdk.names import bound, number
from metricsmith.sdk.reading import Exemplar
from metricsmith.sdk.registry import REGISTRY
from metricsmith.sdk.timers import Timer


class Histogram(Instrument):
    """Counts observations in buckets, and adds them up."""

    __slots__ = ("_bounds", "_counts", "_lines", "_sum")
    _type: ClassVar[str] = "histogram"
    _updating: ClassVar[tuple[str, ...]] = ("observe",)
    _reserved: ClassVar[tuple[str, ...]] = ("le",)
    DEFAULT_BUCKETS: ClassVar[tuple[float, ...]] = DEFAULT_BUCKETS
    _bounds: list[float]
    _counts: list[int]
    _sum: float
    _lines: tuple[tuple[str, Extra], ...]

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
        **limits: Unpack[Limits],
    ) -> None:
        bounds = bounds_of(buckets)
        lines: list[tuple[str, Extra]] = [("_bucket", (("le", bound(upper)),)) for upper in bounds]
        # With bounds below zero a sum may fall, and is no counter; OpenMetrics has count and sum together or
        # not at all. The bucket +Inf is the count.
        totals: list[tuple[str, Extra]] = [("_count", ()), ("_sum", ())] if bounds[0] >= 0 else []
        self._bounds, self._lines = bounds[:-1], (*lines, *totals)
        super().__init__(name, documentation, labelnames, namespace, subsystem, unit, registry, **limits)

    def _like(self, parent: Histogram) -> None:
        self._bounds, self._lines = parent._bounds, parent._lines

    def _exemplar_places(self) -> int:
        return len(self._counts)

    def _begin(self) -> None:
        self._counts = [0] * (len(self._bounds) + 1)
        self._sum = 0.0

    @atomic
    def observe(self, amount: float, exemplar: Mapping[str, str] | None = None) -> None:
        """Count an observation; one that is no number is left out, and told of in the registry's findings."""
        if type(amount) is not float:
            amount = float(amount)
        if amount != amount:
            self._not_a_number()
            return
        try:
            counts = self._counts
        except AttributeError:
            raise self._no_value() from None
        at = bisect_left(self._bounds, amount)
        counts[at] += 1
        self._sum += amount
        if exemplar is not None or self._exemplars is not None:
            self._note(exemplar, amount, at)

    def time(self) -> Timer:
        """Observe the seconds of a block (`with`) or of a function (decorator, also of async functions)."""
        return Timer(self, "observe")

    def _snapshot(self) -> tuple[list[int], float]:
        """Return counts of the buckets, and the sum."""
        return self._counts, self._sum

    def _updates(self) -> float:
        return sum(self._snapshot()[0])

    def _shape(self) -> Sequence[tuple[str, Extra]]:
        return self._lines

    def _values(self) -> Sequence[float]:
        counts, total = self._snapshot()
        counts = list(accumulate(counts))
        return [*counts, counts[-1], total][: len(self._lines)]

    def _texts(self) -> tuple[object, ...]:
        counts, total = self._snapshot()
        counts = list(accumulate(counts))
        return (*counts, counts[-1], number(total))[: len(self._lines)]

    def _line_exemplars(self) -> Sequence[Exemplar | None] | None:
        return self._exemplars and [*self._exemplars, None, None][: len(self._lines)]
