"""Whatever form a collector gives its values in, they become the same series; what cannot be one is told."""

from __future__ import annotations

import math
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import Counter, Histogram, Info
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from metricsmith.collector import counter, gauge, untyped
from metricsmith.errors import LimitExceeded, SourceError
from metricsmith.model.metadata import Metadata, MetricType
from metricsmith.sources.python.limits import Limits
from metricsmith.sources.python.values import Taker, key_of

LIMITS = Limits(1000, 1000, 100, 100, 4, 20, {"job": "j"})
J = ("job", "j")


def taken(item, limits=LIMITS):
    taker = Taker("plain", limits)
    taker.take(item)
    return taker.rows


@pytest.mark.parametrize(
    "item",
    [
        ("a", 3, {"x": "1"}),
        [("a", 3, {"x": "1"})],
        (("a", 3, {"x": "1"}),),
        iter([[("a", 3, {"x": 1})]]),
        gauge("a", 3, {"x": "1"}),
        ("a", Decimal(3), {"x": "1", "empty": "", "none": None}),
        ("a", np.float32(3), {"x": "1"}),
        GaugeMetricFamily("a", "help", labels=["x"]),
    ],
    ids=lambda item: type(item).__name__,
)
def test_all_forms_of_one_sample_are_the_same(item):
    if isinstance(item, Metric):
        item.add_metric(["1"], 3)
    rows = taken(item)
    assert (rows.names, rows.values, rows.problems) == ([("a", (J, ("x", "1")))], [3.0], {})


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        (42, {"plain": 42}),
        (True, {"plain": 1}),
        (np.int64(4), {"plain": 4}),
        (None, {}),
        ([], {}),
        (("a", None), {}),
        ({"a": 1, "b": 2.5}, {"a": 1, "b": 2.5}),
        ([1, ("b", 2), None, {"c": 3}], {"plain": 1, "b": 2, "c": 3}),
        (("inf", math.inf), {"inf": math.inf}),
    ],
)
def test_values_without_labels(item, expected):
    rows = taken(item)
    assert dict(zip([name for name, _ in rows.names], rows.values, strict=True)) == expected


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        (("a", "three"), "value"),
        (("a", [1]), "value"),
        (("", 1), "name"),
        ({3: 1}, "name"),
        (gauge(["a"], 1), "name"),
        (("x" * 300, 1), "name"),
        (("a", 1, {"__name__": "b"}), "label"),
        (("a", 1, {"": "b"}), "label"),
        (("a", 1, {"x": "y" * 21}), "label"),
        (("a", 1, dict.fromkeys("vwxyz", "1")), "label"),
        (("a", 1, {"x": "\ud800"}), "encoding"),
        (("\ud800", 1), "encoding"),
    ],
)
def test_a_sample_that_cannot_be_is_left_out_and_the_others_stay(item, reason):
    rows = taken([item, ("good", 1)])
    assert (dict(rows.problems), [n for n, _ in rows.names]) == ({reason: 1}, ["good"])
    assert rows.told[reason]


@pytest.mark.parametrize(
    "item", ["text", b"bytes", ("a",), ("a", 1, {}, 4), ("a", 1, "labels"), [[[[[[1]]]]]]]
)
def test_what_is_no_value_at_all_fails_the_collection(item):
    with pytest.raises(SourceError, match="wanted"):
        taken(item)


def endless():
    while True:
        yield None


def family(count):
    found = GaugeMetricFamily("a", "h", labels=["x"])
    for number in range(count):
        found.add_metric([str(number)], 1)
    return found


@pytest.mark.parametrize(
    "form",
    [
        lambda count: [("a", n, {"x": n}) for n in range(count)],
        lambda count: (gauge("a", n, {"x": n}) for n in range(count)),
        lambda count: {f"a{n}": n for n in range(count)},
        lambda count: [[("a", n, {"x": n})] for n in range(count)],
        family,
    ],
    ids=["list", "generator", "mapping", "lists", "family"],
)
def test_a_budget_may_be_used_up_and_no_more(form):
    assert len(taken(form(100))) == 100
    with pytest.raises(LimitExceeded, match="wanted at most 100"):
        taken(form(101))


def test_a_generator_without_end_is_not_read_to_the_end():
    with pytest.raises(LimitExceeded):
        taken(endless())


@pytest.mark.parametrize(
    ("item", "name", "metadata"),
    [
        (gauge("a_bytes", 1, help="H", unit="bytes"), "a_bytes", Metadata(MetricType.GAUGE, "bytes", "H")),
        (counter("a_total", 1), "a_total", Metadata(MetricType.COUNTER)),
        (untyped("a", 1), "a", Metadata()),
        (CounterMetricFamily("a", "H", value=1), "a_total", Metadata(MetricType.COUNTER, "", "H")),
        (Metric("a", "H", "untyped"), "a", Metadata(MetricType.UNKNOWN, "", "H")),
        (Counter("a", "H", registry=None), "a_total", Metadata(MetricType.COUNTER, "", "H")),
        (Histogram("a", "H", registry=None), "a", Metadata(MetricType.HISTOGRAM, "", "H")),
        (Info("a", "H", registry=None), "a_info", Metadata(MetricType.INFO, "", "H")),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_type_unit_and_help_are_kept(item, name, metadata):
    found = list(item.collect()) if hasattr(item, "collect") else item
    assert taken(found).metadata == {name: metadata}


def test_a_time_of_its_own_is_kept():
    family = Metric("a", "", "gauge")
    family.add_sample("a", {}, 1, timestamp=12.5)
    family.add_sample("a", {}, 2, timestamp=math.nan)
    rows = taken(family)
    assert rows.timed == [(("a", (J,)), 1.0, 12_500)]
    assert (rows.names, dict(rows.problems)) == ([], {"value": 1})


@given(st.dictionaries(st.text(min_size=1, max_size=5), st.text(max_size=5), max_size=4))
def test_equal_label_sets_are_equal_names_whatever_their_order(labels):
    backwards = dict(reversed(labels.items()))
    one, other = taken(("a", 1, labels)), taken(("a", 1, backwards))
    assert (one.names, one.problems) == (other.names, other.problems)
    assert len({key_of(name) for name in one.names + other.names}) <= 1
