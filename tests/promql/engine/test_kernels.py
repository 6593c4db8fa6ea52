"""Every function of a window gives what a plain loop over the window's samples gives."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metricsmith.promql import kernels, rates, sample_times, trends
from metricsmith.promql.sliding import window_sums
from metricsmith.promql.windows import Windows

Samples = list[tuple[int, float]]
RANGE_MS = 60_000
NAN = math.nan


def _rate_like(counter: bool) -> Callable[[Samples, int, bool], float | None]:
    def loop(samples: Samples, end_ms: int, closed: bool) -> float | None:
        if len(samples) < 2:
            return None
        (first_ms, first), (last_ms, last) = samples[0], samples[-1]
        growth = last - first
        if counter:
            growth += sum(before for (_, before), (_, after) in pairwise(samples) if after < before)
        sampled = (last_ms - first_ms) / 1000
        interval = sampled / (len(samples) - 1)
        to_start, to_end = (first_ms - end_ms + RANGE_MS) / 1000, (end_ms - last_ms) / 1000
        to_zero = sampled * first / growth if counter and growth > 0 and first >= 0 else math.inf
        if closed:
            to_start = min(to_zero, to_start)
        to_start = to_start if to_start < interval * 1.1 else interval / 2
        if not closed:
            to_start = min(to_zero, to_start)
        to_end = to_end if to_end < interval * 1.1 else interval / 2
        return growth * (sampled + to_start + to_end) / sampled

    return loop


def _of_values(function: Callable[[list[float]], float]) -> Callable[[Samples, int, bool], float | None]:
    return lambda samples, end_ms, closed: function([v for _, v in samples])


def _variance(values: list[float]) -> float:
    if not all(map(math.isfinite, values)):
        return NAN
    mean = math.fsum(values) / len(values)
    return math.fsum((v - mean) ** 2 for v in values) / len(values)


@np.errstate(all="ignore")
def _sum(values: list[float]) -> float:
    return math.fsum(values) if all(map(math.isfinite, values)) else float(np.sum(values))


def _choice(pick: Callable[[list[float]], float]) -> Callable[[list[float]], float]:
    return lambda values: pick([v for v in values if v == v] or [NAN])


def _changes(values: list[float]) -> float:
    return sum(a != b and not (a != a and b != b) for a, b in pairwise(values))


@np.errstate(all="ignore")
def _quantile(quantile: float, values: list[float]) -> float:
    ordered = sorted(values, key=lambda v: (v == v, v))
    rank = quantile * (len(ordered) - 1)
    low = math.floor(rank)
    high = min(low + 1, len(ordered) - 1)
    return float(np.float64(ordered[low]) * (1 - rank + low) + np.float64(ordered[high]) * (rank - low))


def _mad(values: list[float]) -> float:
    middle = _quantile(0.5, values)
    return _quantile(0.5, [abs(v - middle) for v in values])


def _last_two(samples: Samples, end_ms: int, closed: bool) -> float | None:
    return samples[-1][1] - samples[-2][1] if len(samples) > 1 else None


def _irate(samples: Samples, end_ms: int, closed: bool) -> float | None:
    if len(samples) < 2:
        return None
    (t0, v0), (t1, v1) = samples[-2:]
    return (v1 if v1 < v0 else v1 - v0) / ((t1 - t0) / 1000)


def _deriv(samples: Samples, end_ms: int, closed: bool) -> float | None:
    if len(samples) < 2:
        return None
    times = [(t - samples[0][0]) / 1000 for t, _ in samples]
    mean_t, mean_v = math.fsum(times) / len(times), math.fsum(v for _, v in samples) / len(times)
    together = math.fsum((t - mean_t) * (v - mean_v) for t, (_, v) in zip(times, samples, strict=True))
    return together / math.fsum((t - mean_t) ** 2 for t in times)


def _rate(samples: Samples, end_ms: int, closed: bool) -> float | None:
    growth = _rate_like(counter=True)(samples, end_ms, closed)
    return None if growth is None else growth / (RANGE_MS / 1000)


def _smoothed(samples: Samples, end_ms: int, closed: bool) -> float | None:
    if len(samples) < 2:
        return None
    values = [v for _, v in samples]
    level, growth, before = values[0], values[1] - values[0], 0.0
    for i, value in enumerate(values[1:]):
        if i:
            growth = 0.6 * (level - before) + 0.4 * growth
        before, level = level, 0.3 * value + 0.7 * (level + growth)
    return level


def _time_of(pick: Callable[[list[float]], float]) -> Callable[[Samples, int, bool], float | None]:
    def loop(samples: Samples, end_ms: int, closed: bool) -> float | None:
        wanted = _choice(pick)([v for _, v in samples])
        return max(t for t, v in samples if v == wanted or (v != v and wanted != wanted)) / 1000

    return loop


LOOPS: dict[str, Callable[[Samples, int, bool], float | None]] = {
    "rate": _rate,
    "increase": _rate_like(counter=True),
    "delta": _rate_like(counter=False),
    "irate": _irate,
    "idelta": _last_two,
    "avg_over_time": _of_values(lambda v: _sum(v) / len(v)),
    "changes": _of_values(_changes),
    "count_over_time": _of_values(len),
    "mad_over_time": _of_values(_mad),
    "max_over_time": _of_values(_choice(max)),
    "min_over_time": _of_values(_choice(min)),
    "present_over_time": _of_values(lambda v: 1.0),
    "quantile_over_time": _of_values(lambda v: _quantile(0.3, v)),
    "resets": _of_values(lambda v: sum(b < a for a, b in pairwise(v))),
    "stddev_over_time": _of_values(lambda v: math.sqrt(_variance(v))),
    "stdvar_over_time": _of_values(_variance),
    "sum_over_time": _of_values(_sum),
    "deriv": _deriv,
    "double_exponential_smoothing": _smoothed,
    "holt_winters": _smoothed,
    "ts_of_first_over_time": lambda samples, end_ms, closed: samples[0][0] / 1000,
    "ts_of_last_over_time": lambda samples, end_ms, closed: samples[-1][0] / 1000,
    "ts_of_max_over_time": _time_of(max),
    "ts_of_min_over_time": _time_of(min),
}
PARAMETERS = {
    "quantile_over_time": (0.3,),
    "double_exponential_smoothing": (0.3, 0.6),
    "holt_winters": (0.3, 0.6),
}
FINITE_ONLY = {"deriv", "double_exponential_smoothing", "holt_winters", "rate", "increase", "mad_over_time"}
TABLE = kernels.TABLE | rates.TABLE | trends.TABLE | sample_times.TABLE

numbers = st.one_of(
    st.integers(-5, 20).map(float),
    st.floats(-1e6, 1e6),
    st.sampled_from([1e12, -1e12, 0.0, -0.0]),
)
odd_numbers = st.one_of(numbers, st.sampled_from([NAN, math.inf, -math.inf]))


def test_every_kernel_is_tested() -> None:
    assert LOOPS.keys() == TABLE.keys()


@pytest.mark.parametrize("name", sorted(TABLE))
@given(data=st.data())
def test_kernels_equal_loops(name: str, data: st.DataObject) -> None:
    series = data.draw(st.integers(1, 3))
    gaps = data.draw(st.lists(st.integers(1, 40_000), min_size=1, max_size=30))
    times = np.cumsum(gaps)
    of = numbers if name in FINITE_ONLY else odd_numbers
    values = np.array(
        [data.draw(st.lists(of, min_size=len(gaps), max_size=len(gaps))) for _ in range(series)]
    )
    ends = np.arange(data.draw(st.integers(0, 50_000)), times[-1] + 2 * RANGE_MS, 17_000)
    closed = data.draw(st.booleans())
    first = np.searchsorted(times, ends - RANGE_MS, "left" if closed else "right")
    last = np.searchsorted(times, ends, "right") - 1
    first, last = np.where(last < first, 0, first), np.where(last < first, -1, last)
    matrix = Windows(values, times, first, last, ends, RANGE_MS, closed)
    begin = np.arange(series)[:, None] * len(times)
    flat = Windows(
        values.ravel(),
        np.tile(times, series),
        np.where(last < 0, 0, first + begin).ravel(),
        np.where(last < 0, -1, last + begin).ravel(),
        np.tile(ends, series),
        RANGE_MS,
        closed,
        np.tile(np.arange(len(ends)), series),
    )
    for windows in (matrix, flat):
        parameters = [windows.per_window(np.full(len(ends), p)) for p in PARAMETERS.get(name, ())]
        with np.errstate(all="ignore"):
            found, exists = TABLE[name](windows, *parameters)
        found = np.broadcast_to(found.reshape(-1, len(ends)), (series, len(ends)))
        there = windows.counts > 0 if exists is None else (windows.counts > 0) & exists
        there = np.broadcast_to(there.reshape(-1, len(ends)), (series, len(ends)))
        for row in range(series):
            for step, end in enumerate(ends.tolist()):
                inside = range(int(first[step]), int(last[step]) + 1)
                samples = [(int(times[i]), float(values[row, i])) for i in inside]
                wanted = LOOPS[name](samples, end, closed) if samples else None
                got = float(found[row, step]) if there[row, step] else None
                assert _same(got, wanted, samples, name), (
                    f"{name} of {samples} at {end}: {got}, wanted {wanted}"
                )


def _same(got: float | None, wanted: float | None, samples: Samples, name: str) -> bool:
    if got is None or wanted is None:
        return got is wanted
    if math.isnan(wanted) or math.isinf(wanted):
        return got == wanted or (math.isnan(got) and math.isnan(wanted))
    # Differences of large terms keep the error of the terms, squares that of the squared terms.
    size = max((abs(v) for _, v in samples if math.isfinite(v)), default=0.0)
    error = 1e-14 * size * (size if name == "stdvar_over_time" else 1)
    return math.isclose(got, wanted, rel_tol=1e-11, abs_tol=error)


@given(
    values=st.lists(
        st.one_of(st.floats(-1e3, 1e3), st.sampled_from([1e100, -1e100, 1e16])), min_size=1, max_size=40
    ),
    width=st.integers(1, 40),
)
def test_sums_keep_twelve_digits_even_where_terms_cancel(values: list[float], width: int) -> None:
    last = np.arange(len(values))
    first = np.maximum(last - width + 1, 0)
    with np.errstate(all="ignore"):
        found = window_sums(np.array(values), first, last).tolist()
    for a, b, got in zip(first.tolist(), last.tolist(), found, strict=True):
        terms = values[a : b + 1]
        # Kahan-Neumaier itself loses what is below 1e-32 of the largest term.
        allowed = max(map(abs, terms)) * 1e-30
        assert math.isclose(got, math.fsum(terms), rel_tol=1e-12, abs_tol=allowed)


@pytest.mark.parametrize(
    "terms",
    [[1e8, 1e-5, -1e8], [1.0, 1e100, 1.0, -1e100], [0.1] * 9 + [-0.8999], [3.0, 1e16, 1.0, 1.0, -1e16]],
)
def test_small_remainders_of_large_terms_are_exact(terms: list[float]) -> None:
    values = np.array([terms, [1.0] * len(terms)])
    found = window_sums(values, np.array([0]), np.array([len(terms) - 1]))
    assert found[:, 0].tolist() == pytest.approx([math.fsum(terms), len(terms)], rel=1e-15, abs=0)


@pytest.mark.parametrize("odd", [math.inf, -math.inf, NAN, 1e300])
@pytest.mark.parametrize("name", ["sum_over_time", "avg_over_time", "stdvar_over_time", "rate", "changes"])
def test_an_odd_value_touches_only_windows_that_hold_it(name: str, odd: float) -> None:
    times = np.arange(40) * 1000
    clean = np.cumsum(np.linspace(0.1, 0.9, 40))
    dirty = np.stack([np.where(np.arange(40) == 20, odd, clean), clean])
    first, last = np.arange(35), np.arange(35) + 5

    def run(values: np.ndarray) -> np.ndarray:
        with np.errstate(all="ignore"):
            return TABLE[name](Windows(values, times, first, last, times[5:], 5000, False))[0]

    with_odd, without = run(dirty), run(np.stack([clean, clean]))
    outside = (last < 20) | (first > 20)
    assert with_odd[0, outside].tolist() == without[0, outside].tolist()
    assert with_odd[1].tolist() == without[1].tolist()


def test_a_mean_does_not_overflow() -> None:
    values = np.array([1.7e308, 1.7e308, 1.7e308])
    windows = Windows(values, np.arange(3), np.array([0]), np.array([2]), np.array([3]), 3, False)
    with np.errstate(all="ignore"):
        assert kernels.avg_over_time(windows)[0].tolist() == pytest.approx([1.7e308])


def test_quantiles_of_overlapping_windows_are_taken_a_part_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(1).random((2, 50))
    last = np.arange(50)
    windows = Windows(values, last, np.maximum(last - 9, 0), last, last, 10, False)
    whole = kernels.quantile_over_time(windows, np.full(50, 0.7))[0]
    monkeypatch.setattr(kernels, "MAX_ORDERED", 100)
    assert kernels.quantile_over_time(windows, np.full(50, 0.7))[0].tolist() == whole.tolist()
