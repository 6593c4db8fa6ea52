"""A histogram for what happens all the time: it looks at some observations, and counts all."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import ClassVar, Self, Unpack

from metricsmith.sdk.atomic import atomic
from metricsmith.sdk.buckets import DEFAULT_BUCKETS
from metricsmith.sdk.guard import Limits
from metricsmith.sdk.histogram import Histogram
from metricsmith.sdk.instrument import AnyRegistry
from metricsmith.sdk.registry import REGISTRY
from metricsmith.sdk.timers import Timer, Wrapper


class SampledHistogram(Histogram):
    """A Histogram that looks at one observation in `one_in`, on average, and only counts the others.

    What was looked at stands for those after it until the next look: `_count` is exact at any time, buckets
    add up to it, and buckets and `_sum` are those of a random sample. No number ever falls. Gaps are random,
    lest they fall into step with the application.
    """

    __slots__ = ("_at", "_drawn", "_gap", "_last", "_random", "_spread", "_unlooked")
    _updating: ClassVar[tuple[str, ...]] = ("observe", "time")
    _at: int
    _last: float
    """Bucket and amount of the last look."""
    _drawn: int
    _gap: int
    """How many were to be only counted after that look, and how many of them are still to come."""
    _spread: int
    _random: Callable[[], float]
    _unlooked: Unlooked

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
        self._spread, self._random = 2 * one_in - 1, random
        names = (name, documentation, labelnames, namespace, subsystem, unit)
        super().__init__(*names, registry, None, buckets, **limits)

    def _like(self, parent: SampledHistogram) -> None:  # type: ignore[override]
        super()._like(parent)
        self._spread, self._random = parent._spread, parent._random

    def _begin(self) -> None:
        super()._begin()
        self._at = self._drawn = self._gap = 0
        self._last = 0.0
        self._unlooked = Unlooked(self)

    @atomic
    def observe(self, amount: float, exemplar: Mapping[str, str] | None = None) -> None:
        """Count an observation, and look at it when it is time to."""
        try:
            if self._gap > 0 and exemplar is None:
                self._gap -= 1
                return
        except AttributeError:
            raise self._no_value() from None
        amount = float(amount)
        if amount != amount:
            self._not_a_number()
            return
        at, gap, counts = bisect_left(self._bounds, amount), int(self._random() * self._spread), self._counts
        # From here on nothing is called, so that no other thread can come between. A gap that is not at its
        # end was drawn meanwhile by another thread.
        counts[self._at] += self._drawn - self._gap
        self._sum += self._last * (self._drawn - self._gap)
        counts[at] += 1
        self._sum += amount
        self._at, self._last = at, amount
        self._drawn = self._gap = gap
        if exemplar is not None or self._exemplars is not None:
            self._note(exemplar, amount, at)

    def time(self) -> Timer | Unlooked:  # type: ignore[override]
        """Observe the seconds of a block or function; the clock is read only where it is looked at."""
        looked = self._children is not None or self._gap <= 0
        return _SampledTimer(self, "observe") if looked else self._unlooked

    @atomic
    def _snapshot(self) -> tuple[list[int], float]:
        """Return counts and sum of one moment: nothing is called while they are read."""
        counts = [*self._counts]
        skipped, at, last, total = self._drawn - self._gap, self._at, self._last, self._sum
        counts[at] += skipped
        return counts, total + last * skipped

    @atomic
    def _count_only(self) -> None:
        self._gap -= 1


class _SampledTimer(Timer):
    """The timer of an observation that is looked at; the next call of a decorated function may be another."""

    def _fresh(self) -> Wrapper:
        fresh: Wrapper = self._metric.time()
        return fresh


class Unlooked(Wrapper):
    """Stands where a timer would, and only counts."""

    duration: ClassVar[None] = None

    def __init__(self, metric: SampledHistogram) -> None:
        self._metric = metric

    def _fresh(self) -> Wrapper:
        return self._metric.time()

    def __enter__(self) -> Self:
        self._metric._count_only()
        return self
