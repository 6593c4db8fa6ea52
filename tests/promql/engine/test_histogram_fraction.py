"""histogram_fraction says what share of a histogram lies where histogram_quantile says it lies."""

from __future__ import annotations

from itertools import accumulate, pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

counts = st.lists(st.integers(1, 50), min_size=2, max_size=6)


def histogram(counts: list[int]) -> str:
    """Buckets up to 1, 2, 3 …, the last one up to infinity, with so many observations each."""
    bounds = [*map(str, range(1, len(counts))), "+Inf"]
    return "\n".join(f'b{{le="{le}"}} {n}' for le, n in zip(bounds, accumulate(counts), strict=True))


@given(counts=counts, share=st.floats(0, 1))
def test_it_is_the_inverse_of_the_quantile(given_series: Any, counts: list[int], share: float) -> None:
    ask = given_series(histogram(counts))
    # Above the last finite bound nothing is known.
    quantile = share * (1 - counts[-1] / sum(counts))
    value = ask.at(f"histogram_quantile({quantile!r}, b)")["{}"]
    assert ask.at(f"histogram_fraction(0, {value!r}, b)") == {"{}": pytest.approx(quantile, abs=1e-12)}


@given(counts=counts, cuts=st.lists(st.floats(-1, 8), max_size=5))
def test_parts_are_the_whole(given_series: Any, counts: list[int], cuts: list[float]) -> None:
    ask = given_series(histogram(counts))
    edges = ["-Inf", *map(repr, sorted(cuts)), "+Inf"]
    parts = [ask.at(f"histogram_fraction({low}, {high}, b)")["{}"] for low, high in pairwise(edges)]
    assert all(part >= 0 for part in parts)
    assert sum(parts) == pytest.approx(1)


def test_buckets_may_come_and_go(given_series: Any) -> None:
    ask = given_series('b{le="1"} 5 5 _\nb{le="2"} _ 10 10\nb{le="+Inf"} 10 10 10')
    found = ask.over("histogram_fraction(0, 1.5, last_over_time(b[1m]))", 2)
    assert found == {"{}": [0.5, 0.75, 0.75]}
