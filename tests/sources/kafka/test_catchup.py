"""Catch-up: the slope is robust and over real times, and the edges say what is so."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metricsmith.sources.kafka.catchup import catch_up, of_topic, trend

NAN, INF = np.nan, np.inf


@pytest.mark.parametrize(
    ("times_s", "lags", "expected"),
    [
        pytest.param([0, 60, 120, 180], [400, 300, 200, 100], 60.0, id="falls by 100 a minute"),
        pytest.param([0, 60, 600, 620], [3100, 2800, 100, 0], 0.0, id="caught up"),
        pytest.param([0, 10, 600], [1180, 1160, 20], 20 * 600 / 1160, id="uneven times, not numbers"),
        pytest.param([0, 60, 120], [100, 200, 300], INF, id="grows"),
        pytest.param([0, 60], [100, 100], INF, id="stands still"),
        pytest.param([0], [100], NAN, id="one reading"),
        pytest.param([], [], NAN, id="no reading"),
        pytest.param([60, 60], [200, 100], NAN, id="no time between"),
        pytest.param([0, 60, 60, 120], [300, 200, 200, 100], 60.0, id="equal times among others"),
        pytest.param([0, 60, 120, 180, 240], [500, 400, 90_000, 200, 100], 60.0, id="one outlier"),
        pytest.param([0, 60, 120], [300, NAN, 100], 60.0, id="a reading is missing"),
        pytest.param([0, 1e9], [2e18, 1e18], 1e9, id="no overflow"),
    ],
)
def test_edges(times_s: list[float], lags: list[float], expected: float) -> None:
    times = (np.array(times_s) * 1000).astype(np.int64)
    lag = np.array([lags[-1] if lags else 100.0])
    found = catch_up(lag, trend(times, np.array([lags], dtype=np.float64).reshape(1, -1)))
    np.testing.assert_allclose(found.seconds, [expected], rtol=1e-9)


def test_the_interval_holds_the_true_slope_as_often_as_it_says() -> None:
    random = np.random.default_rng(7)
    times = np.cumsum(random.integers(20_000, 90_000, 30))
    lags = 50_000 - 2.5 * times / 1000 + random.standard_t(3, (2000, 30)) * 300
    found = trend(times, lags)
    assert 0.93 <= np.mean((found.low <= -2.5) & (found.high >= -2.5)) <= 0.98


def test_few_readings_bound_nothing() -> None:
    found = catch_up(np.array([100.0]), trend(np.array([0, 1000]), np.array([[200.0, 100.0]])))
    assert (found.low[0], found.seconds[0], found.high[0]) == (0.0, 1.0, INF)


@given(
    st.lists(st.tuples(st.integers(0, 10**7), st.integers(0, 10**9)), min_size=2, max_size=12),
    st.integers(1, 5),
)
def test_the_slope_is_the_median_over_all_pairs(points: list[tuple[int, int]], copies: int) -> None:
    points.sort()
    times, lags = np.array([p[0] for p in points]), np.array([float(p[1]) for p in points])
    slopes = [
        (v - u) / ((t - s) / 1000)
        for n, (s, u) in enumerate(zip(times, lags, strict=True))
        for t, v in list(zip(times, lags, strict=True))[n + 1 :]
        if t > s
    ]
    found = trend(times, np.tile(lags, (copies, 1)))
    expected = np.median(slopes) if slopes else NAN
    np.testing.assert_allclose(found.slope, np.full(copies, expected), rtol=1e-9)


def test_a_topic_takes_the_longest_of_its_partitions() -> None:
    seconds = np.array([0.0, 30.0, 30.0, INF, 5.0, NAN, INF, NAN])
    topics = np.array([0, 0, 1, 1, 2, 2, 3, 3])
    np.testing.assert_array_equal(of_topic(seconds, topics, 5), [30.0, INF, NAN, INF, NAN])
