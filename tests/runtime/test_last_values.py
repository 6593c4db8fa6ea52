"""The last value of every series that passes, whatever comes in which order."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from metricsmith.model.batch import Batch, Layout
from metricsmith.model.labels import encode_labels
from metricsmith.model.metadata import Metadata, MetricType
from metricsmith.model.series import SeriesTable
from metricsmith.runtime.last_values import LastValues

SAMPLE = st.tuples(st.integers(0, 3000), st.integers(0, 50), st.none() | st.integers(-3, 3))


@given(batches=st.lists(st.lists(SAMPLE, max_size=8), max_size=8), since=st.integers(0, 50))
def test_the_last_sample_counts_and_an_end_is_an_end(
    batches: list[list[tuple[int, int, int | None]]], since: int
) -> None:
    table, kept = SeriesTable(), {}
    keys = [encode_labels({"__name__": "x", "n": str(n)}) for n in range(3001)]
    ids = [table.intern(key) for key in keys]
    last = LastValues(table)
    for samples in batches:
        for n, time_ms, value in samples:
            if n not in kept or time_ms >= kept[n][0]:
                kept[n] = (time_ms, value)
        # In the order in which it would count: of two samples at one time the later one stays.
        layout = Layout(np.array([ids[n] for n, _, _ in samples], np.uint32))
        value = np.array([math.nan if v is None else float(v) for _, _, v in samples])
        stale = np.array([v is None for _, _, v in samples], np.bool_)
        last.apply(Batch(layout, np.array([t for _, t, _ in samples], np.int64), value, stale))
    found, values = last.since(since)
    wanted = {keys[n]: float(v) for n, (t, v) in kept.items() if t >= since and v is not None}
    assert dict(zip(found, values.tolist(), strict=True)) == wanted


def test_families_are_known_by_what_was_said_last() -> None:
    table = SeriesTable()
    last = LastValues(table)
    ids = np.array([table.intern(encode_labels({"__name__": "x"}))], np.uint32)
    for kind in (MetricType.GAUGE, MetricType.COUNTER):
        last.apply(Batch(Layout(ids, None, {"x": Metadata(kind, "", "")}), 1, np.ones(1)))
    assert last.metadata() == {"x": Metadata(MetricType.COUNTER, "", "")}
