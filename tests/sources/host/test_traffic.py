"""The network's total grows by what passed, whatever interfaces do."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metricsmith.sources.host.traffic import FORGET_AFTER, NEAR, WRAP, Total


@pytest.mark.parametrize(
    ("readings", "want"),
    [
        ([{"a": 100}], [100]),
        ([{"a": 100, "b": 5}, {"a": 150, "b": 6}], [105, 156]),
        ([{"a": 100, "b": 50}, {"a": 110}], [150, 160]),  # gone: what it counted stays counted
        ([{"a": 100}, {"a": 100, "b": 30}], [100, 130]),  # new: all of it passed since
        ([{"a": 100}, {"a": 7}], [100, 107]),  # made anew, from zero
        ([{"a": WRAP - 10}, {"a": 5}], [WRAP - 10, WRAP + 5]),  # wrapped at 32 bits
        ([{"a": 3_500_000_000}, {"a": 1000}], [3_500_000_000, 3_500_001_000]),  # made anew, far from a wrap
        ([{"a": 2**40}, {"a": 5}], [2**40, 2**40 + 5]),  # a 64-bit counter does not wrap
        ([{"a": 100}, {}, {"a": 120}], [100, 100, 120]),  # away for a moment
        ([{"a": 100}, {}, {"a": 20}], [100, 100, 120]),
    ],
)
def test_the_total(readings, want):
    total = Total()
    assert [total.add(reading) for reading in readings] == want


@given(
    st.lists(
        st.dictionaries(st.sampled_from("abc"), st.integers(0, 2**33), max_size=3), min_size=1, max_size=20
    )
)
def test_it_never_falls(readings):
    total = Total()
    found = [total.add(reading) for reading in readings]
    assert found == sorted(found)


@given(st.lists(st.integers(0, NEAR - 1), max_size=20), st.integers(0, WRAP - 1))
def test_wraps_lose_nothing(grown, start):
    total, true = Total(), start
    total.add({"a": start})
    for step in grown:
        true += step
        assert total.add({"a": true % WRAP}) == true


def test_interfaces_that_are_gone_for_good_are_forgotten():
    total = Total()
    total.add({f"veth{i}": 1 for i in range(1000)})
    for _ in range(FORGET_AFTER + 1):
        total.add({"a": 1})
    assert len(total._last) == 1
