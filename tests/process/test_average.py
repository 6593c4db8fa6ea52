"""Averages and quantiles, per label set, by type: what a destination without histograms is sent."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metricsmith.model.batch import Batch
from metricsmith.model.metadata import MetricType
from metricsmith.promql import evaluate

STALE = "stale"


def shop(get, get_count, post, post_count):
    return {
        'lat_sum{method="GET"}': get,
        'lat_count{method="GET"}': get_count,
        'lat_bucket{method="GET",le="+Inf"}': get_count,
        'lat_sum{method="POST"}': post,
        'lat_count{method="POST"}': post_count,
        'lat_created{method="GET"}': 1.7e9,
    }


def run(lab, processor, *batches):
    return [lab.shown(processor.process(batch)) for batch in batches]


def averages(shown):
    return {series: value for series, value in shown.items() if "_avg" in series}


def test_each_label_set_has_its_own_average(lab):
    # Dividing both sums by the first count would give 50 for POST.
    average = lab.processor("average", mode="lifetime")
    (got,) = run(lab, average, lab.batch(1, shop(2.0, 2, 100.0, 100)))
    assert averages(got) == {'lat_avg{method="GET"}': 1.0, 'lat_avg{method="POST"}': 1.0}


def test_by_default_an_average_is_over_what_came_since_the_batch_before(lab):
    first, second, third = run(
        lab,
        lab.processor("average"),
        lab.batch(15, shop(100.0, 10, 1.0, 1)),
        lab.batch(30, shop(103.0, 13, 1.0, 1)),
        lab.batch(45, shop(103.0, 13, 5.0, 2)),
    )
    assert first == {'lat_count{method="GET"}': 10, 'lat_count{method="POST"}': 1}
    assert averages(second) == {'lat_avg{method="GET"}': 1.0, 'lat_avg{method="POST"}': STALE}
    assert averages(third) == {'lat_avg{method="GET"}': STALE, 'lat_avg{method="POST"}': 4.0}
    assert lab.dropped("averaged") == 12


@pytest.mark.parametrize(
    ("config", "passes"),
    [
        ({}, {"lat_count"}),
        ({"keep_sum": True}, {"lat_count", "lat_sum"}),
        ({"keep_buckets": True, "keep_created": True}, {"lat_count", "lat_bucket", "lat_created"}),
    ],
)
def test_what_is_passed_on(lab, config, passes):
    (got,) = run(lab, lab.processor("average", **config), lab.batch(15, shop(1, 1, 1, 1)))
    assert {series.split("{")[0] for series in got} == passes


@pytest.mark.parametrize("kind", [MetricType.GAUGE, MetricType.COUNTER, MetricType.UNKNOWN, None])
def test_the_type_decides_and_not_the_name(lab, kind):
    types = {} if kind is None else {"queue_sum": kind, "queue_count": kind, "queue_bucket": kind}
    values = {'queue_sum{x="a"}': 4.0, 'queue_count{x="a"}': 2.0, 'queue_bucket{x="a"}': 1.0}
    batch = lab.batch(15, values, types=types)
    assert lab.processor("average", mode="lifetime").process(batch) is batch


def test_a_gauge_named_like_a_part_of_a_histogram_is_none(lab):
    types = {"lat": MetricType.HISTOGRAM, "lat_sum": MetricType.GAUGE}
    batch = lab.batch(15, {"lat_sum": 4.0, "lat_count": 2.0}, types=types)
    assert lab.processor("average", mode="lifetime").process(batch) is batch


def test_a_restart_begins_anew(lab):
    *_, last = run(
        lab,
        lab.processor("average"),
        lab.batch(15, shop(100.0, 100, 0, 0)),
        lab.batch(30, shop(6.0, 3, 0, 0)),
    )
    assert averages(last)['lat_avg{method="GET"}'] == 2.0


def test_an_interruption_is_bridged_up_to_the_gap_that_is_allowed(lab):
    average = lab.processor("average", max_gap="1m")
    results = run(lab, average, *(lab.batch(t, shop(t * 2.0, t, 0, 0)) for t in (15, 60, 200, 215)))
    found = [averages(got).get('lat_avg{method="GET"}') for got in results]
    assert found == [None, 2.0, STALE, 2.0]


def test_what_comes_late_or_twice_says_nothing(lab):
    average = lab.processor("average")
    run(lab, average, lab.batch(15, shop(1, 1, 0, 0)), lab.batch(30, shop(3, 2, 0, 0)))
    again = average.process(lab.batch(30, shop(3, 2, 0, 0)))
    assert averages(lab.shown(again)) == {}
    assert lab.dropped("out_of_order") == 2
    following = average.process(lab.batch(45, shop(9, 4, 0, 0)))
    assert averages(lab.shown(following))['lat_avg{method="GET"}'] == 3.0


def test_metadata_of_what_is_derived(lab):
    got = lab.processor("average", mode="lifetime", quantiles=[0.99]).process(lab.batch(1, shop(1, 1, 1, 1)))
    assert got.layout.metadata["lat_avg"].type is MetricType.GAUGE
    assert got.layout.metadata["lat_p99"].type is MetricType.GAUGE


BOUNDS = ("0.1", "0.5", "1", "1.0", "5", "+Inf")


@given(
    st.lists(
        st.lists(st.integers(0, 20), min_size=len(BOUNDS), max_size=len(BOUNDS)), min_size=2, max_size=5
    ),
    st.sampled_from([0.01, 0.5, 0.9, 0.999]),
)
def test_quantiles_are_those_of_promql(new_lab, increments, quantile):
    lab = new_lab()
    average = lab.processor("average", mode="lifetime", quantiles=[quantile])
    series = [f'lat_bucket{{x="{x}",le="{le}"}}' for x in range(len(increments)) for le in BOUNDS]
    counts = np.cumsum(np.array(increments, dtype=np.float64), axis=1).ravel()
    layout = lab.layout(*series)
    got = lab.shown(average.process(Batch(layout, 60_000, counts)))
    data = [
        (lab.table.labels(i), [60_000], [value]) for i, value in zip(layout.ids.tolist(), counts, strict=True)
    ]
    answer = evaluate(f"histogram_quantile({quantile}, lat_bucket)", data, time=60_000)["result"]
    wanted = {one["metric"]["x"]: float(one["value"][1]) for one in answer}
    for x, value in wanted.items():
        name = next((s for s in got if f'x="{x}"' in s), None)
        if np.isnan(value):
            assert name is None or got[name] == STALE
        else:
            assert got[name] == pytest.approx(value)


def test_quantiles_of_what_came_since_the_batch_before(lab):
    average = lab.processor("average", quantiles=[0.5])
    series = ['lat_bucket{le="1"}', 'lat_bucket{le="2"}', 'lat_bucket{le="+Inf"}']
    old = dict(zip(series, [1000, 1000, 1000], strict=True))
    new = dict(zip(series, [1000, 1010, 1010], strict=True))
    _, got = run(lab, average, lab.batch(15, old), lab.batch(30, new))
    assert got == {"lat_p50": 1.5}


@given(st.lists(st.tuples(st.floats(0, 10), st.integers(0, 5), st.booleans()), min_size=1, max_size=12))
def test_averages_agree_with_one_label_set_at_a_time(new_lab, cycles):
    lab = new_lab()
    average = lab.processor("average")
    before, total, count = None, 0.0, 0
    for step, (size, more, restart) in enumerate(cycles, 1):
        total, count = (0.0, 0) if restart else (total, count)
        total, count = total + size * more, count + more
        got = averages(lab.shown(average.process(lab.batch(step, {"lat_sum": total, "lat_count": count}))))
        if before is None:
            assert got == {}
        else:
            fell = count < before[1]
            grown, observed = (total, count) if fell else (total - before[0], count - before[1])
            value = got.get("lat_avg", STALE)
            assert value == (pytest.approx(grown / observed) if observed else STALE)
        before = total, count
