"""The help for tests: a registry of one's own, and assertions that say what is there."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from metricsmith.sdk import REGISTRY, Counter, Gauge, Histogram, Policy, Registry, Summary
from metricsmith.sdk.testing import assert_metric, isolated, isolated_registry

__all__ = ["isolated_registry"]


@pytest.fixture(scope="module")
def application() -> Iterator[dict[str, Counter | Gauge | Histogram | Summary]]:
    """What a module of an application makes when it is imported, and what it counted before the test."""
    orders = Counter("sdktest_orders_total", "Orders.", ["payment"])
    made = {
        "orders": orders,
        "card": orders.labels("card"),
        "depth": Gauge("sdktest_depth", "Depth."),
        "seconds": Histogram("sdktest_seconds", "Seconds."),
        "size": Summary("sdktest_size", "Size."),
    }
    made["card"].inc(5)
    orders.labels("cash").inc(7)
    made["depth"].set(3)
    made["seconds"].observe(1)
    made["size"].observe(1)
    yield made
    for metric in {id(m): m for m in made.values() if m in REGISTRY.collectors()}.values():
        REGISTRY.unregister(metric)


def test_metrics_begin_at_zero_and_held_children_count(
    application: dict[str, Counter], isolated_registry: Registry
) -> None:
    assert_metric("sdktest_orders_total", {"payment": "cash"}, None)
    assert_metric("sdktest_depth", value=0)
    assert_metric("sdktest_seconds_count", value=0)
    application["card"].inc()
    application["orders"].labels("coins").inc(2)
    application["size"].observe(4)  # type: ignore[attr-defined]
    Counter("sdktest_within", "Made within.").inc()
    assert_metric("sdktest_orders_total", {"payment": "card"}, 1)
    assert_metric("sdktest_orders_total", {"payment": "coins"}, 2)
    assert_metric("sdktest_size_count", value=1)
    assert_metric("sdktest_within_total")
    assert isolated_registry is REGISTRY


def test_afterwards_all_is_as_it_was(application: dict[str, Counter]) -> None:
    with isolated() as registry:
        within = application["orders"].labels("within")
        application["card"].inc(100)
        within.inc()
        assert_metric("sdktest_orders_total", {"payment": "card"}, 100, registry=registry)
    assert_metric("sdktest_orders_total", {"payment": "card"}, 5)
    assert_metric("sdktest_orders_total", {"payment": "cash"}, 7)
    assert_metric("sdktest_orders_total", {"payment": "within"}, None)
    assert_metric("sdktest_depth", value=3)
    assert_metric("sdktest_seconds_count", value=1)
    assert_metric("sdktest_size_sum", value=1)
    assert_metric("sdktest_within_total", value=None)
    application["card"].inc()
    assert_metric("sdktest_orders_total", {"payment": "card"}, 6)


def test_filters_findings_and_folds_are_isolated_too() -> None:
    registry = Registry(policy=Policy(max_label_sets=2))
    counter = Counter("c", "C.", ["n"], registry=registry)
    for number in range(5):
        counter.labels(number).inc()
    registry.drop("never")
    with isolated(registry):
        assert not registry.findings()
        assert not registry.policy.rules
        assert_metric("metricsmith_sdk_label_sets_folded_total", {"metric": "c"}, None, registry=registry)
    assert len(registry.findings()) == len(registry.policy.rules) == 1
    assert_metric("metricsmith_sdk_label_sets_folded_total", {"metric": "c"}, 3, registry=registry)


@pytest.mark.parametrize(
    ("name", "labels", "value", "message"),
    [
        ("c_total", {"a": "1"}, 3, r'got 2 for c_total{a="1"}, wanted 3'),
        ("c_total", {"a": "1"}, None, r'got 2 for c_total{a="1"}, wanted none'),
        ("c_total", {"a": "2"}, 1, r'got no c_total{a="2"}, wanted 1; there is c_total{a="1"}'),
        ("c", {"a": "1"}, 2, r'got no c{a="1"}, wanted 2; there is nothing like it'),
        ("deph", None, 0, r"got no deph, wanted 0; there is depth"),
        (
            "bare_total",
            {"a": "1"},
            1,
            r'got no bare_total{a="1"}, wanted 1; the metric is there, and has no samples yet',
        ),
        ("barre_total", None, 1, r"got no barre_total, wanted 1; there is bare_total, c_total"),
    ],
)
def test_messages_say_what_is_there_instead(
    name: str, labels: dict[str, str] | None, value: float | None, message: str
) -> None:
    registry = Registry()
    Counter("c", "C.", ["a"], registry=registry).labels("1").inc(2)
    Gauge("depth", "D.", registry=registry)
    Counter("bare", "Nothing was counted.", ["a"], registry=registry)
    with pytest.raises(AssertionError) as error:
        assert_metric(name, labels, value, registry=registry)
    assert str(error.value) == message


def test_what_it_asserts_holds_for_numbers_that_differ_by_rounding() -> None:
    registry = Registry()
    counter = Counter("c", "C.", registry=registry)
    for _ in range(10):
        counter.inc(0.1)
    assert_metric("c_total", value=1, registry=registry)
    Gauge("g", "G.", registry=registry).set(float("nan"))
    assert_metric("g", value=float("nan"), registry=registry)
