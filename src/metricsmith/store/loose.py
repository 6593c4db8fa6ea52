"""Loose samples: those without a stable layout or out of order, kept as sorted runs.

Whole batches are appended as they come; a run is made of them when a query needs one or when they
have become many, and runs of similar size are merged, so that each sample is sorted a logarithmic
number of times (docs/decisions/0002-loose-samples-are-sorted-runs.md).
"""

from __future__ import annotations

import numpy as np

from metricsmith.model.arrays import F64, I64, U32, Bool
from metricsmith.store.pieces import RaggedPiece
from metricsmith.store.ragged import concatenate, joined_stale, sort_samples

SETTLE_SAMPLES = 131_072
"""As many unsorted samples are made a run without being asked for."""
LARGEST_MERGE = 1 << 19
"""Larger runs stay as they are: nobody waits for a merge of the whole head."""
SAMPLE_BYTES = 4 + 8 + 8 + 1


class LooseSamples:
    """Samples in order of arrival, readable as runs; the later of two equal (series, time) wins."""

    def __init__(self) -> None:
        self.first_ms = 1 << 62
        self.last_ms = -(1 << 62)
        self._runs: list[RaggedPiece] = []
        self._waiting: list[tuple[U32, I64, F64, Bool | None]] = []
        self._waiting_samples = 0

    @property
    def samples(self) -> int:
        """Samples kept, those that wait to be sorted among them."""
        return self._waiting_samples + sum(len(run.times) for run in self._runs)

    @property
    def bytes(self) -> int:
        """Memory of the samples."""
        return self.samples * SAMPLE_BYTES

    def append(self, series: U32, times: I64, values: F64, stale: Bool | None) -> None:
        """Add samples in any order.

        Shapes:
            series, times, values, stale: (P,)
        """
        if stale is not None and stale.any():
            values = np.where(stale, np.nan, values)
        else:
            stale = None
        self._waiting.append((series, times, values, stale))
        self._waiting_samples += len(series)
        self.first_ms = min(self.first_ms, int(times.min()))
        self.last_ms = max(self.last_ms, int(times.max()))
        if self._waiting_samples >= SETTLE_SAMPLES:
            self.settle()

    def settle(self) -> list[RaggedPiece]:
        """Sort what waits and return all runs, oldest first; each is sorted by series id, then time."""
        if self._waiting:
            self._runs.append(_run(self._waiting))
            self._waiting = []
            self._waiting_samples = 0
            while len(self._runs) > 1 and self._merges(len(self._runs[-2].times), len(self._runs[-1].times)):
                newer, older = self._runs.pop(), self._runs.pop()
                self._runs.append(concatenate([older, newer]))
        return self._runs[:]

    @staticmethod
    def _merges(older: int, newer: int) -> bool:
        return older < 2 * newer and older + newer <= LARGEST_MERGE


def _run(batches: list[tuple[U32, I64, F64, Bool | None]]) -> RaggedPiece:
    if len(batches) == 1:
        return sort_samples(*batches[0])
    stale = joined_stale([(b[3], len(b[0])) for b in batches])
    series, times, values = (np.concatenate([b[i] for b in batches]) for i in range(3))
    return sort_samples(series, times, values, stale)
