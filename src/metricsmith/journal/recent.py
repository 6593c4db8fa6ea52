"""The last committed batches, for readers at the journal's end: what is in memory is not read back."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import islice
from weakref import WeakKeyDictionary

from metricsmith.model.batch import Batch, Layout
from metricsmith.wire.frames.decode import LayoutMemory

BUDGET = 1 << 18
"""In samples of 16 bytes: 4 MB."""
OBJECT = 256
"""What a batch or an event takes besides its samples, in samples: small batches must not add up."""
Numbered = tuple[int, Batch]


class Recent:
    """The newest batches within a budget of memory, without gaps in their sequence. On the event loop."""

    def __init__(self, budget: int = BUDGET) -> None:
        self._budget = budget
        self._batches: deque[Numbered] = deque()
        self._used = 0

    def add(self, committed: Sequence[Numbered]) -> None:
        """Keep what was committed, instead of the oldest where it is too much."""
        if self._batches and committed and self._batches[-1][0] + 1 != committed[0][0]:
            self._batches.clear()  # numbers were passed over
            self._used = 0
        self._batches.extend(committed)
        self._used += sum(_cost(batch) for _, batch in committed)
        while self._used > self._budget:
            _, batch = self._batches.popleft()
            self._used -= _cost(batch)

    def since(self, sequence: int, max_samples: int) -> list[Numbered]:
        """Return what follows from a number on, up to the batch that reaches `max_samples`.

        Nothing where that number is not here: it must be read from the files.
        """
        skipped = sequence - self._batches[0][0] if self._batches else -1
        if skipped < 0:
            return []
        found, samples = [], 0
        for numbered in islice(self._batches, skipped, None):
            found.append(numbered)
            samples += numbered[1].size
            if samples >= max_samples:
                break
        return found


def _cost(batch: Batch) -> int:
    return len(batch) + OBJECT * (1 + len(batch.events))


class Twins:
    """Batches in memory as a reader would have read them: with layouts of its own.

    What the reader's sink derives from a layout ends with the reader, and not with the source.
    """

    def __init__(self, layouts: LayoutMemory) -> None:
        self._layouts = layouts
        self._of: WeakKeyDictionary[Layout, Layout] = WeakKeyDictionary()

    def of(self, batch: Batch) -> Batch:
        """Return the same samples or events under the reader's layout; their origin is not for readers."""
        layout = batch.layout
        twin = self._of.get(layout)
        if twin is None:
            twin = self._of[layout] = self._layouts.same(Layout(layout.ids, layout.stream, layout.metadata))
        return Batch(twin, batch.time_ms, batch.value, batch.stale, batch.events)
