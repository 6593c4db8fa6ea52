"""Quantiles are within the stated error, of the last minutes; sampled histograms count right."""

from __future__ import annotations

import math
import random
from itertools import pairwise

import hypothesis.strategies as st
import pytest
from hypothesis import given

from metricsmith.sdk import Policy, Registry, SampledHistogram, Summary
from metricsmith.sdk.sketch import LARGEST, SMALLEST, Sketch
from metricsmith.testing.clock import FakeClock

MAGNITUDES = st.one_of(
    st.floats(SMALLEST * 1.001, LARGEST * 0.999), st.floats(1e-3, 1e3), st.integers(1, 10**6)
)
VALUES = st.lists(st.one_of(MAGNITUDES, MAGNITUDES.map(lambda v: -v), st.just(0.0)), min_size=1, max_size=60)


@given(VALUES, st.lists(st.floats(0, 1), min_size=1, max_size=5), st.sampled_from([0.001, 0.01, 0.05]))
def test_a_quantile_is_as_near_as_stated(values: list[float], quantiles: list[float], error: float) -> None:
    sketch, half = Sketch(error), Sketch(error)
    for number, value in enumerate(values):
        (half if number % 2 else sketch).add(value)
    sketch.merge(half)
    ordered = sorted(values)
    for quantile, got in zip(quantiles, sketch.quantiles(quantiles), strict=True):
        exact = ordered[math.floor(quantile * (len(values) - 1))]
        assert abs(got - exact) <= error * abs(exact) * (1 + 1e-9)


def test_memory_has_a_bound_whatever_comes() -> None:
    sketch = Sketch(0.01)
    for exponent in range(-3000, 3000):
        for sign in (1, -1):
            sketch.add(sign * 10 ** (exponent / 10))
    sketch.add(math.inf)
    sketch.add(-math.inf)
    assert len(sketch.positive) <= 2764
    assert len(sketch.negative) <= 2764
    low, high = sketch.quantiles([0, 1])
    assert (low, high) == pytest.approx((-LARGEST, LARGEST), rel=0.011)


def test_an_empty_one_has_no_quantiles() -> None:
    assert all(math.isnan(value) for value in Sketch().quantiles([0, 0.5, 1]))


def test_quantiles_forget_what_is_long_ago() -> None:
    clock = FakeClock()
    registry = Registry(policy=Policy(clock=clock))
    summary = Summary("s", "S.", registry=registry, quantiles=[0.5], max_age_s=100)

    def median() -> float:
        value = registry.get_sample_value("s", {"quantile": "0.5"})
        assert value is not None
        return value

    for _ in range(100):
        summary.observe(1000)
    seen = []
    for _ in range(20):
        for _ in range(10):
            summary.observe(1)
        seen.append(median())
        clock.advance(10)
    assert seen[:5] == pytest.approx([1000] * 5, rel=0.01)
    assert seen[-5:] == pytest.approx([1] * 5, rel=0.01)
    clock.advance(200)
    median()
    clock.advance(200)
    assert math.isnan(median())
    assert registry.get_sample_value("s_count") == 300


@pytest.mark.parametrize("wrong", [{"quantiles": [1.5]}, {"max_age_s": 0}, {"relative_error": 0}])
def test_wrong_settings_of_a_summary(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="wanted"):
        Summary("s", "S.", registry=None, **wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("one_in", [1, 10, 100])
def test_a_sampled_histogram_counts_right_and_is_like_the_whole(one_in: int) -> None:
    chance = random.Random(7)
    registry = Registry()
    sampled = SampledHistogram("h", "H.", buckets=[0.25, 0.5, 0.75], registry=registry, one_in=one_in)
    values = [chance.random() for _ in range(50_000)]
    before: list[float] = [0.0] * 6
    for number, value in enumerate(values):
        sampled.observe(value)
        if number % 500 == 0:
            now = [s.value for s in sampled.read().samples]
            assert all(a <= b for a, b in zip(before, now, strict=True)), "a counter fell"
            assert all(a <= b for a, b in pairwise(now[:4])), "buckets are not cumulative"
            assert now[3] == now[4] == number + 1
            assert now[5] >= before[5]
            before = now
    shares = [s.value / 50_000 for s in sampled.read().samples[:3]]
    near = 1 / math.sqrt(50_000 / one_in)
    assert shares == pytest.approx([0.25, 0.5, 0.75], abs=2 * near)
    assert registry.get_sample_value("h_sum") == pytest.approx(sum(values), rel=2 * near)


def test_a_sampled_histogram_does_not_fall_into_step() -> None:
    sampled = SampledHistogram("h", "H.", buckets=[1], registry=None, one_in=10)
    for number in range(100_000):
        sampled.observe(2.0 if number % 10 == 0 else 0.0)
    low, everything, *_ = (s.value for s in sampled.read().samples)
    assert low / everything == pytest.approx(0.9, abs=0.03)


async def test_a_sampled_histogram_reads_the_clock_only_where_it_looks() -> None:
    clock = FakeClock()
    read = 0

    class Counting(FakeClock):
        def monotonic(self) -> float:
            nonlocal read
            read += 1
            return clock.monotonic()

    registry = Registry(policy=Policy(clock=Counting()))
    sampled = SampledHistogram("h", "H.", registry=registry, one_in=20)

    @sampled.time()
    def work() -> None:
        clock.advance(2)

    @sampled.time()
    async def later() -> None:
        clock.advance(2)

    for _ in range(1000):
        work()
        await later()
        with sampled.time():
            clock.advance(2)
    assert registry.get_sample_value("h_count") == 3000
    assert registry.get_sample_value("h_sum") == pytest.approx(6000)
    assert registry.get_sample_value("h_bucket", {"le": "1.0"}) == 0
    assert 100 < read < 700


def test_labels_at_the_end_of_a_sampled_timer() -> None:
    sampled = SampledHistogram("h", "H.", ["status"], registry=None)
    for _ in range(100):
        with sampled.time() as timer:
            timer.labels("200")
    assert {s.value for s in sampled.read().samples if s.name == "h_count"} == {100}
