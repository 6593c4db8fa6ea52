"""The balance of a Kafka topic, at its edges; function, rule and textbook agree."""

from __future__ import annotations

import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metricsmith.kafka import balance
from metricsmith.runtime.packs import evaluate_pack

Row = tuple[dict[str, str], list[int], list[float]]


@pytest.mark.parametrize(
    ("sizes", "score"),
    [
        ([], 100),  # no partitions
        ([0, 0, 0], 100),  # an empty topic: no 0 divided by 0
        ([0], 100),
        ([5], 100),  # one partition
        ([7, 7, 7], 100),
        ([50, 150], 50),
        ([0, 100], 0),
        ([0, 0, 0, 100], 0),  # the spread is larger than the mean: not below 0
        ([1, 2, 3, 4], 100 * (1 - statistics.pstdev([1, 2, 3, 4]) / 2.5)),
        ([1e-300, 1e-300], 100),
        ([1e15, 1e15, 1e15 + 1], pytest.approx(100)),
    ],
)
def test_edges(sizes: list[float], score: float) -> None:
    assert balance(sizes) == pytest.approx(score)


@given(st.lists(st.integers(0, 10**12), min_size=1, max_size=30))
def test_it_is_one_minus_the_coefficient_of_variation(sizes: list[int]) -> None:
    mean = statistics.fmean(sizes)
    expected = 100.0 if mean == 0 else max(0.0, 100 * (1 - statistics.pstdev(sizes) / mean))
    assert balance(sizes) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("size", [-1, math.nan, math.inf])
def test_what_is_no_size_is_refused(size: float) -> None:
    with pytest.raises(ValueError, match=r"got a size of .*, wanted finite ones"):
        balance([1, size])


def at(partition: int, name: str, value: float, **labels: str) -> Row:
    where = {"topic": "t", "partition": str(partition), **labels}
    return {"__name__": name, **where}, [0], [value]


def scores(rows: list[Row]) -> dict[str, float]:
    found = evaluate_pack("kafka", rows, 0).get("kafka_topic_balance_score", [])
    return {labels["kind"]: score for labels, score in found if labels["topic"] == "t"}


def test_of_replicas_the_largest_counts() -> None:
    full = [at(p, "kafka_log_dir_size_bytes", 100, broker="1", log_dir="/d") for p in (0, 1)]
    behind = [at(p, "kafka_log_dir_size_bytes", 10 * p, broker="2", log_dir="/d") for p in (0, 1)]
    assert scores(full + behind) == {"bytes": 100}


def test_of_a_topic_that_is_known_in_part_nothing_is_said() -> None:
    two = [at(p, "kafka_log_dir_size_bytes", 100, broker="1", log_dir="/d") for p in (0, 1)]
    three: Row = {"__name__": "kafka_topic_partitions", "topic": "t"}, [0], [3]
    assert scores([*two, three]) == {}


def test_clusters_topics_and_kinds_stay_apart() -> None:
    rows: list[Row] = []
    for instance, sizes in (("a", (50, 150)), ("b", (1, 1))):
        for partition, size in enumerate(sizes):
            of = {"broker": "1", "log_dir": "/d", "instance": instance}
            rows.append(at(partition, "kafka_log_dir_size_bytes", size, **of))
            rows.append(at(partition, "kafka_topic_partition_oldest_offset", 10, instance=instance))
            rows.append(at(partition, "kafka_topic_partition_current_offset", 10, instance=instance))
    found = evaluate_pack("kafka", rows, 0)["kafka_topic_balance_score"]
    assert {(labels["instance"], labels["kind"]): score for labels, score in found} == {
        ("a", "bytes"): 50,
        ("b", "bytes"): 100,
        ("a", "messages"): 100,
        ("b", "messages"): 100,
    }


def test_brokers() -> None:
    rows: list[Row] = [
        ({"__name__": name, "id": str(broker)}, [0], [count])
        for name, counts in (("kafka_broker_leaders", (1, 3)), ("kafka_broker_replicas", (0, 0)))
        for broker, count in enumerate(counts)
    ]
    found = evaluate_pack("kafka", rows, 0)["kafka_cluster_balance_score"]
    assert {labels["kind"]: score for labels, score in found} == {"leaders": 50, "replicas": 100}
