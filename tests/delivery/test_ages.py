"""How long a batch has waited is right within a second, or a 200th of it, in little memory."""

from __future__ import annotations

from bisect import bisect_right

from hypothesis import given
from hypothesis import strategies as st

from metricsmith.delivery.ages import FINENESS, MOST_MARKS, Ages


@given(
    st.integers(0, 2**40),
    st.lists(st.tuples(st.integers(0, 5), st.integers(1, 4000)), min_size=1, max_size=9),
)
def test_an_age_is_nearly_right(first: int, spans: list[tuple[int, int]]) -> None:
    """Spans of so many batches a second, for so many seconds; they come in the middle of a second."""
    ages, now_s, next_sequence = Ages(first, 0.0), 0, first
    came: list[tuple[int, float]] = []
    for rate, seconds in spans:
        for _ in range(seconds):
            if rate:
                came.append((next_sequence, now_s + 0.5))
            next_sequence += rate
            now_s += 1
            ages.note(next_sequence, now_s)
    assert len(ages._marks) <= MOST_MARKS + 1
    assert ages.age_s(first - 1, now_s) is None
    begins = [sequence for sequence, _ in came]
    for sequence in range(first, next_sequence, max(1, (next_sequence - first) // 50)):
        true_s = now_s - came[bisect_right(begins, sequence) - 1][1]
        found_s = ages.age_s(sequence, now_s)
        assert found_s is not None
        assert true_s <= found_s <= true_s + max(1.0, true_s / FINENESS + 1)


def test_a_month_takes_no_more_marks() -> None:
    ages = Ages(0, 0.0)
    for hour in range(1, 24 * 30):
        for second in range(0, 3600, 30):
            ages.note(hour * 3600 + second, hour * 3600.0 + second)
    now_s = 24 * 30 * 3600.0
    assert len(ages._marks) <= MOST_MARKS
    for waited_s in (10, 1000, 100_000, 2_000_000):
        found_s = ages.age_s(int(now_s) - waited_s, now_s)
        assert found_s is not None and waited_s <= found_s <= waited_s * 1.01 + 31
