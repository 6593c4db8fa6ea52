"""Relabelling of every batch that passes, decided once per series."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from pydantic import Field

from metricsmith.contracts import Context, PartConfig
from metricsmith.model.arrays import I64, U32
from metricsmith.model.batch import Batch, Layout
from metricsmith.model.labels import NAME_LABEL, encode_labels
from metricsmith.model.relabel import RelabelRule, relabel
from metricsmith.model.renames import Renames

UNDECIDED = -2
DROPPED = -1


class RelabelConfig(PartConfig):
    """Settings of a `relabel` processor."""

    rules: tuple[RelabelRule, ...] = Field(
        min_length=1, max_length=1000, description="Rules in Prometheus' form, applied in order."
    )


@dataclass(frozen=True, slots=True)
class _Verdict:
    """What becomes of a layout: itself, or a new layout and the samples that it takes."""

    layout: Layout
    gather: I64 | None
    dropped: int
    duplicates: int


class RelabelProcessor:
    """Applies relabel rules to the labels of every series; a dropped series is not passed on.

    A batch in which two series become one keeps the later of them.
    """

    Config: ClassVar[type[RelabelConfig]] = RelabelConfig

    def __init__(self, config: RelabelConfig, context: Context) -> None:
        self._rules = config.rules
        self._context = context
        self._renames = Renames()
        self._decided: I64 = np.full(1024, UNDECIDED, dtype=np.int64)

    def process(self, batch: Batch) -> Batch | None:
        verdict = batch.layout.derive(self, self._judge)
        if verdict.gather is None:
            return batch
        self._count(verdict.dropped, "relabel")
        self._count(verdict.duplicates, "duplicate")
        take = verdict.gather
        if not len(take):
            return None
        time_ms = batch.time_ms if isinstance(batch.time_ms, int) else batch.time_ms[take]
        stale = None if batch.stale is None else batch.stale[take]
        return Batch(verdict.layout, time_ms, batch.value[take], stale)

    def _judge(self, layout: Layout) -> _Verdict:
        decided = self._decide(layout.ids)
        if np.array_equal(decided, layout.ids):
            return _Verdict(layout, None, 0, 0)
        kept = np.flatnonzero(decided != DROPPED)
        # Without a stream one series may have many samples in a batch, and two that become one are merged.
        gather = kept if layout.stream is None else _last_of_each(decided, kept)
        ids = decided[gather].astype(np.uint32)
        dropped, duplicates = len(decided) - len(kept), len(kept) - len(gather)
        metadata = self._renames.follow(layout.metadata)
        return _Verdict(Layout(ids, layout.stream, metadata), gather, dropped, duplicates)

    def _decide(self, ids: U32) -> I64:
        """Return the id that each series becomes, or DROPPED; rules run once per series."""
        table = self._context.series
        if len(table) > len(self._decided):
            grown = np.full(2 * len(table), UNDECIDED, dtype=np.int64)
            grown[: len(self._decided)] = self._decided
            self._decided = grown
        for series in np.unique(ids[self._decided[ids] == UNDECIDED]).tolist():
            before = table.labels(series)
            labels = relabel(before, self._rules)
            self._decided[series] = DROPPED if not labels else table.intern(encode_labels(labels))
            if labels:
                self._renames.note(before.get(NAME_LABEL, ""), labels.get(NAME_LABEL, ""))
        return self._decided[ids]

    def _count(self, samples: int, reason: str) -> None:
        if samples:
            self._context.telemetry.count(
                "metricsmith_samples_dropped_total", samples, component=self._context.name, reason=reason
            )


def _last_of_each(decided: I64, kept: I64) -> I64:
    _, from_end = np.unique(decided[kept][::-1], return_index=True)
    return kept[np.sort(len(kept) - 1 - from_end)]
