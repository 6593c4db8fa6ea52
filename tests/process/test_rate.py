"""Counters as rates and differences."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metricsmith.model.batch import Batch
from metricsmith.model.metadata import MetricType

STALE = "stale"
A = 'hits_total{x="a"}'


def run(lab, processor, *batches):
    return [lab.shown(processor.process(batch)) for batch in batches]


def test_counters_become_rates_and_nothing_else_does(lab):
    first, second = run(
        lab,
        lab.processor("rate"),
        lab.batch(10, {A: 100, "size": 5, "lat_count": 3}),
        lab.batch(20, {A: 150, "size": 6, "lat_count": 4}),
    )
    assert first == {"size": 5, "lat_count": 3}
    assert second == {"size": 6, "lat_count": 4, 'hits_per_second{x="a"}': 5}


def test_delta_and_the_counter_itself(lab):
    _, got = run(lab, lab.processor("delta", keep=True), lab.batch(10, {A: 1}), lab.batch(20, {A: 4}))
    assert got == {A: 4, 'hits_delta{x="a"}': 3}


def test_selectors_choose_whatever_the_type(lab):
    rate = lab.processor("rate", match=["lat_count"], suffix=":rate")
    _, got = run(lab, rate, lab.batch(10, {A: 1, "lat_count": 1}), lab.batch(20, {A: 1, "lat_count": 21}))
    assert got == {A: 1, "lat_count:rate": 2}


@pytest.mark.parametrize(
    ("second", "rate"), [(40, 3.0), (5, 0.5), (10, 0.0), (float("nan"), STALE), (STALE, STALE)]
)
def test_growth_resets_and_ends(lab, second, rate):
    _, _, got = run(
        lab,
        lab.processor("rate"),
        lab.batch(0, {A: 0}),
        lab.batch(10, {A: 10}),
        lab.batch(20, {A: second}),
    )
    shown = got['hits_per_second{x="a"}']
    assert shown == rate or (second != second and shown != shown)


def test_after_an_end_the_change_covers_the_interruption(lab):
    results = run(
        lab,
        lab.processor("delta", max_gap="1m"),
        *(lab.batch(t, {A: v}) for t, v in ((0, 0), (10, 1), (20, STALE), (50, 9), (150, 20), (160, 22))),
    )
    assert [got.get('hits_delta{x="a"}') for got in results] == [None, 1, STALE, 8, STALE, 2]


def test_series_that_become_one_are_counted(lab):
    types = {"hits": MetricType.COUNTER, "hits_total": MetricType.COUNTER}
    _, got = run(
        lab,
        lab.processor("rate"),
        *(lab.batch(t, {"hits": t, "hits_total": 2 * t}, types=types) for t in (10, 20)),
    )
    assert got == {"hits_per_second": 1}
    assert lab.dropped("duplicate") == 1


def test_memory_of_series_that_are_gone_is_given_back(lab):
    rate = lab.processor("rate", max_gap="1m")
    for turn in range(50):
        values = {f'hits_total{{x="{turn}-{i}"}}': 1 for i in range(100)}
        rate.process(lab.batch(turn * 60, values))
        lab.clock.advance(61)
    assert len(rate._state) <= 300
    assert len(rate._state.columns["value"]) <= 2048


def test_a_series_that_comes_back_after_its_memory_was_given_back_begins_anew(lab):
    rate = lab.processor("rate", max_gap="1m")
    series = lab.batch(0, {A: 5})
    rate.process(series)
    for time_s in (200, 400):
        lab.clock.advance(200)
        rate.process(lab.batch(time_s, {"hits_total": 1}))
    assert len(rate._state) == 1
    other = {'hits_total{x="b"}': 7, A: 6}
    assert run(lab, rate, lab.batch(401, other), lab.batch(411, {A: 16})) == [
        {},
        {'hits_per_second{x="a"}': 1},
    ]


SAMPLES = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(0, 30), st.integers(0, 50)), min_size=1, max_size=20
)


@given(st.lists(SAMPLES, min_size=1, max_size=4))
def test_changes_agree_with_one_sample_after_the_other(new_lab, batches):
    """Samples of no stream, in any order, several of one series in a batch."""
    lab = new_lab()
    delta = lab.processor("delta", max_gap="20s")
    last: dict[str, tuple[int, int]] = {}
    for samples in batches:
        distinct = list({(x, t): v for x, t, v in samples}.items())
        wanted = {}
        for (x, t), v in sorted(distinct):
            if x in last and t <= last[x][0]:
                continue
            if x in last and t - last[x][0] <= 20:
                wanted[x, t * 1000] = v if v < last[x][1] else v - last[x][1]
            last[x] = t, v
        layout = lab.layout(*(f'hits_total{{x="{x}"}}' for (x, _), _ in distinct), stream=None)
        times = np.array([t * 1000 for (_, t), _ in distinct])
        batch = Batch(layout, times, np.array([float(v) for _, v in distinct]))
        got = delta.process(batch)
        found = {}
        if got is not None:
            columns = got.layout.ids, got.times(), got.value, got.stales()
            for series, t, v, stale in zip(*(c.tolist() for c in columns), strict=True):
                if not stale:
                    found[lab.table.labels(series)["x"], t] = v
        assert found == wanted
