"""The samples inside the windows of one step, as they are: what `x[5m]` alone answers."""

from __future__ import annotations

import numpy as np

from metricsmith.model.sample_groups import as_ragged, concatenate
from metricsmith.model.selection import RaggedGroup
from metricsmith.promql.series_labels import label_order
from metricsmith.promql.values import RangeVector


def raw_samples(vector: RangeVector) -> tuple[list[bytes], RaggedGroup]:
    """Return the keys of the series with samples in their window, in label order, and those samples."""
    groups = [as_ragged(m) for m in vector.matrices] + ([] if vector.ragged is None else [vector.ragged])
    if not groups:
        empty = np.empty(0, np.int64)
        return [], RaggedGroup(empty, np.zeros(1, np.int64), empty, np.empty(0))
    group = _inside(groups[0] if len(groups) == 1 else concatenate(groups), vector)
    counts = np.diff(group.offsets)
    filled = np.flatnonzero(counts)
    filled = filled[np.argsort(group.rows[filled])]
    keys = vector.keys
    if len(filled) < len(keys):
        keys = [keys[i] for i in group.rows[filled].tolist()]
    order = label_order(keys)
    chosen = filled[order]
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts[chosen])])
    times, values = group.times, group.values
    if (chosen[1:] < chosen[:-1]).any():
        samples = np.arange(offsets[-1]) + np.repeat(group.offsets[chosen] - offsets[:-1], counts[chosen])
        times, values = times[samples], values[samples]
    rows = np.arange(len(chosen), dtype=np.int64)
    return [keys[i] for i in order], RaggedGroup(rows, offsets, times, values)


def _inside(group: RaggedGroup, vector: RangeVector) -> RaggedGroup:
    """Return the samples of a group that lie in the one window."""
    end_ms = vector.ends.start_ms
    first_ms = end_ms - vector.range_ms + (0 if vector.closed else 1)
    inside = (group.times >= first_ms) & (group.times <= end_ms)
    if inside.all():
        return group
    before = np.concatenate([np.zeros(1, np.int64), np.cumsum(inside)])
    return RaggedGroup(group.rows, before[group.offsets], group.times[inside], group.values[inside])
