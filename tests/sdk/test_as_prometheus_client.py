"""Instruments do what those of prometheus_client do, called in the same way."""

from __future__ import annotations

import inspect
from typing import Any

import hypothesis.strategies as st
import prometheus_client as peer
import pytest
from hypothesis import given

import metricsmith.sdk as ours

KINDS = ("Counter", "Gauge", "Histogram", "Summary", "Info", "Enum")
AMOUNTS = st.one_of(st.integers(0, 10**6), st.floats(0, 1e9), st.booleans())
LABELS = st.sampled_from([("a", "x"), ("a", 1), (True, 2.5), ('ü\n"\\', "%s"), ("", "{}")])
OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("counter"), st.just("inc"), LABELS, AMOUNTS),
        st.tuples(st.just("gauge"), st.sampled_from(["inc", "dec", "set"]), LABELS, AMOUNTS),
        st.tuples(
            st.just("histogram"),
            st.just("observe"),
            LABELS,
            st.one_of(AMOUNTS, st.sampled_from([0.005, 10.0, -1])),
        ),
        st.tuples(st.just("summary"), st.just("observe"), LABELS, AMOUNTS),
        st.tuples(st.just("enum"), st.just("state"), LABELS, st.sampled_from(["off", "on"])),
        st.tuples(
            st.just("info"),
            st.just("info"),
            LABELS,
            st.dictionaries(st.sampled_from("vw"), st.text(max_size=3)),
        ),
        st.tuples(
            st.sampled_from(["counter", "gauge"]), st.sampled_from(["remove", "clear"]), LABELS, st.none()
        ),
    ),
    max_size=30,
)


def metrics(library: Any, registry: Any) -> dict[str, Any]:
    labels = ["method", "route"]
    more = {"quantiles": ()} if library is ours else {}
    return {
        "counter": library.Counter("c_total", "A counter.", labels, registry=registry),
        "gauge": library.Gauge(
            "g", "A gauge.", labels, namespace="n", subsystem="s", unit="bytes", registry=registry
        ),
        "histogram": library.Histogram("h", "A histogram.", labels, registry=registry),
        "summary": library.Summary("s", "A summary.", labels, registry=registry, **more),
        "enum": library.Enum("e", "A state.", labels, states=["off", "on"], registry=registry),
        "info": library.Info("i", "Facts.", labels, registry=registry),
    }


def samples(registry: Any) -> dict[Any, float]:
    return {
        (metric.name, metric.type, metric.unit, s.name, tuple(sorted(s.labels.items()))): s.value
        for metric in registry.collect()
        for s in metric.samples
        if not s.name.endswith("_created")
    }


@given(OPERATIONS)
def test_the_same_calls_give_the_same_samples(operations: list[Any]) -> None:
    mine, theirs = ours.Registry(), peer.CollectorRegistry()
    for library, registry in ((ours, mine), (peer, theirs)):
        made = metrics(library, registry)
        for kind, method, labels, argument in operations:
            if method in ("remove", "clear"):
                getattr(made[kind], method)(*(labels if method == "remove" else ()))
            else:
                getattr(made[kind].labels(*labels), method)(argument)
    assert samples(mine) == pytest.approx(samples(theirs))


@pytest.mark.parametrize("kind", KINDS)
def test_arguments_have_the_same_names_in_the_same_order(kind: str) -> None:
    def parameters(library: Any, member: str) -> list[tuple[str, Any]]:
        found = inspect.signature(getattr(getattr(library, kind), member)).parameters.values()
        positional = (p for p in found if p.kind is p.POSITIONAL_OR_KEYWORD and not p.name.startswith("_"))
        return [(p.name, p.name == "registry" or p.default) for p in positional]

    public = [
        m
        for m in dir(getattr(peer, kind))
        if not m.startswith("_") and callable(getattr(getattr(peer, kind), m))
    ]
    for member in ("__init__", *public):
        assert parameters(ours, member) == parameters(peer, member), member


