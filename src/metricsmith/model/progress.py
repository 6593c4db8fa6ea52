"""A running query as others see it: what it has done, and a way to end it."""

from __future__ import annotations

from dataclasses import dataclass, field

from metricsmith.errors import QueryCancelled


@dataclass(frozen=True, slots=True)
class StepReport:
    """What node `number` of a plan did.

    `samples` came out of it: samples under windows, or values (series × steps);
    `loaded` were read from the store for it, markers included.
    """

    number: int
    series: int
    samples: int
    loaded: int
    seconds: float


@dataclass(slots=True)
class Progress:
    """One query; `cancelled` may be set from another thread, the rest is written by the query's own.

    `samples` and `series` are those read from the store; `peak_samples` the
    most that were in memory at once, loaded and computed. `steps` are in the
    order of the plan's nodes.
    """

    cancelled: bool = False
    samples: int = 0
    series: int = 0
    peak_samples: int = 0
    steps: list[StepReport] = field(default_factory=list)

    def check(self) -> None:
        """Raise QueryCancelled once nobody waits for the query; called between pieces of work."""
        if self.cancelled:
            raise QueryCancelled("query was canceled: who asked has gone away")
