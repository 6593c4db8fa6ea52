"""Counter: a number that only grows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar, Unpack

from metricsmith.sdk.atomic import atomic
from metricsmith.sdk.family import Extra
from metricsmith.sdk.guard import Limits
from metricsmith.sdk.instrument import AnyRegistry, Instrument
from metricsmith.sdk.registry import REGISTRY
from metricsmith.sdk.timers import ExceptionCounter

ONE = 1


class Counter(Instrument):
    """Counts events, or adds up amounts that are never negative."""

    __slots__ = ("_value",)
    _type: ClassVar[str] = "counter"
    _updating: ClassVar[tuple[str, ...]] = ("inc", "reset")
    _value: float

    def __init__(
        self,
        name: str,
        documentation: str,
        labelnames: Iterable[str] = (),
        namespace: str = "",
        subsystem: str = "",
        unit: str = "",
        registry: AnyRegistry | None = REGISTRY,
        **limits: Unpack[Limits],
    ) -> None:
        super().__init__(name, documentation, labelnames, namespace, subsystem, unit, registry, **limits)

    def _begin(self) -> None:
        self._value = 0.0

    @atomic
    def inc(self, amount: float = 1, exemplar: Mapping[str, str] | None = None) -> None:
        """Add an amount.

        Raises:
            ValueError: the amount is negative or not a number, or label values are missing.
        """
        if amount is not ONE:
            amount = self._checked(amount)
        try:
            self._value += amount
        except AttributeError:
            raise self._no_value() from None
        if exemplar is not None or self._exemplars is not None:
            self._note(exemplar, amount, 0)

    def _checked(self, amount: float) -> float:
        if not amount >= 0:
            raise ValueError(
                f"{self._family.name}: got inc({amount}), wanted 0 or more: a counter never falls"
            )
        return float(amount)

    def _exemplar_places(self) -> int:
        return 1

    def reset(self) -> None:
        """Begin at zero again, as after a restart."""
        self._require()
        self._value = 0.0

    def count_exceptions(
        self, exception: type[BaseException] | tuple[type[BaseException], ...] = Exception
    ) -> ExceptionCounter:
        """Count exceptions that leave a block (`with`) or a function (decorator, also of async functions)."""
        self._require()
        return ExceptionCounter(self, exception)

    def _updates(self) -> float:
        return self._value

    def _shape(self) -> Sequence[tuple[str, Extra]]:
        return (("_total", ()),)

    def _values(self) -> Sequence[float]:
        return (self._value,)
