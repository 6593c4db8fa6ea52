"""Documents are read by our parser and by prometheus_client's as what was counted."""

from __future__ import annotations

import math
from typing import Any

import hypothesis.strategies as st
import prometheus_client as peer
import pytest
from hypothesis import given
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text

from metricsmith.model.labels import decode_labels
from metricsmith.sdk import (
    Counter,
    Enum,
    Gauge,
    Histogram,
    Info,
    Registry,
    SampledHistogram,
    Summary,
    expose,
    generate_latest,
)
from metricsmith.wire.exposition import ExpositionFormat, ExpositionParser

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
NUMBERS = st.one_of(
    st.floats(allow_nan=True), st.integers(-(10**20), 10**20), st.sampled_from([0, 1e6, 1e-7, 5e-324])
)
POSITIVE = st.floats(0, 1e300)
DRAWN = st.fixed_dictionaries(
    {
        "help": TEXT,
        "labels": st.lists(st.tuples(TEXT, TEXT), max_size=4, unique=True),
        "gauge": NUMBERS,
        "amounts": st.lists(POSITIVE, min_size=1, max_size=5),
        "facts": st.dictionaries(st.sampled_from(["v", "w_1"]), TEXT),
        "exemplar": st.one_of(st.none(), st.fixed_dictionaries({"trace_id": TEXT})),
    }
)


def filled(drawn: dict[str, Any]) -> Registry:
    registry = Registry()
    more: dict[str, Any] = {"registry": registry}
    names = ["method", "route"]
    kinds = (
        Counter("counter_seconds_total", drawn["help"], names, unit="seconds", **more),
        Histogram("histogram", drawn["help"], names, **more),
        SampledHistogram("below_zero", drawn["help"], names, buckets=[-1, 1e7], **more),
        Summary("summary", drawn["help"], names, **more),
    )
    Gauge("gauge", drawn["help"], **more).set(drawn["gauge"])
    Gauge("none", drawn["help"], names, **more)
    enum = Enum("state", drawn["help"], names, states=["a b", 'c"'], **more)
    info = Info("build", drawn["help"], names, **more)
    for labels in drawn["labels"]:
        enum.labels(*labels).state('c"')
        info.labels(*labels).info(drawn["facts"])
        for amount in drawn["amounts"]:
            kinds[0].labels(*labels).inc(amount, drawn["exemplar"])
            kinds[1].labels(*labels).observe(amount, drawn["exemplar"])
            kinds[2].labels(*labels).observe(amount)
            kinds[3].labels(*labels).observe(amount)
    return registry


def told(registry: Registry) -> dict[Any, float]:
    return {(s.name, frozenset(s.labels.items())): s.value for r in registry.read() for s in r.samples}


def same(left: dict[Any, float], right: dict[Any, float]) -> bool:
    return left.keys() == right.keys() and all(
        left[key] == right[key] or (math.isnan(left[key]) and math.isnan(right[key])) for key in left
    )


@pytest.mark.parametrize("openmetrics", [False, True])
@given(drawn=DRAWN)
def test_prometheus_client_reads_what_was_counted(openmetrics: bool, drawn: dict[str, Any]) -> None:
    registry = filled(drawn)
    read = read_openmetrics if openmetrics else read_text
    families = list(read(generate_latest(registry, openmetrics=openmetrics).decode()))
    got = {(s.name, frozenset(s.labels.items())): float(s.value) for f in families for s in f.samples}
    assert same(got, told(registry))
    types = {family.name: family.type for family in families}
    assert types["histogram"] == "histogram"
    assert types["counter_seconds"] == "counter"
    assert types["state"] == ("stateset" if openmetrics else "gauge")
    if openmetrics:
        units = {family.name: family.unit for family in families}
        assert units["counter_seconds"] == "seconds"
        assert {family.name: family.documentation for family in families}["gauge"] == drawn["help"]
        exemplars = [s.exemplar for f in families for s in f.samples if s.exemplar]
        assert all(e.labels == drawn["exemplar"] for e in exemplars)
        assert len(exemplars) >= 2 * len(drawn["labels"]) * (drawn["exemplar"] is not None)


@pytest.mark.parametrize("format", [ExpositionFormat.TEXT, ExpositionFormat.OPENMETRICS])
@given(drawn=DRAWN)
def test_our_parser_reads_what_was_counted(format: ExpositionFormat, drawn: dict[str, Any]) -> None:
    registry = filled(drawn)
    body = generate_latest(registry, openmetrics=format is ExpositionFormat.OPENMETRICS)
    document = ExpositionParser(format).parse(body)
    got = {}
    for key, value in zip(document.structure.keys, document.values.tolist(), strict=True):
        labels = decode_labels(key)
        got[(labels.pop("__name__"), frozenset(labels.items()))] = value
    wanted = {
        (n, frozenset((k, v) for k, v in labels if v)): value for (n, labels), value in told(registry).items()
    }
    assert same(got, wanted)


def test_the_content_type_is_what_was_asked_for() -> None:
    registry = Registry()
    Counter("c_total", "Help.", registry=registry).inc()
    text, plain = expose(registry)
    assert (text, plain) == (
        b"# HELP c_total Help.\n# TYPE c_total counter\nc_total 1.0\n",
        "text/plain; version=0.0.4; charset=utf-8",
    )
    asked = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3"
    text, strict = expose(registry, asked)
    assert (text, strict) == (
        b"# HELP c Help.\n# TYPE c counter\nc_total 1.0\n# EOF\n",
        "application/openmetrics-text; version=1.0.0; charset=utf-8",
    )


def test_metrics_of_prometheus_client_stand_as_it_would_write_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prometheus_client.metrics._use_created", False)
    registry, theirs = Registry(), peer.CollectorRegistry()
    peer.Counter("c_total", "Help\nme.", ["a"], registry=registry).labels('x"\n\\').inc(1, {"trace_id": "1"})
    peer.Gauge("dotted.name", "Help.", registry=registry).set(float("inf"))
    peer.Histogram("h", "Help.", registry=registry).observe(2)
    peer.Info("i", "Help.", registry=registry).info({"a": "b"})
    peer.Enum("e", "Help.", states=["x", "y"], registry=registry)
    for collector in registry.collectors():
        theirs.register(collector)
    for openmetrics, write in (
        (False, peer.generate_latest),
        (True, peer.openmetrics.exposition.generate_latest),
    ):
        assert generate_latest(registry, openmetrics=openmetrics) == write(theirs)


def test_facts_that_change_are_told_anew() -> None:
    registry = Registry()
    info = Info("build", "Build.", registry=registry)
    for version in ("1", "2"):
        info.info({"version": version})
        assert generate_latest(registry).endswith(b'build_info{version="%s"} 1.0\n' % version.encode())
