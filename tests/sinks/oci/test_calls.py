"""Each sample of a delivery is sent once, or there is a reason why not; calls keep within the limits."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from metricsmith.model.labels import encode_labels
from metricsmith.sinks.oci.calls import CallWriter
from metricsmith.sinks.oci.streams import Streams
from metricsmith.testing.oci_rules import points_of, read_call

NOW_MS = 1_700_000_000_000
LONELY = {"instance": "here", "job": "metricsmith"}
TOO_MANY = {f"l{n}": "x" for n in range(21)}
SERIES = [
    *({"__name__": "m", "n": str(n)} for n in range(70)),
    {"__name__": "a:b", "n": "1"},
    {"__name__": "a_b", "n": "1"},  # the same stream as the one before
    {"__name__": "wide", **TOO_MANY},
    {"__name__": "alone"},
]
VALUES = st.sampled_from([0.0, -1.5, 1e300, 5e-324, math.nan, math.inf, -math.inf]) | st.floats()
TIMES = st.integers(NOW_MS - 7_000_000, NOW_MS + 599_999) | st.just(NOW_MS + 600_001)

samples = st.tuples(st.integers(0, len(SERIES) - 1), VALUES, TIMES, st.booleans())
batches = st.lists(samples, max_size=60) | st.lists(
    st.tuples(st.integers(0, 69), VALUES, st.just(NOW_MS), st.just(False)), min_size=60, max_size=90
)


def _batch(here: Any, drawn: list[Any]) -> Any:
    numbers, values, times, stale = zip(*drawn, strict=True) if drawn else ((), (), (), ())
    layout = here.layout([SERIES[number] for number in numbers], None)
    same = len(set(times)) == 1
    return here.batch(layout, times[0] if same else list(times), values, stale if any(stale) else None)


@given(st.lists(batches, max_size=4))
def test_every_sample_is_accounted_for(new_here: Any, drawn: list[list[Any]]) -> None:
    here = new_here()
    writer = CallWriter(Streams(here.series, LONELY), "shop", "ocid1.compartment.oc1..a", "web")
    calls = writer.write(here.delivery(*(_batch(here, each) for each in drawn)), NOW_MS)
    ids = {number: here.series.find(encode_labels(SERIES[number])) for batch in drawn for number, *_ in batch}
    wanted: Counter[Any] = Counter()
    not_finite = 0
    refused = set()
    for number, value, time_ms, stale in (sample for batch in drawn for sample in batch):
        if stale or not math.isfinite(value):
            not_finite += not stale
        elif "l20" in SERIES[number] or time_ms > NOW_MS + 600_000:
            refused.add(ids[number])
        else:
            wanted[ids[number], time_ms, value] += 1
    two = [ids[number] for number in (70, 71) if number in ids]
    refused |= set(two) & set(calls.refused)  # whichever comes second
    assert len(set(two) & set(calls.series)) < 2
    assert set(calls.refused) == refused
    assert calls.unsent["not_finite"] == not_finite
    streams = {Streams(here.series, LONELY).stream(series): series for series in calls.series}
    points = [
        point for body in calls.bodies for metric in read_call(body) for point in points_of(metric, NOW_MS)
    ]
    assert not any(isinstance(point, str) for point in points), points
    sent: Any = Counter((streams[p.stream], p.time_ms, p.value) for p in points if not isinstance(p, str))
    assert sent == Counter({key: count for key, count in wanted.items() if key[0] not in refused})
    assert set(calls.series) == {series for series, _, _ in sent}
