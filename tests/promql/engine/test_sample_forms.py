"""The same samples give the same answer, in whatever groups a store hands them over."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from metricsmith.model.matchers import Matcher
from metricsmith.model.sample_groups import as_ragged, concatenate
from metricsmith.model.selection import MatrixGroup, Selection
from metricsmith.promql import Engine
from metricsmith.promql.memory import STALE, MemorySeries

INTERVAL_MS = 15_000
QUERIES = [
    "x",
    "timestamp(x)",
    "rate(x[1m])",
    "sum by (job) (increase(x[2m]))",
    "avg_over_time(x[3m] offset 30s)",
    "quantile_over_time(0.4, x[1m])",
    "changes(x[5m]) + resets(x[5m])",
    "max_over_time(sum(x)[2m:20s])",
    "deriv(x[2m])",
]


def _series() -> list[tuple[dict[str, str], np.ndarray, np.ndarray]]:
    random = np.random.default_rng(3)
    found = []
    for i in range(12):
        values = np.cumsum(random.integers(0, 9, 40)).astype(float) % 70
        values[[10, 11]] = STALE
        labels = {"__name__": "x", "job": "ab"[i % 2], "i": str(i)}
        found.append((labels, np.arange(40) * INTERVAL_MS, values))
    return found


def one_by_one(selection: Selection) -> Selection:
    parts = [as_ragged(m) for m in selection.matrices] + ([selection.ragged] if selection.ragged else [])
    return Selection(selection.keys, [], concatenate(parts)) if parts else selection


def split_up(selection: Selection) -> Selection:
    single = [
        MatrixGroup(m.rows[i : i + 1], m.times, m.values[i : i + 1], m.stale)
        for m in selection.matrices
        for i in reversed(range(len(m.rows)))
    ]
    return Selection(selection.keys, single, selection.ragged)


class Regrouped(MemorySeries):
    """Series in memory whose selections are put into other groups."""

    def __init__(self, regroup: Callable[[Selection], Selection]) -> None:
        super().__init__(_series())
        self._regroup = regroup

    def select(
        self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, limit: int | None = None
    ) -> Selection:
        return self._regroup(super().select(matchers, start_ms, end_ms, limit))


@pytest.mark.parametrize("regroup", [one_by_one, split_up])
@pytest.mark.parametrize("query", QUERIES)
def test_groups_do_not_matter(query: str, regroup: Any) -> None:
    wanted = Engine(Regrouped(lambda selection: selection)).range(query, 0, 900_000, 7_000)
    found = Engine(Regrouped(regroup)).range(query, 0, 900_000, 7_000)
    assert wanted.keys
    assert found.keys == wanted.keys
    mask = np.ones(wanted.values.shape, bool) if wanted.present is None else wanted.present
    np.testing.assert_array_equal(mask if found.present is None else found.present, mask)
    np.testing.assert_allclose(found.values[mask], wanted.values[mask], rtol=1e-12)
