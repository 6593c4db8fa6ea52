"""What exact and sampled checks share: the budget, the counters, the logs that are looked at."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from metricsmith.contracts import Context
from metricsmith.sources.kafka.admin import Partition
from metricsmith.sources.kafka.fetch import Chunk
from metricsmith.sources.kafka.records import BatchCounts, Piece, count_batches

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Budget:
    """How much one check may read. Whatever ends it first leaves the rest for the next check.

    `sample_size` is how many records a sample takes of each partition, about:
    whole batches are read, and never fewer than eight windows.
    """

    sample_size: int = 1000
    records: int = 1 << 62
    bytes: int = 1 << 62
    seconds: float = 600.0


@dataclass(frozen=True, slots=True)
class Log:
    """A partition whose log goes from `start` to `end`; both are -1 when they could not be learnt."""

    partition: Partition
    start: int
    end: int

    @property
    def known(self) -> bool:
        """Whether its bounds could be learnt."""
        return self.start >= 0


@dataclass(frozen=True, slots=True)
class Tally:
    """What was read of a log: `covered` of its `length` offsets."""

    records: int = 0
    tombstones: int = 0
    empty_values: int = 0
    covered: int = 0
    length: int = 0


class Meter:
    """Counts what one check reads, and says when that is enough."""

    def __init__(
        self, context: Context, budget: Budget, check_crc: bool, cancelled: Callable[[], bool]
    ) -> None:
        self._context, self._budget = context, budget
        self._check_crc, self._cancelled = check_crc, cancelled
        self._records = self._bytes = 0
        self._spent = False
        self._deadline = context.clock.monotonic() + budget.seconds

    def counts(self, chunks: Sequence[Chunk], from_offsets: Sequence[int]) -> BatchCounts:
        """Return what the batches of an answer hold; records before `from_offsets` are left out."""
        pieces = [
            Piece(chunk.data, offset, chunk.aborted)
            for chunk, offset in zip(chunks, from_offsets, strict=True)
        ]
        counts = count_batches(pieces, self._check_crc)
        self._records += int(counts.records.sum())
        self._bytes += int(counts.size_bytes.sum())
        for reason, amount in counts.refused.items():
            self._context.telemetry.problem(
                log,
                "metricsmith_kafka_batches_refused_total",
                f"{self._context.name}: {amount} record batches could not be read: {reason}",
                amount=amount,
                source=self._context.name,
                reason=reason,
            )
        return counts

    def enough(self) -> bool:
        """Return whether the check must end."""
        if self._spent or self._cancelled():
            return True
        spent = (
            ("records", self._records >= self._budget.records),
            ("bytes", self._bytes >= self._budget.bytes),
            ("seconds", self._context.clock.monotonic() >= self._deadline),
        )
        for name, over in spent:
            if over:
                self._spent = True
                self.problem("budget", f"the check of tombstones has used up its budget of {name}")
                return True
        return False

    def problem(self, reason: str, message: str) -> None:
        """Count a trouble."""
        count_problem(self._context, reason, message)


def count_problem(context: Context, reason: str, message: str) -> None:
    """Count a trouble of a check of tombstones."""
    context.telemetry.problem(
        log,
        "metricsmith_kafka_failures_total",
        f"{context.name}: {message}",
        source=context.name,
        part="tombstones",
        reason=reason,
    )
