"""The samples inside the windows of one step, as they are: what `x[5m]` alone answers."""

from __future__ import annotations

import numpy as np

from metricsmith.model.sample_groups import as_ragged, concatenate
from metricsmith.model.selection import RaggedGroup
from metricsmith.promql.ragged_windows import Coverage
from metricsmith.promql.series_labels import label_order
from metricsmith.promql.values import RangeVector


def raw_samples(vector: RangeVector) -> tuple[list[bytes], RaggedGroup]:
    """Return the keys of the series with samples in their window, in label order, and those samples."""
    groups = [as_ragged(m) for m in vector.matrices] + ([] if vector.ragged is None else [vector.ragged])
    if not groups:
        empty = np.empty(0, np.int64)
        return [], RaggedGroup(empty, np.zeros(1, np.int64), empty, np.empty(0))
    group = concatenate(groups)
    first, last = Coverage.of(group, vector, every_step=True).bounds(group.times, slice(0, len(group.rows)))
    counts = last - first + 1
    filled = np.flatnonzero(counts > 0)
    keys = [vector.keys[i] for i in group.rows[filled].tolist()]
    order = label_order(keys)
    chosen = filled[order]
    spans = [np.arange(a, b + 1) for a, b in zip(first[chosen].tolist(), last[chosen].tolist(), strict=True)]
    samples = np.concatenate(spans) if spans else np.empty(0, np.int64)
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts[chosen])])
    rows = np.arange(len(chosen), dtype=np.int64)
    return [keys[i] for i in order], RaggedGroup(rows, offsets, group.times[samples], group.values[samples])
