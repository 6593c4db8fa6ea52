"""Label sets that nothing touches disappear, and what is counted afterwards is not lost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from metricsmith.sdk import Counter, Enum, Gauge, Histogram, Info, Policy, Registry, SampledHistogram, Summary
from metricsmith.testing.clock import FakeClock

TTL_S = 60.0


@pytest.fixture
def clock() -> FakeClock:
    """A clock that the test moves."""
    return FakeClock()


@pytest.fixture
def registry(clock: FakeClock) -> Registry:
    """A registry whose label sets live for a minute."""
    return Registry(policy=Policy(clock=clock, label_set_ttl_s=TTL_S))


def keys(metric: Any) -> set[str]:
    return {s.labels["a"] for s in metric.read().samples}


UPDATES: list[tuple[Callable[[Registry], Any], Callable[[Any], object]]] = [
    (lambda r: Counter("m", "M.", ["a"], registry=r), lambda m: m.inc()),
    (lambda r: Gauge("m", "M.", ["a"], registry=r), lambda m: m.set(5)),
    (lambda r: Gauge("m", "M.", ["a"], registry=r), lambda m: m.dec()),
    (lambda r: Histogram("m", "M.", ["a"], registry=r), lambda m: m.observe(0)),
    (lambda r: SampledHistogram("m", "M.", ["a"], registry=r), lambda m: m.observe(0.5)),
    (lambda r: Summary("m", "M.", ["a"], registry=r), lambda m: m.observe(0)),
    (lambda r: Info("m", "M.", ["a"], registry=r), lambda m: m.info({"v": "1"})),
    (lambda r: Enum("m", "M.", ["a"], states=["x", "y"], registry=r), lambda m: m.state("x")),
]


@pytest.mark.parametrize(("make", "update"), UPDATES)
def test_who_is_touched_stays_who_is_not_goes_and_comes_back(
    make: Callable[[Registry], Any], update: Callable[[Any], object], clock: FakeClock, registry: Registry
) -> None:
    metric = make(registry)
    busy, idle = metric.labels("busy"), metric.labels("idle")
    update(idle)
    for _ in range(12):
        update(busy)
        assert "busy" in keys(metric)
        clock.advance(10)
    assert keys(metric) == {"busy"}
    assert registry.get_sample_value("metricsmith_sdk_label_sets_expired_total", {"metric": "m"}) == 1
    update(idle)
    assert keys(metric) == {"busy", "idle"}
    assert metric.labels("idle") is idle
    assert type(idle) is type(busy)


def test_a_child_that_is_held_counts_on_also_when_another_took_its_place(
    clock: FakeClock, registry: Registry
) -> None:
    counter = Counter("c", "C.", ["a"], registry=registry)
    held = counter.labels("x")
    held.inc(5)
    keys(counter)
    clock.advance(TTL_S)
    assert keys(counter) == set()
    new = counter.labels("x")
    assert new is not held
    new.inc()
    for _ in range(3):
        held.inc()
    assert [s.value for s in counter.read().samples] == [4]


def test_without_readings_a_full_metric_makes_room_by_itself(clock: FakeClock) -> None:
    registry = Registry(policy=Policy(clock=clock, label_set_ttl_s=TTL_S, max_label_sets=10))
    counter = Counter("c", "C.", ["a"], registry=registry)
    for batch in range(5):
        for number in range(11):
            counter.labels(f"{batch}-{number}").inc()
        clock.advance(2 * TTL_S)
        counter.labels("look").inc()
        clock.advance(2 * TTL_S)
    counter.labels("later").inc()
    assert "later" in keys(counter)


def test_a_gauge_with_a_function_is_always_in_use(clock: FakeClock, registry: Registry) -> None:
    gauge = Gauge("g", "G.", ["a"], registry=registry)
    gauge.labels("f").set_function(lambda: 1)
    for _ in range(5):
        clock.advance(TTL_S)
        assert keys(gauge) == {"f"}


def test_metrics_without_labels_do_not_expire(clock: FakeClock, registry: Registry) -> None:
    counter = Counter("c", "C.", registry=registry)
    for _ in range(3):
        clock.advance(10 * TTL_S)
        assert [s.value for s in counter.read().samples] == [0]
