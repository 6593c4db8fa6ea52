"""A metric has a limit of label sets; what is beyond is folded, counted, and told with the line of code."""

from __future__ import annotations

import inspect
import logging
import threading
import tracemalloc
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given

from metricsmith.sdk import Counter, Gauge, Histogram, Policy, Registry, generate_latest
from metricsmith.sdk.findings import MAX_FINDINGS
from metricsmith.sdk.guard import DEFAULT_POLICY

HERE = __file__


def line() -> int:
    frame = inspect.currentframe()
    assert frame is not None
    assert frame.f_back is not None
    return frame.f_back.f_lineno


def totals(metric: Any) -> dict[tuple[str, ...], float]:
    return {tuple(s.labels.values()): s.value for s in metric.read().samples}


def test_beyond_the_limit_the_label_with_most_values_is_folded() -> None:
    registry = Registry(policy=Policy(max_label_sets=10))
    counter = Counter("c", "C.", ["method", "who"], registry=registry)
    for number in range(100):
        counter.labels("GET" if number % 2 else "PUT", f"u{number}").inc()
    got = totals(counter)
    assert len(got) == 12
    assert got[("GET", "__overflow__")] == got[("PUT", "__overflow__")] == 45
    assert got[("PUT", "u0")] == 1
    counter.labels("GET", "u1").inc()
    assert totals(counter)[("GET", "u1")] == 2
    assert registry.get_sample_value("metricsmith_sdk_label_sets_folded_total", {"metric": "c"}) == 90


