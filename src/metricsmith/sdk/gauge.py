"""Gauge: a number that goes up and down."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import ClassVar, Literal, Unpack

from metricsmith.sdk.atomic import atomic
from metricsmith.sdk.guard import Limits
from metricsmith.sdk.instrument import AnyRegistry, Instrument
from metricsmith.sdk.registry import REGISTRY
from metricsmith.sdk.timers import InprogressTracker, Timer

MultiprocessMode = Literal[
    "all", "liveall", "min", "livemin", "max", "livemax", "sum", "livesum", "mostrecent", "livemostrecent"
]
MODES: frozenset[str] = frozenset(
    f"{live}{mode}" for live in ("", "live") for mode in ("all", "min", "max", "sum", "mostrecent")
)


class Gauge(Instrument):
    """Tells how much there is now."""

    __slots__ = ("_changes", "_function", "_value", "multiprocess_mode")
    _type: ClassVar[str] = "gauge"
    _updating: ClassVar[tuple[str, ...]] = ("inc", "dec", "set", "set_function")
    _value: float
    _changes: int
    _function: Callable[[], float] | None
    multiprocess_mode: MultiprocessMode

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
        multiprocess_mode: MultiprocessMode = "all",
        **limits: Unpack[Limits],
    ) -> None:
        if multiprocess_mode not in MODES:
            raise ValueError(
                f"{name}: got multiprocess_mode={multiprocess_mode!r}, wanted one of {sorted(MODES)}"
            )
        self.multiprocess_mode = multiprocess_mode
        super().__init__(name, documentation, labelnames, namespace, subsystem, unit, registry, **limits)

    def _like(self, parent: Gauge) -> None:
        self.multiprocess_mode = parent.multiprocess_mode

    def _begin(self) -> None:
        self._value = 0.0
        self._changes = 0
        self._function = None

    @atomic
    def inc(self, amount: float = 1) -> None:
        """Add an amount."""
        if type(amount) is not float:
            amount = float(amount)
        try:
            self._value += amount
        except AttributeError:
            raise self._no_value() from None
        self._changes += 1

    @atomic
    def dec(self, amount: float = 1) -> None:
        """Take an amount away."""
        if type(amount) is not float:
            amount = float(amount)
        try:
            self._value -= amount
        except AttributeError:
            raise self._no_value() from None
        self._changes += 1

    @atomic
    def set(self, value: float) -> None:
        """Set the value."""
        if self._children is not None:
            raise self._no_value()
        self._value = float(value)
        self._changes += 1

    def set_to_current_time(self) -> None:
        """Set the value to the seconds since the Unix epoch."""
        self.set(self._family.clock.now_ms() / 1000)

    def set_function(self, f: Callable[[], float]) -> None:
        """Take the value from a function, called at each reading; setting it otherwise has no effect then."""
        self._require()
        self._function = f

    def track_inprogress(self) -> InprogressTracker:
        """Count what is within a block (`with`) or a function (decorator, also of async functions)."""
        self._require()
        return InprogressTracker(self)

    def time(self) -> Timer:
        """Set the seconds that a block (`with`) or a function (decorator, also of async functions) took."""
        return Timer(self, "set")

    def _updates(self) -> float:
        # What a function tells may change without a word.
        return self._changes if self._function is None else float("nan")

    def _values(self) -> Sequence[float]:
        return (self._value if self._function is None else float(self._function()),)
