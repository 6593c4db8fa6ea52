"""Samples that go on under other labels, or not at all: decided once per series, remembered by its id."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from metricsmith.contracts import Context
from metricsmith.model.arrays import I64, U32
from metricsmith.model.batch import Batch, Layout
from metricsmith.model.labels import NAME_LABEL, encode_labels
from metricsmith.model.renames import Renames
from metricsmith.process.counting import count_dropped

UNDECIDED = -2
DROPPED = -1

Decide: TypeAlias = Callable[[dict[str, str]], Mapping[str, str] | None]
"""Returns the labels that a series has from now on, or nothing when it is dropped."""


@dataclass(frozen=True, slots=True)
class _Verdict:
    """What becomes of a layout: itself, or a new layout and the samples that it takes.

    Shapes:
        kept: (N,) places of samples that go on, or None for all as they are.
        place: (N,) where each goes in the new layout; the same twice where series become one.
    """

    layout: Layout
    kept: I64 | None
    place: I64
    dropped: int


class SeriesMap:
    """Gives each series the labels that are decided for it; a batch in which two become one keeps the later.

    An end is no sample: of a series that ended and one that goes on, the latter is kept.
    """

    def __init__(self, context: Context, decide: Decide, reason: str) -> None:
        self._decide, self._reason = decide, reason
        self._context = context
        self._renames = Renames()
        self._decided: I64 = np.full(1024, UNDECIDED, dtype=np.int64)

    def process(self, batch: Batch) -> Batch | None:
        """Return the samples that go on, None for none, the batch itself where nothing changes."""
        verdict = batch.layout.derive(self, self._judge)
        if verdict.kept is None:
            return batch
        layout = verdict.layout
        count_dropped(self._context, verdict.dropped, self._reason)
        count_dropped(self._context, len(verdict.kept) - len(layout), "duplicate")
        if not len(layout):
            return None
        return batch.take(layout, self._chosen(verdict, batch))

    def _chosen(self, verdict: _Verdict, batch: Batch) -> I64:
        """Return which sample of the batch goes to each place: the last that is assigned stays."""
        kept, place = verdict.kept, verdict.place
        assert kept is not None
        if len(kept) == len(verdict.layout):
            return kept
        if batch.stale is not None:
            order = np.argsort(~batch.stale[kept], kind="stable")
            kept, place = kept[order], place[order]
        chosen = np.empty(len(verdict.layout), dtype=np.int64)
        chosen[place] = kept
        return chosen

    def _judge(self, layout: Layout) -> _Verdict:
        decided = self._decided_of(layout.ids)
        if np.array_equal(decided, layout.ids):
            return _Verdict(layout, None, _NOWHERE, 0)
        kept = np.flatnonzero(decided != DROPPED)
        ids = decided[kept].astype(np.uint32)
        place = np.arange(len(kept))
        if layout.stream is not None:  # without a stream one series may have many samples in a batch
            ids, place = _distinct(ids)
        metadata = self._renames.follow(layout.metadata)
        return _Verdict(Layout(ids, layout.stream, metadata), kept, place, len(decided) - len(kept))

    def _decided_of(self, ids: U32) -> I64:
        """Return the id that each series becomes, or DROPPED; the decision is made once per series."""
        table = self._context.series
        if len(table) > len(self._decided):
            grown = np.full(2 * len(table), UNDECIDED, dtype=np.int64)
            grown[: len(self._decided)] = self._decided
            self._decided = grown
        for series in np.unique(ids[self._decided[ids] == UNDECIDED]).tolist():
            before = table.labels(series)
            labels = self._decide(dict(before))
            self._decided[series] = DROPPED if not labels else table.intern(encode_labels(labels))
            if labels:
                self._renames.note(before.get(NAME_LABEL, ""), labels.get(NAME_LABEL, ""))
        return self._decided[ids]


_NOWHERE: I64 = np.empty(0, dtype=np.int64)


def _distinct(ids: U32) -> tuple[U32, I64]:
    """Return the distinct ids in order of first appearance, and the place of each id among them."""
    found, first, inverse = np.unique(ids, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    return found[order], rank[inverse]