@given(
    st.integers(1, 20),
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 40), st.booleans()), max_size=150),
)
def test_nothing_is_lost_and_the_bound_holds_whatever_comes(
    limit: int, events: list[tuple[int, int, bool]]
) -> None:
    counter = Counter("c", "C.", ["few", "many"], registry=None, max_label_sets=limit)
    held: dict[tuple[int, int], Counter] = {}
    for few, many, hold in events:
        child = held.get((few, many)) or counter.labels(few, many)
        if hold:
            held[(few, many)] = child
        child.inc()
    got = totals(counter)
    assert sum(got.values()) == len(events)
    assert len(got) <= limit + max(limit // 10, 10) + 1


def test_several_labels_with_many_values_are_all_folded() -> None:
    counter = Counter("c", "C.", ["a", "b", "c"], registry=None, max_label_sets=100)
    for number in range(1000):
        counter.labels(number, -number, number % 2).inc()
    got = totals(counter)
    assert len(got) == 102
    assert got[("__overflow__", "__overflow__", "0")] == 450
    assert sum(got.values()) == 1000


def test_when_folded_ones_are_too_many_all_labels_are_folded() -> None:
    counter = Counter("c", "C.", ["many", "some"], registry=None, max_label_sets=20)
    for number in range(20):
        counter.labels(number, 0).inc()
    for number in range(100):
        counter.labels("more", number).inc()
    got = totals(counter)
    assert len(got) == 20 + 10 + 1
    assert got[("__overflow__", "__overflow__")] == 90
    assert sum(got.values()) == 120


def test_folded_ones_go_on_when_there_is_no_room_for_more() -> None:
    counter = Counter("c", "C.", ["many", "some"], registry=None, max_label_sets=20)
    for number in range(20):
        counter.labels(number, 0).inc()
    for number in range(100):
        counter.labels("more", number).inc()
        counter.labels(f"again {number}", 3).inc()
    assert totals(counter)[("__overflow__", "3")] == 101


def test_a_million_values_leave_memory_flat_and_say_where_they_came_from(
    caplog: pytest.LogCaptureFixture,
) -> None:
    registry = Registry(policy=Policy(max_label_sets=1000))
    histogram = Histogram("seconds", "S.", ["who"], registry=registry)
    tracemalloc.start()
    for number in range(2000):
        histogram.labels(number).observe(1)
    before = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    place = f"{HERE}:{line() + 2}"
    for number in range(100_000):
        histogram.labels(f"x{number}").observe(1)
    tracemalloc.start()
    for number in range(2000):
        histogram.labels(f"y{number}").observe(1)
    assert tracemalloc.get_traced_memory()[0] < 20_000 < before
    tracemalloc.stop()
    assert len(histogram.read().samples) == 1001 * 17
    (finding,) = registry.findings()
    assert finding.count == 103_000
    assert place in finding.places
    assert "more than 1000 label sets" in finding.text
    assert "'who'" in finding.text
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert HERE in record.message
    assert generate_latest(registry).count(b"\n") < 18_000


@pytest.mark.parametrize("label", ["user_id", "email", "timestamp", "Request_ID", "url"])
def test_names_of_labels_without_end_are_told_once_with_the_place(
    label: str, caplog: pytest.LogCaptureFixture
) -> None:
    registry = Registry()
    place = f"{HERE}:{line() + 1}"
    counter = Counter("c", "C.", ["method", label], registry=registry)
    for number in range(10):
        counter.labels("GET", number).inc()
    (finding,) = registry.findings()
    assert (finding.kind, finding.metric, finding.count, finding.places) == (
        "unbounded_label",
        "c",
        1,
        [place],
    )
    assert [place in record.message and label in record.message for record in caplog.records] == [True]


@pytest.mark.parametrize("label", ["pipeline_id", "error_code", "method", "queue", "timestamp_kind"])
def test_names_of_labels_with_few_values_are_not_told_of(label: str) -> None:
    registry = Registry()
    Counter("c", "C.", [label], registry=registry)
    assert not registry.findings()


def test_a_value_that_is_too_long_is_folded_by_itself() -> None:
    registry = Registry()
    counter = Counter("c", "C.", ["method", "text"], registry=registry)
    for number in range(3):
        counter.labels("GET", f"{number}" * 1001).inc()
    assert totals(counter) == {("GET", "__overflow__"): 3}
    (finding,) = registry.findings()
    assert "'text' has a value of 1001 characters" in finding.text
    assert registry.get_sample_value("metricsmith_sdk_label_sets_folded_total", {"metric": "c"}) == 3


def test_a_handler_of_the_log_that_counts_in_another_thread_does_not_hang(
    caplog: pytest.LogCaptureFixture,
) -> None:
    counter = Counter("c", "C.", ["n"], registry=None, max_label_sets=1)

    class Counting(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            thread = threading.Thread(target=lambda: counter.labels("from the log").inc())
            thread.start()
            thread.join(10)
            assert not thread.is_alive()

    handler = Counting()
    logging.getLogger("metricsmith.sdk").addHandler(handler)
    DEFAULT_POLICY.findings.swap({})
    try:
        counter.labels("1").inc()
        counter.labels("2").inc()
    finally:
        logging.getLogger("metricsmith.sdk").removeHandler(handler)
        DEFAULT_POLICY.findings.swap({})
    assert totals(counter) == {("1",): 1, ("__overflow__",): 2}


def test_findings_have_a_bound_and_do_not_flood_the_log(caplog: pytest.LogCaptureFixture) -> None:
    registry = Registry()
    for number in range(2 * MAX_FINDINGS):
        Counter(f"c{number}", "C.", ["user_id"], registry=registry)
    assert len(registry.findings()) == len(caplog.records) == MAX_FINDINGS + 1
    last = registry.findings()[-1]
    assert (last.metric, last.count) == ("__overflow__", MAX_FINDINGS)
    Histogram("h", "H.", registry=registry).observe(float("nan"))
    assert [(f.kind, f.metric) for f in registry.findings()[-1:]] == [("not_a_number", "__overflow__")]


def test_limits_of_one_metric_and_wrong_ones() -> None:
    counter = Counter("c", "C.", ["n"], registry=None, max_label_sets=3)
    for number in range(10):
        counter.labels(number).inc()
    assert len(totals(counter)) == 4
    for wrong in ({"max_label_sets": 0}, {"label_set_ttl_s": 0}):
        with pytest.raises(ValueError, match="wanted"):
            Counter("c", "C.", ["n"], registry=None, **wrong)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="max_labels"):
        Counter("c", "C.", ["n"], registry=None, max_labels=3)  # type: ignore[call-arg]


def test_filters_leave_out_by_name_and_by_label() -> None:
    registry = Registry()
    registry.drop("debug_*")
    registry.keep("debug_errors*")
    registry.drop("http_*", path="/health*")
    registry.drop(method="TRACE")
    for name in ("debug_depth", "debug_errors", "orders"):
        Gauge(name, "G.", registry=registry).set(1)
    debug = Counter("debug_hits", "Not wanted.", ["a"], registry=registry)
    http = Counter("http_requests", "H.", ["method", "path"], registry=registry)
    for number in range(100):
        debug.labels(number).inc()
        http.labels("GET", f"/healthz/{number}").inc()
    http.labels("TRACE", "/").inc()
    http.labels("GET", "/").inc()
    samples = [line for line in generate_latest(registry).decode().splitlines() if not line.startswith("#")]
    assert samples == ["debug_errors 1.0", "orders 1.0", 'http_requests_total{method="GET",path="/"} 1.0']
    assert b"debug_hits" not in generate_latest(registry)
    assert http._children is not None
    assert len(http._children) == 1


def test_a_filter_holds_for_what_is_there_already() -> None:
    registry = Registry()
    counter = Counter("c", "C.", ["path"], registry=registry)
    for path in ("/", "/health"):
        counter.labels(path).inc()
    registry.drop("c", path="/health")
    assert totals(counter) == {("/",): 1}
    registry.drop("c_total")
    assert totals(counter) == {}


def test_a_handler_of_the_log_that_fails_does_not_fail_the_application() -> None:
    class Broken(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise OSError("the disk is full")

    log, handler = logging.getLogger("metricsmith.sdk"), Broken()
    log.addHandler(handler)
    try:
        registry = Registry()
        Counter("seen", "Seen.", ["user_id"], registry=registry).labels("7").inc()
    finally:
        log.removeHandler(handler)
    assert [finding.kind for finding in registry.findings()] == ["unbounded_label"]
