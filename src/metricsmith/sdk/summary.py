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
SLICES = 5


class Window:
    """Sketches of consecutive slices of time, which together cover the last `max_age_s`, or a slice more.

    A slice ends at a reading: where nobody reads, time does not pass.
    """

    __slots__ = ("_began_s", "_ended", "_max_age_s", "current")

    def __init__(self, error: float, max_age_s: float, now_s: float) -> None:
        self.current = Sketch(error)
        self._began_s, self._max_age_s = now_s, max_age_s
        self._ended: list[tuple[float, Sketch]] = []

    def quantiles(self, wanted: Sequence[float], now_s: float) -> list[float]:
        """Return quantiles of what lies in the window, and let go what does not. One reader at a time."""
        self._ended = [(end_s, sketch) for end_s, sketch in self._ended if end_s > now_s - self._max_age_s]
        merged = Sketch(self.current.error)
        for sketch in (self.current, *(sketch for _, sketch in self._ended)):
            merged.merge(sketch)
        if now_s - self._began_s >= self._max_age_s / SLICES:
            # An observation under way still goes into the slice that ends, and is not lost.
            self._ended.append((now_s, self.current))
            self.current, self._began_s = Sketch(merged.error), now_s
        return merged.quantiles(wanted)


class Summary(Instrument):
    """Counts observations, adds them up, and tells quantiles of the last minutes in this process.

    Quantiles of several processes are those of all where `processes.share()` merges the sketches; those that
    were scraped cannot be combined, and a Histogram's buckets can.
    """

    __slots__ = ("_count", "_lines", "_options", "_quantiles", "_sum", "_window")
    _type: ClassVar[str] = "summary"
    _updating: ClassVar[tuple[str, ...]] = ("observe",)
    _reserved: ClassVar[tuple[str, ...]] = ("quantile",)
    _count: int
    _sum: float
    _window: Window
    _quantiles: tuple[float, ...]
    _lines: tuple[tuple[str, Extra], ...]
    _options: tuple[float, float]

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
        max_age_s: float = 600.0,
        **limits: Unpack[Limits],
    ) -> None:
        """With `quantiles=()` it has count and sum only, as prometheus_client's."""
        if wrong := [q for q in quantiles if not 0 <= q <= 1]:
            raise ValueError(f"{name}: got the quantiles {wrong}, wanted numbers from 0 to 1")
        if not max_age_s > 0:
            raise ValueError(f"{name}: got max_age_s={max_age_s}, wanted seconds above 0")
        self._quantiles, self._options = tuple(quantiles), (relative_error, max_age_s)
        lines: list[tuple[str, Extra]] = [("", (("quantile", bound(q)),)) for q in self._quantiles]
        self._lines = (*lines, ("_count", ()), ("_sum", ()))
        super().__init__(name, documentation, labelnames, namespace, subsystem, unit, registry, **limits)

    def _like(self, parent: Summary) -> None:
        self._quantiles, self._options, self._lines = parent._quantiles, parent._options, parent._lines

    def _begin(self) -> None:
        self._count, self._sum = 0, 0.0
        self._window = Window(*self._options, self._family.clock.monotonic())

    @atomic
    def observe(self, amount: float) -> None:
        """Take an observation; one that is no number is left out, and told of in the registry's findings."""
        if type(amount) is not float:
            amount = float(amount)
        if amount != amount:
            self._not_a_number()
            return
        try:
            self._count += 1
        except AttributeError:
            raise self._no_value() from None
        self._sum += amount
        if self._quantiles:
            self._window.current.add(amount)

    def time(self) -> Timer:
        """Observe the seconds of a block (`with`) or of a function (decorator, also of async functions)."""
        return Timer(self, "observe")

    def _updates(self) -> float:
        return self._count

    def _shape(self) -> Sequence[tuple[str, Extra]]:
        return self._lines

    def _values(self) -> Sequence[float]:
        with self._family.lock:
            quantiles = self._window.quantiles(self._quantiles, self._family.clock.monotonic())
        return [*quantiles, self._count, self._sum]
