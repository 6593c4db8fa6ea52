"""What one query may use, and what it has to say besides its answer."""

from __future__ import annotations

from dataclasses import dataclass, field

from metricsmith.errors import QueryLimitExceeded, QueryTimeout
from metricsmith.model.clock import Clock


@dataclass(frozen=True, slots=True)
class Budget:
    """Limits of one query; the deadline is in the clock's monotonic time."""

    clock: Clock
    timeout_s: float
    deadline_s: float
    max_samples: int

    @classmethod
    def starting_now(cls, clock: Clock, timeout_s: float, max_samples: int) -> Budget:
        """Return the budget of a query that starts now."""
        return cls(clock, timeout_s, clock.monotonic() + timeout_s, max_samples)

    def check_time(self) -> None:
        """Raise QueryTimeout once the query has run too long; called between pieces of work."""
        if self.clock.monotonic() > self.deadline_s:
            raise QueryTimeout(f"query timed out: ran longer than {self.timeout_s:g} s")

    def check_samples(self, samples: int) -> None:
        """Raise QueryLimitExceeded when so many samples may not be in memory; called before they are."""
        if samples > self.max_samples:
            raise QueryLimitExceeded(
                f"query processing would load too many samples into memory: got {samples}, wanted at "
                f"most {self.max_samples}; use a narrower selector, a shorter range or a larger step"
            )


@dataclass(slots=True)
class Annotations:
    """Remarks on a query, each once, in order of appearance."""

    warnings: dict[str, None] = field(default_factory=dict)
    infos: dict[str, None] = field(default_factory=dict)

    def warn(self, message: str) -> None:
        """Add a warning."""
        self.warnings[message] = None

    def inform(self, message: str) -> None:
        """Add an info."""
        self.infos[message] = None
