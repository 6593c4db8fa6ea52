"""An aggregation that takes values piece by piece answers as one over all values at once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from metricsmith.errors import ExecutionError
from metricsmith.promql import windows
from metricsmith.promql.engine import Engine
from metricsmith.promql.memory import MemorySeries
from metricsmith.promql.reduce_windows import REDUCED_IN_PIECES
from metricsmith.promql.result import to_api

FUNCTIONS = ("rate", "delta", "max_over_time", "count_over_time", "changes")


def series(kind: str) -> list[Any]:
    """Return series with shared times, times of their own, or short lives; some values are odd."""
    chance = np.random.default_rng(5)
    found = []
    for i in range(24):
        times = 15_000 * np.arange(1, 121)
        if kind != "shared":
            times = times + chance.integers(0, 9000, 120)
        if kind == "short":
            times = times[i * 5 : i * 5 + 10]
        if kind == "gaps":
            times = times[chance.random(len(times)) < 0.2]
        values = np.cumsum(chance.integers(-2, 9, len(times))).astype(np.float64)
        if i % 6 == 5 and len(values) > 4:
            values[[1, 3]] = np.nan, np.inf
        found.append(({"__name__": "x", "g": str(i % 3), "i": str(i)}, times.tolist(), values.tolist()))
    return found


def answer(engine: Engine, query: str) -> list[Any]:
    result = to_api(engine.range(query, 60_000, 1_800_000, 20_000))["result"]
    return [(s["metric"], [(t, float(v)) for t, v in s["values"]]) for s in result]


@pytest.mark.parametrize("kind", ["shared", "own", "short", "gaps"])
@pytest.mark.parametrize("op", sorted(REDUCED_IN_PIECES))
def test_as_over_all_values_at_once(op: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows, "CHUNK_VALUES", 400)  # several pieces
    engine = Engine(MemorySeries(series(kind)))
    for function in FUNCTIONS:
        for by in ("", " by (g)", " without (i, g)"):
            got = answer(engine, f"{op}{by} ({function}(x[2m]))")
            wanted = answer(engine, f"{op}{by} ({function}(x[2m]) * 1)")
            assert [metric for metric, _ in got] == [metric for metric, _ in wanted]
            for (_, points), (_, expected) in zip(got, wanted, strict=True):
                assert [t for t, _ in points] == [t for t, _ in expected]
                np.testing.assert_allclose([v for _, v in points], [v for _, v in expected], rtol=1e-12)


def test_equal_labels_without_the_name_are_refused_as_ever() -> None:
    given = [({"__name__": name, "i": i}, [0, 15_000], [1.0, 2.0]) for name in ("x", "y") for i in "ab"]
    with pytest.raises(ExecutionError, match="same labelset"):
        Engine(MemorySeries(given)).instant('sum(rate({__name__=~"x|y"}[1m]))', 30_000)


def test_means_that_overflow_as_sums_are_finite() -> None:
    given = [({"__name__": "x", "i": str(i)}, [0], [1.5e308]) for i in range(4)]
    found = to_api(Engine(MemorySeries(given)).instant("avg(max_over_time(x[1m]))", 30_000))["result"]
    assert float(found[0]["value"][1]) == pytest.approx(1.5e308)
