"""Summary: count, sum, and quantiles of the last minutes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar, Unpack

from metricsmith.sdk.atomic import atomic
from metricsmith.sdk.family import Extra
from metricsmith.sdk.guard import Limits
from metricsmith.sdk.instrument import AnyRegistry, Instrument
from metricsmith.sdk.names import bound
from metricsmith.sdk.registry import REGISTRY
from metricsmith.sdk.sketch import Sketch
from metricsmith.sdk.timers import Timer

QUANTILES = (0.5, 0.9, 0.99)


class Summary(Instrument):
    """Counts observations, adds them up, and tells quantiles of this process.

    Quantiles of several processes cannot be combined; where that is needed,
    take a Histogram.
    """

    __slots__ = ("_count", "_error", "_lines", "_quantiles", "_sketch", "_sum")
    _type: ClassVar[str] = "summary"
    _updating: ClassVar[tuple[str, ...]] = ("observe",)
    _reserved: ClassVar[tuple[str, ...]] = ("quantile",)
    _count: int
    _sum: float
    _sketch: Sketch

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
        *,
        quantiles: Sequence[float] = QUANTILES,
        relative_error: float = 0.01,
        **limits: Unpack[Limits],
    ) -> None:
        self._quantiles, self._error = tuple(quantiles), relative_error
        lines: list[tuple[str, Extra]] = [("", (("quantile", bound(q)),)) for q in self._quantiles]
        self._lines = (*lines, ("_count", ()), ("_sum", ()))
        super().__init__(name, documentation, labelnames, namespace, subsystem, unit, registry, **limits)

    def _like(self, parent: Summary) -> None:
        self._quantiles, self._error, self._lines = parent._quantiles, parent._error, parent._lines

    def _begin(self) -> None:
        self._count, self._sum = 0, 0.0
        self._sketch = Sketch(self._error)

    @atomic
    def observe(self, amount: float) -> None:
        """Take an observation."""
        if type(amount) is not float:
            amount = float(amount)
        try:
            self._sketch.add(amount)
        except AttributeError:
            raise self._no_value() from None
        self._count += 1
        self._sum += amount

    def time(self) -> Timer:
        """Observe the seconds that a block (`with`) or a function (decorator, also of async functions) took."""
        return Timer(self, "observe")

    def _updates(self) -> float:
        return self._count

    def _shape(self) -> Sequence[tuple[str, Extra]]:
        return self._lines

    def _values(self) -> Sequence[float]:
        return [*self._sketch.quantiles(self._quantiles), self._count, self._sum]
