"""Many series as few, beside PromQL's own aggregations."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metricsmith.model.batch import Batch
from metricsmith.promql import evaluate

STALE = "stale"


@given(
    st.dictionaries(
        st.tuples(st.sampled_from("abc"), st.sampled_from("xyz")),
        st.sampled_from([1.0, -2.5, 7.0, float("inf"), float("nan")]),
        min_size=1,
    ),
    st.sampled_from(["sum", "avg", "min", "max", "count"]),
    st.sampled_from(["by", "without"]),
)
def test_a_batch_is_aggregated_as_promql_does_it(new_lab, values, function, grouping):
    lab = new_lab()
    aggregate = lab.processor("aggregate", match=["size"], function=function, suffix="", **{grouping: ["p"]})
    layout = lab.layout(*(f'size{{p="{p}",q="{q}"}}' for p, q in values))
    numbers = list(values.values())
    got = lab.shown(aggregate.process(Batch(layout, 1000, np.array(numbers))))
    data = [(lab.table.labels(i), [1000], [v]) for i, v in zip(layout.ids.tolist(), numbers, strict=True)]
    label = "p" if grouping == "by" else "q"
    answer = evaluate(f"{function} {grouping} (p) (size)", data, time=1000)["result"]
    assert got == pytest.approx(
        {f'size{{{label}="{one["metric"][label]}"}}': float(one["value"][1]) for one in answer}, nan_ok=True
    )


def test_in_a_batch_what_ended_does_not_count_and_a_group_without_members_ends(lab):
    aggregate = lab.processor("aggregate", match=["size"], by=["p"], function="count", keep=True)
    values = {'size{p="a", q="1"}': 1, 'size{p="a", q="2"}': STALE, 'size{p="b"}': STALE}
    got = lab.shown(aggregate.process(lab.batch(1, values)))
    assert got == {**values, 'size:count{p="a"}': 1, 'size:count{p="b"}': STALE}


def tick(lab, processor, now_s):
    batch = processor.tick(now_s * 1000)
    return None if batch is None else (batch.time_ms, batch.layout.stream, lab.shown(batch))


def ticking(lab, **config):
    settings = {"match": ["size"], "by": [], "interval": "10s", "delay": "2s", **config}
    return lab.processor("aggregate", **settings)


def feed(lab, processor, *samples):
    for time_s, values, stream in samples:
        processor.process(lab.batch(time_s, values, stream=stream))


def test_a_series_counts_once_in_a_tick_whatever_its_source(lab):
    total = ticking(lab)
    feed(lab, total, (101, {'size{i="1"}': 5}, "one"), (106, {'size{i="1"}': 7}, "one"))
    feed(lab, total, (109, {'size{i="2"}': 10}, "two"), (110, {'size{i="3"}': 100}, "three"))
    feed(lab, total, (111, {'size{i="1"}': 1000}, "one"))
    assert tick(lab, total, 111) is None
    assert tick(lab, total, 112) == (110_000, "aggregate/p", {"size:sum": 117})
    assert tick(lab, total, 112) is None
    assert tick(lab, total, 122) == (120_000, "aggregate/p", {"size:sum": 1000})
    assert lab.dropped("aggregated") == 5


@pytest.mark.parametrize(
    ("over_time", "result"), [("last", 2), ("min", 1), ("max", 9), ("sum", 12), ("count", 3), ("avg", 4)]
)
def test_what_a_series_had_in_a_tick_becomes_one_first(lab, over_time, result):
    total = ticking(lab, over_time=over_time)
    feed(lab, total, (101, {"size": 1}, "s"), (108, {"size": 2}, "s"), (105, {"size": 9}, None))
    assert tick(lab, total, 112)[2] == {"size:sum": result}


def test_a_group_ends_when_its_series_have_ended_or_come_no_more(lab):
    total = ticking(lab, by=["p"])
    feed(lab, total, (101, {'size{p="a"}': 1, 'size{p="b"}': 2}, "s"))
    tick(lab, total, 112)
    feed(lab, total, (111, {'size{p="a"}': 1, 'size{p="b"}': 2}, "s"), (115, {'size{p="b"}': STALE}, "s"))
    assert tick(lab, total, 122)[2] == {'size:sum{p="a"}': 1, 'size:sum{p="b"}': STALE}
    assert tick(lab, total, 132)[2] == {'size:sum{p="a"}': STALE}
    assert tick(lab, total, 142) is None
    feed(lab, total, (201, {'size{p="a"}': 4}, "s"))
    assert tick(lab, total, 212) == (210_000, "aggregate/p", {'size:sum{p="a"}': 4})


def test_what_belongs_to_a_tick_that_is_over_is_counted(lab):
    total = ticking(lab)
    feed(lab, total, (101, {"size": 1}, "s"))
    tick(lab, total, 112)
    feed(lab, total, (102, {"size": 5}, "s"))
    assert lab.dropped("outside_tick") == 1


def test_times_in_the_far_future_do_not_keep_out_the_present(lab):
    total = ticking(lab)
    feed(lab, total, *((10**9 + 100 * i, {"size": 1}, None) for i in range(50)))
    feed(lab, total, (101, {"size": 5}, "s"))
    assert tick(lab, total, 112)[2] == {"size:sum": 5}
    assert lab.dropped("outside_tick") == 35


def test_groups_keep_their_layout_from_tick_to_tick(lab):
    total = ticking(lab, by=["p"])
    layouts = set()
    for turn in range(1, 4):
        feed(lab, total, (turn * 10, {'size{p="a"}': 1, 'size{p="b"}': 2}, "s"))
        layouts.add(total.tick(turn * 10_000 + 2000).layout)
    assert len(layouts) == 1
