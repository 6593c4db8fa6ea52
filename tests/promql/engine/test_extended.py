"""Ranges with `anchored` and `smoothed`, held against their definition one window at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metricsmith.promql import Engine, EngineConfig
from metricsmith.promql.check import EXTENDED_FUNCTIONS
from metricsmith.promql.memory import MemorySeries

LOOKBACK_MS = 40_000
Points = list[tuple[int, float]]


def grown(values: Sequence[float], counter: bool) -> float:
    """The difference between last and first; a counter that fell began again from zero."""
    total = values[-1] - values[0]
    if counter:
        total += sum(a for a, b in pairwise(values) if b < a)
    return total


def between(before: tuple[int, float], after: tuple[int, float], at_ms: int, counter: bool) -> float:
    low = 0.0 if counter and after[1] < before[1] else before[1]
    return low + (after[1] - low) * (at_ms - before[0]) / (after[0] - before[0])


def anchored(points: Points, start: int, end: int, counter: bool) -> list[float] | None:
    before = [v for t, v in points if start - LOOKBACK_MS < t <= start]
    inside = [v for t, v in points if start < t <= end]
    return [*before[-1:], *inside] if inside else None


def smoothed(points: Points, start: int, end: int, counter: bool) -> list[float] | None:
    seen = [p for p in points if start - LOOKBACK_MS < p[0] <= end + LOOKBACK_MS]
    before, after = [p for p in seen if p[0] <= start], [p for p in seen if p[0] > start]
    if not after or (not before and after[0][0] > end):
        return None
    left = between(before[-1], after[0], start, counter) if before else after[0][1]
    late = [p for p in seen if p[0] >= end]
    early = [p for p in seen if p[0] < end]
    if late and late[0][0] == end:
        right = late[0][1]
    else:
        right = between(early[-1], late[0], end, counter) if late else early[-1][1]
    return [left, *(v for t, v in seen if start < t < end), right]


FUNCTIONS: dict[str, Callable[[list[float], float], float]] = {
    "increase": lambda values, seconds: grown(values, counter=True),
    "rate": lambda values, seconds: grown(values, counter=True) / seconds,
    "delta": lambda values, seconds: grown(values, counter=False),
    "changes": lambda values, seconds: sum(a != b for a, b in pairwise(values)),
    "resets": lambda values, seconds: sum(b < a for a, b in pairwise(values)),
}


@st.composite
def series(draw: st.DrawFn) -> list[Points]:
    """Some series, with times of their own or shared, and gaps longer than the lookback."""
    shared = draw(st.booleans())
    gaps = st.lists(st.sampled_from([1, 9_999, 10_000, 10_001, 25_000, 60_000]), min_size=1, max_size=25)
    times = np.cumsum(draw(gaps)).tolist()
    found = []
    for _ in range(draw(st.integers(1, 4))):
        own = times if shared else np.cumsum(draw(gaps)).tolist()
        values = draw(st.lists(st.integers(0, 20).map(float), min_size=len(own), max_size=len(own)))
        found.append(list(zip(own, values, strict=True)))
    return found


@pytest.mark.parametrize(
    ("function", "extension"),
    [(name, extension) for extension, names in EXTENDED_FUNCTIONS.items() for name in names],
)
@given(
    series=series(),
    range_ms=st.sampled_from([1, 10_000, 20_000, 35_000, 100_000]),
    start_ms=st.integers(0, 120_000),
    step_ms=st.sampled_from([1_000, 5_000, 10_000, 17_000]),
)
def test_each_window_is_what_its_definition_says(
    function: str, extension: str, series: list[Points], range_ms: int, start_ms: int, step_ms: int
) -> None:
    rows = [
        ({"__name__": "x_total", "i": str(i)}, *map(list, zip(*points, strict=True)))
        for i, points in enumerate(series)
    ]
    engine = Engine(MemorySeries(rows), EngineConfig(lookback_ms=LOOKBACK_MS))
    query = f"{function}(x_total[{range_ms}ms] {extension})"
    result = engine.range(query, start_ms, start_ms + 20 * step_ms, step_ms)
    present = np.ones(result.values.shape, bool) if result.present is None else result.present
    found = {
        (key, int(t)): v
        for key, values, there in zip(result.keys, result.values, present, strict=True)
        for t, v, here in zip(result.steps, values, there, strict=True)
        if here
    }
    wanted = {}
    for i, points in enumerate(series):
        for t in range(start_ms, start_ms + 20 * step_ms + 1, step_ms):
            ends = {"anchored": anchored, "smoothed": smoothed}[extension]
            values = ends(points, t - range_ms, t, function != "delta")
            if values is not None:
                wanted[b"\xffi\xfe%d" % i, t] = FUNCTIONS[function](values, range_ms / 1000)
    assert found.keys() == wanted.keys()
    for cell, value in wanted.items():
        assert math.isclose(found[cell], value, rel_tol=1e-9, abs_tol=1e-9), cell


@given(
    series=series(),
    first_ms=st.integers(1, LOOKBACK_MS),
    second_ms=st.integers(1, LOOKBACK_MS),
    start_ms=st.integers(0, 200_000),
)
def test_anchored_increases_of_adjacent_ranges_add_up(
    series: list[Points], first_ms: int, second_ms: int, start_ms: int
) -> None:
    points = series[0]
    engine = Engine(
        MemorySeries([({"__name__": "x_total"}, *map(list, zip(*points, strict=True)))]),
        EngineConfig(lookback_ms=10**9),
    )
    middle, end = start_ms + first_ms, start_ms + first_ms + second_ms
    query = "increase(x_total[{}ms] anchored @ {}.{:03})"
    parts = [
        engine.instant(query.format(length, *divmod(at, 1000)), 0).values.sum()
        for length, at in ((first_ms, middle), (second_ms, end), (first_ms + second_ms, end))
    ]
    assert parts[0] + parts[1] == pytest.approx(parts[2])
