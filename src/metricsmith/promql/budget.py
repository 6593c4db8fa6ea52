"""What one query may use."""

from __future__ import annotations

from dataclasses import dataclass

from metricsmith.errors import QueryLimitExceeded, QueryTimeout
from metricsmith.model.clock import Clock
from metricsmith.model.progress import Progress

MAX_LABEL_BYTES = 256 << 20


@dataclass(frozen=True, slots=True)
class Budget:
    """Limits of one query; the deadline is in the clock's monotonic time."""

    clock: Clock
    timeout_s: float
    deadline_s: float
    max_samples: int
    max_series: int
    max_points: int
    progress: Progress

    def check_time(self) -> None:
        """Raise once the query has run too long or nobody waits for it; called between pieces of work.

        Raises:
            QueryTimeout, QueryCancelled
        """
        self.progress.check()
        if self.clock.monotonic() > self.deadline_s:
            raise QueryTimeout(f"query timed out: ran longer than {round(self.timeout_s, 3):g} s")

    def check_samples(self, samples: int) -> None:
        """Raise QueryLimitExceeded when so many samples may not be in memory; called before they are."""
        self.progress.peak_samples = max(self.progress.peak_samples, samples)
        if samples > self.max_samples:
            raise QueryLimitExceeded(
                f"query processing would load too many samples into memory: got {samples}, wanted at "
                f"most {self.max_samples}; use a narrower selector, a shorter range or a larger step",
                "samples",
            )

    def check_series(self, series: int) -> None:
        """Raise QueryLimitExceeded when the query reads more series than it may."""
        if series > self.max_series:
            raise QueryLimitExceeded(
                f"query would read too many series: got {series}, wanted at most {self.max_series}; "
                "use a narrower selector",
                "series",
            )

    def check_labels(self, size: int) -> None:
        """Raise QueryLimitExceeded when a function makes more bytes of labels than a query may hold."""
        if size > MAX_LABEL_BYTES:
            raise QueryLimitExceeded(
                f"query would make too many labels: got over {MAX_LABEL_BYTES >> 20} MB of them; "
                "make shorter values, or of fewer series",
                "labels",
            )

    def check_answer(self, points: int) -> None:
        """Raise QueryLimitExceeded when the answer has more points than it may; called before it is text."""
        if points > self.max_points:
            raise QueryLimitExceeded(
                f"query would answer too many points: got {points}, wanted at most {self.max_points}; "
                "aggregate, or use a shorter range or a larger step",
                "points",
            )
