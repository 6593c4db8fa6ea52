from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

Sample = tuple[dict[str, str], list[int], list[float]]
Cluster = Callable[..., list[Sample]]


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """Return what the `kafka` source says of a healthy cluster: a topic `t`, a group `g`, brokers 1 and 2.

    `drop` names metrics to leave out; `extra` are samples to put on top, which win.
    """
    return _cluster


def _cluster(
    drop: Sequence[str] = (), extra: Sequence[tuple[str, float, dict[str, Any]]] = ()
) -> list[Sample]:
    now = [0]
    found: list[Sample] = []

    def put(name: str, value: float, **labels: object) -> None:
        if name not in drop:
            text = {key: str(each) for key, each in labels.items()}
            found.append(({"__name__": name, "instance": "k", **text}, now, [value]))

    put("kafka_up", 1)
    for part in ("metadata", "offsets", "groups", "lag"):
        put("kafka_snapshot_age_seconds", 0, part=part)
    for broker in (1, 2):
        put("kafka_broker_leaders", 1, id=broker)
        put("kafka_broker_replicas", 2, id=broker)
    put("kafka_topic_partitions", 2, topic="t")
    put("kafka_topic_tombstone_ratio_percent", 0, topic="t")
    put("kafka_consumergroup_info", 1, consumergroup="g", state="Stable", kind="consumer", coordinator=1)
    put("kafka_consumergroup_committed_partitions", 2, consumergroup="g")
    for partition in (0, 1):
        at = {"topic": "t", "partition": partition}
        put("kafka_topic_partition_leader", partition + 1, **at)
        put("kafka_topic_partition_under_replicated_partition", 0, **at)
        put("kafka_topic_partition_oldest_offset", 0, **at)
        put("kafka_topic_partition_current_offset", 100, **at)
        put("kafka_log_dir_size_bytes", 100, broker=partition + 1, log_dir="/d", **at)
        put("kafka_consumergroup_lag", 0, consumergroup="g", **at)
        put("kafka_consumergroup_lag_seconds", 0, consumergroup="g", **at)
        put("kafka_consumergroup_lag_seconds_at_least", 0, consumergroup="g", **at)
        put("kafka_consumergroup_lag_state", 1, consumergroup="g", reason="caught_up", **at)
    earlier = [
        (labels, [-60_000], [values[0] - 60])
        for labels, _, values in found
        if labels["__name__"] == "kafka_topic_partition_current_offset"
    ]
    for name, value, labels in extra:
        put(name, value, **labels)
    return [*earlier, *found]
