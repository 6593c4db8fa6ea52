"""What a store answers to a selector: series, and their samples as matrices where timestamps are shared."""

from __future__ import annotations

from dataclasses import dataclass

from metricsmith.errors import QueryLimitExceeded
from metricsmith.model.arrays import F64, I64, Bool


class SampleLimit:
    """Counts the samples of one selection, best before they are read, against the most that it may have."""

    def __init__(self, most: int | None) -> None:
        self._most = most
        self._counted = 0

    def has_room_for(self, samples: int) -> bool:
        """Return whether so many more are allowed."""
        return self._most is None or self._counted + samples <= self._most

    def add(self, samples: int) -> None:
        """Count samples.

        Raises:
            QueryLimitExceeded: they are too many.
        """
        if self._most is None:
            return
        if not self.has_room_for(samples):
            raise QueryLimitExceeded(
                "query processing would load too many samples into memory: got at least "
                f"{self._counted + samples} of one selector, wanted at most {self._most}; "
                "use a narrower selector or a shorter range",
                "samples",
            )
        self._counted += samples


UNLIMITED = SampleLimit(None)


@dataclass(frozen=True, slots=True)
class MatrixGroup:
    """Series that have exactly the same timestamps, every sample present.

    `stale[t]` says that all series of the group have a staleness marker at
    `times[t]` (value NaN, ignored); None when there is none.

    Shapes:
        rows: (S,) int64 indices into `Selection.keys`.
        times: (T,) int64, strictly ascending.
        values: (S, T) float64, C order.
        stale: (T,) bool or None.
    """

    rows: I64
    times: I64
    values: F64
    stale: Bool | None = None


@dataclass(frozen=True, slots=True)
class RaggedGroup:
    """Series with timestamps of their own, one after another in flat arrays.

    Series i of the group has samples `offsets[i]:offsets[i + 1]`.

    Shapes:
        rows: (S,) int64 indices into `Selection.keys`.
        offsets: (S + 1,) int64.
        times: (P,) int64, strictly ascending within a series.
        values: (P,) float64.
        stale: (P,) bool or None.
    """

    rows: I64
    offsets: I64
    times: I64
    values: F64
    stale: Bool | None = None


@dataclass(frozen=True, slots=True)
class Selection:
    """All samples of the series that a selector matches, in a closed time range.

    Every series stands in exactly one group; series without a sample in the
    range are left out. `keys` are canonical label keys (`model.labels`), in
    byte order.

    Shapes:
        keys: S canonical keys.
    """

    keys: list[bytes]
    matrices: list[MatrixGroup]
    ragged: RaggedGroup | None = None

    def sample_count(self) -> int:
        """Return the number of samples, staleness markers included."""
        flat = 0 if self.ragged is None else len(self.ragged.times)
        return flat + sum(m.values.size for m in self.matrices)
