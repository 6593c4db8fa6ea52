"""Rows of groups and partitions: what is remembered follows the pair, not the row."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from metricsmith.sources.kafka.catchup import CatchUp, Trend, few_readings
from metricsmith.sources.kafka.history import Key
from metricsmith.sources.kafka.lag import REASONS, Verdict
from metricsmith.sources.kafka.pairs import Judged, PairTable, PartitionKey

PARTITIONS: list[PartitionKey] = [(topic, number) for topic in ("a", "b") for number in range(3)]
GROUPS = st.dictionaries(
    st.sampled_from(["x", "y", "z"]), st.frozensets(st.sampled_from(PARTITIONS)), max_size=3
)
THERE = st.frozensets(st.sampled_from(PARTITIONS))


def table(groups: dict[str, frozenset[PartitionKey]], there: frozenset[PartitionKey]) -> PairTable:
    ids: dict[PartitionKey, Key] = {(topic, n): (topic, "id", n) for topic, n in sorted(there)}
    return PairTable(groups, ids)


def verdict(values: np.ndarray) -> Verdict:
    """A verdict whose every figure says which pair it is on."""
    reasons = values.astype(np.int64) % len(REASONS)
    return Verdict(
        values,
        values,
        values % 2 > 0,
        reasons,
        Trend(values, values, values),
        CatchUp(values, values, values),
    )


def number_of(pair: tuple[str, str, int]) -> float:
    name, topic, partition = pair
    return "xyz".index(name) * 100 + PARTITIONS.index((topic, partition))


@given(GROUPS, THERE)
def test_a_table_has_each_pair_that_is_there_once_in_order(
    groups: dict[str, frozenset[PartitionKey]], there: frozenset[PartitionKey]
) -> None:
    made = table(groups, there)
    expected = [(name, *key) for name in sorted(groups) for key in sorted(groups[name] & there)]
    assert made.pairs == expected
    for row, (name, topic, number) in enumerate(made.pairs):
        assert made.groups[made.group[row]] == name
        assert made.partitions[made.partition[row]] == (topic, number)
        assert made.topics[made.topic[row]] == (name, topic)
        assert made.end_keys[made.partition[row]] == (topic, "id", number)
        assert made.keys("kafka_lag")[row] == ("kafka_lag", name, topic, str(number))
    assert made.keys("kafka_lag") is made.keys("kafka_lag")


@given(GROUPS, GROUPS, THERE, THERE)
def test_verdicts_follow_their_pairs_to_a_new_table(
    before: dict[str, frozenset[PartitionKey]],
    after: dict[str, frozenset[PartitionKey]],
    was: frozenset[PartitionKey],
    there: frozenset[PartitionKey],
) -> None:
    first = Judged.of(table(before, was), Judged())
    values = np.array([number_of(pair) for pair in first.table.pairs], dtype=np.float64)
    first.put(np.arange(len(values)), 1000, values.astype(np.int64), verdict(values))
    second = Judged.of(table(after, there), first)
    for row, pair in enumerate(second.table.pairs):
        known = pair in first.table.pairs
        assert second.time_ms[row] == (1000 if known else 0)
        if known:
            assert second.committed[row] == second.verdict.lag[row] == number_of(pair)
            assert second.verdict.catch_up.high[row] == second.verdict.trend.slope[row] == number_of(pair)
    second.expire(1001)
    assert not second.time_ms.any()


def test_a_table_serves_until_a_pair_or_a_topic_changes() -> None:
    groups = {"x": frozenset({("a", 0), ("a", 1)})}
    made = table(groups, frozenset(PARTITIONS))
    same: dict[PartitionKey, Key] = {key: (key[0], "id", key[1]) for key in PARTITIONS}
    assert made.serves({"x": frozenset({("a", 1), ("a", 0)})}, dict(same))
    assert not made.serves({"x": frozenset({("a", 0)})}, same)
    assert not made.serves({**groups, "y": frozenset()}, same)
    assert not made.serves(groups, same | {("a", 0): ("a", "made anew", 0)})


def test_the_key_of_a_state_changes_with_its_reason() -> None:
    made = table({"x": frozenset({("a", 0), ("a", 1)})}, frozenset(PARTITIONS))
    first = made.state_keys("s", np.array([0, 1]))
    second = made.state_keys("s", np.array([0, 2]))
    assert first == [("s", "x", "a", "0", REASONS[0]), ("s", "x", "a", "1", REASONS[1])]
    assert second == [first[0], ("s", "x", "a", "1", REASONS[2])]


@given(st.integers(0, 200), st.integers(0, 1_000_000))
def test_few_readings_are_spread_and_have_both_ends(count: int, series: int) -> None:
    some = few_readings(1_700_000_000_000 + 30_000 * np.arange(count), series)
    assert len(some) <= max(0, count)
    if count:
        assert some[0] == 0 and some[-1] == count - 1
        gaps = np.diff(some)
        assert not len(gaps) or gaps.max() - gaps.min() <= 1
    assert series * len(some) * (len(some) - 1) / 2 <= max(11_000_000, series * 66)
