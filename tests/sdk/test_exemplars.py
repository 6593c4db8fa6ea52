"""A sampled span that is active becomes an exemplar, once per document."""

from __future__ import annotations

import sys
from types import ModuleType

import opentelemetry.trace
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from metricsmith.sdk import Counter, Histogram, Registry, generate_latest

TRACER = TracerProvider().get_tracer("test")


def exemplars(registry: Registry) -> dict[tuple[str, str], tuple[str, float]]:
    families = text_string_to_metric_families(generate_latest(registry, openmetrics=True).decode())
    return {
        (s.name, s.labels.get("le", "")): (s.exemplar.labels["trace_id"], s.exemplar.value)
        for family in families
        for s in family.samples
        if s.exemplar
    }


def test_the_first_event_after_each_document_gives_its_trace() -> None:
    registry = Registry()
    counter = Counter("c", "C.", registry=registry)
    histogram = Histogram("h", "H.", ["a"], buckets=[1, 2], registry=registry)
    histogram.labels("x").observe(0.5)
    assert exemplars(registry) == {}

    def traced(*values: float) -> str:
        with TRACER.start_as_current_span("request") as span:
            counter.inc()
            for value in values:
                histogram.labels("x").observe(value)
        return f"{span.get_span_context().trace_id:032x}"

    first = traced(0.5, 0.6, 9)
    traced(0.7)
    assert exemplars(registry) == {
        ("c_total", ""): (first, 1),
        ("h_bucket", "1.0"): (first, 0.5),
        ("h_bucket", "+Inf"): (first, 9),
    }
    second = traced(0.8)
    got = exemplars(registry)
    assert got[("h_bucket", "1.0")] == (second, 0.8)
    assert got[("h_bucket", "+Inf")] == (first, 9)


def test_without_a_sampled_span_there_is_none_and_what_the_application_says_goes_first() -> None:
    registry = Registry()
    counter = Counter("c", "C.", registry=registry)
    exemplars(registry)
    counter.inc()
    with TracerProvider(sampler=ALWAYS_OFF).get_tracer("test").start_as_current_span("request"):
        counter.inc()
    assert exemplars(registry) == {}
    with TRACER.start_as_current_span("request"):
        counter.inc(2, {"trace_id": "mine"})
    assert exemplars(registry) == {("c_total", ""): ("mine", 2)}


def test_the_text_format_has_no_exemplars() -> None:
    registry = Registry()
    Counter("c", "C.", registry=registry).inc(1, {"trace_id": "t"})
    assert generate_latest(registry).decode().splitlines()[-1] == "c_total 1.0"


def test_where_there_are_no_spans_tracing_is_not_asked_for_each_event(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    registry = Registry()
    counter = Counter("c", "C.", registry=registry)
    asked = 0

    def ask() -> object:
        nonlocal asked
        asked += 1
        return opentelemetry.trace.INVALID_SPAN

    monkeypatch.setattr(opentelemetry.trace, "get_current_span", ask)
    for _ in range(2):
        exemplars(registry)
        for _ in range(10_000):
            counter.inc()
    assert 0 < asked < 200


def test_tracing_that_fails_or_is_half_imported_hurts_no_count(monkeypatch: pytest.MonkeyPatch) -> None:
    registry = Registry()
    counter = Counter("c", "C.", registry=registry)
    exemplars(registry)
    monkeypatch.setitem(sys.modules, "opentelemetry.trace", ModuleType("opentelemetry.trace"))
    counter.inc()
    assert counter._value == 1 and exemplars(registry) == {}
