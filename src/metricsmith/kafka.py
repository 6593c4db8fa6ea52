"""Scores of Kafka topics as functions, for scripts and notebooks: by the rules of the `kafka` pack."""

from __future__ import annotations

from collections.abc import Iterable

from metricsmith.runtime.packs import evaluate_pack


def balance(sizes: Iterable[float]) -> float:
    """Return how evenly partitions are filled: 100 when all are alike, 0 when the spread reaches the mean.

    100·(1 − standard deviation / mean), no less than 0. No partitions, empty
    ones, or a single one are balanced.

    Raises:
        ValueError: a size is negative, or not finite.

    >>> balance([50, 150]), balance([7, 7, 7]), balance([0, 0]), balance([])
    (50.0, 100.0, 100.0, 100.0)
    """
    known = [float(size) for size in sizes]
    if wrong := [size for size in known if not 0 <= size < float("inf")]:
        raise ValueError(f"got a size of {wrong[0]}, wanted finite ones from 0 on")
    topic = {"__name__": "kafka_topic_partitions", "topic": ""}, [0], [len(known)]
    partitions = [
        ({"__name__": "kafka_log_dir_size_bytes", "partition": str(number)}, [0], [size])
        for number, size in enumerate(known)
    ]
    scores = evaluate_pack("kafka", [topic, *partitions], 0)["kafka_topic_balance_score"]
    return next(score for labels, score in scores if labels["kind"] == "bytes")
