"""The one request that asks a broker for raw record batches, and whose an answer's parts are."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from metricsmith.sources.kafka.admin import Partition

from kafka.protocol.consumer import FetchRequest  # isort: skip


def fetch_request(
    wanted: Iterable[tuple[Partition, int, int]],
    max_bytes: int,
    *,
    wait_ms: int = 0,
    read_committed: bool = False,
) -> FetchRequest:
    """Return a request for batches of partitions that one broker leads.

    `wanted` are partitions, each with the first offset and the most bytes to
    send; the broker waits up to `wait_ms` for a first byte. Sessions and racks
    are not used: what is asked for changes each time.
    """
    topic_type = FetchRequest.FetchTopic
    topics: dict[tuple[str, str], list[Any]] = {}
    for partition, offset, most_bytes in wanted:
        topics.setdefault((partition.topic, partition.topic_id), []).append(
            topic_type.FetchPartition(
                partition=partition.number,
                fetch_offset=offset,
                partition_max_bytes=most_bytes,
                current_leader_epoch=-1,
                last_fetched_epoch=-1,
                log_start_offset=-1,
            )
        )
    return FetchRequest(
        max_wait_ms=wait_ms,
        min_bytes=1,
        max_bytes=max_bytes,
        isolation_level=int(read_committed),
        session_id=0,
        session_epoch=-1,
        rack_id="",
        forgotten_topics_data=[],
        topics=[
            topic_type(topic=name, topic_id=topic_id, partitions=parts)
            for (name, topic_id), parts in topics.items()
        ],
    )


def told_partitions(answer: Any, asked: Iterable[Partition]) -> dict[tuple[str, int], Any]:
    """Return what an answer says of each partition that was asked for, by topic and number.

    Answers name a topic by its id or, before version 13, by its name.
    """
    named = {each.topic_id: each.topic for each in asked}
    return {
        (topic.topic or named.get(str(topic.topic_id), ""), each.partition_index): each
        for topic in answer.responses
        for each in topic.partitions
    }