@pytest.mark.parametrize(
    "wrong",
    [
        lambda m, r: m.Counter("c", "", registry=r).inc(-1),
        lambda m, r: m.Counter("", "", registry=r),
        lambda m, r: m.Counter("c", "", ["a"], registry=r).inc(),
        lambda m, r: m.Counter("c", "", ["a"], registry=r).reset() if m is ours else _value_error(),
        lambda m, r: m.Gauge("g", "", ["a"], registry=r).set(1),
        lambda m, r: m.Gauge("g", "", ["a"], registry=r).dec(),
        lambda m, r: m.Gauge("g", "", ["a"], registry=r).set_function(float),
        lambda m, r: m.Histogram("h", "", ["a"], registry=r).observe(1),
        lambda m, r: m.Summary("s", "", ["a"], registry=r).observe(1),
        lambda m, r: m.Enum("e", "", ["a"], states=["x"], registry=r).state("x"),
        lambda m, r: m.Counter("c", "", ["a", "b"], registry=r).labels("1"),
        lambda m, r: m.Counter("c", "", ["a", "b"], registry=r).labels("1", b="2"),
        lambda m, r: m.Counter("c", "", ["a", "b"], registry=r).labels(a="1", c="2"),
        lambda m, r: m.Counter("c", "", ["a"], registry=r).labels(a="1", c="2"),
        lambda m, r: m.Counter("c", "", ["a"], registry=r).labels("1").labels("1"),
        lambda m, r: m.Counter("c", "", registry=r).labels("1"),
        lambda m, r: m.Counter("c", "", ["a"], registry=r).remove("1", "2"),
        lambda m, r: m.Counter("c", "", ["__a"], registry=r),
        lambda m, r: m.Histogram("h", "", ["le"], registry=r),
        lambda m, r: m.Summary("s", "", ["quantile"], registry=r),
        lambda m, r: m.Histogram("h", "", buckets=[2, 1], registry=r),
        lambda m, r: m.Histogram("h", "", buckets=[], registry=r),
        lambda m, r: m.Enum("e", "", states=[], registry=r),
        lambda m, r: m.Enum("e", "", ["e"], states=["x"], registry=r),
        lambda m, r: m.Enum("e", "", states=["x"], registry=r).state("y"),
        lambda m, r: m.Info("i", "", ["a"], registry=r).labels("1").info({"a": "2"}),
        lambda m, r: m.Info("i", "", registry=r).info({"a": None}),
        lambda m, r: m.Info("i", "", unit="s", registry=r),
        lambda m, r: m.Gauge("g", "", multiprocess_mode="none", registry=r),
        lambda m, r: m.Counter("c", "", registry=r).inc(1, {"a": "x" * 128}),
        lambda m, r: [m.Counter("c", "", registry=r), m.Gauge("c_total", "", registry=r)],
    ],
)
def test_what_is_an_error_there_is_one_here(wrong: Any) -> None:
    for library, registry in ((ours, ours.Registry()), (peer, peer.CollectorRegistry(auto_describe=True))):
        with pytest.raises(ValueError):
            wrong(library, registry)


def _value_error() -> None:
    raise ValueError  # prometheus_client has an AttributeError there


def test_a_child_is_of_the_class_of_its_metric_and_shows_its_labels() -> None:
    counter = ours.Counter("c_total", "C.", ["a"], registry=None)
    assert isinstance(counter.labels("1"), ours.Counter)
    assert counter.labels(a="1") is counter.labels(1) is counter.labels("1")
    assert repr(counter.labels("1")) == "Counter(c{'a': '1'})"
    assert repr(counter) == "Counter(c)"


def test_equal_numbers_of_other_types_are_other_label_values() -> None:
    counter = ours.Counter("c_total", "C.", ["a"], registry=None)
    for value in (1, True, 1.0):
        counter.labels(value).inc()
        counter.labels(a=value).inc()
    assert {s.labels["a"]: s.value for s in counter.read().samples} == {"1": 2, "True": 2, "1.0": 2}


def test_amounts_of_other_number_types_do_not_change_the_precision() -> None:
    import numpy as np

    registry = ours.Registry()
    counter, gauge = ours.Counter("c", "C.", registry=registry), ours.Gauge("g", "G.", registry=registry)
    histogram, summary = (
        ours.Histogram("h", "H.", registry=registry),
        ours.Summary("s", "S.", registry=registry),
    )
    for amount in (2**24, np.float32(1), np.float64(1), np.int64(1), True):
        counter.inc(amount)
        gauge.inc(amount)
        histogram.observe(amount)
        summary.observe(amount)
    text = ours.generate_latest(registry).decode().splitlines()
    assert {"c_total 16777220.0", "g 16777220.0", "h_sum 16777220.0", "s_sum 16777220.0"} <= set(text)


def test_set_function_remove_by_labels_and_current_time() -> None:
    registry = ours.Registry()
    gauge = ours.Gauge("g", "G.", ["a", "b"], registry=registry)
    gauge.labels("1", "2").set_function(lambda: 7)
    gauge.labels("1", "2").set(1)
    gauge.labels("3", "2").set_to_current_time()
    assert registry.get_sample_value("g", {"a": "1", "b": "2"}) == 7
    assert registry.get_sample_value("g", {"a": "3", "b": "2"}) > 1.7e9  # type: ignore[operator]
    gauge.remove_by_labels({"a": "3"})
    assert registry.get_sample_value("g", {"a": "3", "b": "2"}) is None
    for wrong in ({}, {"c": "1"}):
        with pytest.raises(ValueError):
            gauge.remove_by_labels(wrong)


def test_a_counter_begins_again() -> None:
    counter = ours.Counter("c", "C.", registry=None)
    counter.inc(5)
    counter.reset()
    counter.inc(2)
    assert counter.read().samples[0].value == 2


@pytest.mark.parametrize("nan", [float("nan")])
def test_what_is_no_number_is_refused_or_left_out(nan: float) -> None:
    registry = ours.Registry()
    with pytest.raises(ValueError, match="wanted 0 or more"):
        ours.Counter("c", "C.", registry=registry).inc(nan)
    for kind in (ours.Histogram, ours.Summary, ours.SampledHistogram):
        name = kind.__name__.lower()
        metric = kind(name, "O.", registry=registry)
        metric.observe(nan)
        metric.observe(2.0)
        assert registry.get_sample_value(f"{name}_sum") == 2
        assert registry.get_sample_value(f"{name}_count") == 1
        assert (name, "not_a_number", 1) in {(f.metric, f.kind, f.count) for f in registry.findings()}


def test_a_state_set_has_no_label_of_its_full_name() -> None:
    with pytest.raises(ValueError, match="n_e: got it as a label name"):
        ours.Enum("e", "", ["n_e"], "n", states=["x"], registry=None)
