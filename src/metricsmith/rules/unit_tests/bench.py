"""What tests of rules ask of a store and a query engine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeAlias

from metricsmith.rules.model import Engine
from metricsmith.store_contracts import Selectable


class Bench(Protocol):
    """An empty store that rules read and write, with its engine; the runtime makes one for each test."""

    @property
    def engine(self) -> Engine:
        """Asks the store."""
        ...

    @property
    def store(self) -> Selectable:
        """What the engine reads."""
        ...

    def append(self, key: bytes, time_ms: int, value: float, stale: bool = False) -> None:
        """Add a sample to the store."""
        ...

    def labels(self, text: str) -> dict[str, str]:
        """Return the labels of a series written as `up{job="a"}`.

        Raises:
            QueryError: it is none.
        """
        ...


MakeBench: TypeAlias = Callable[[int], Bench]
"""Return an empty bench; the number is the step of subqueries without one, in milliseconds."""
