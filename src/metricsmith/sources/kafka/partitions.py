"""Which partitions there are to read, who leads them, and from which offset to which they go."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

from kafka.errors import KafkaError, for_code
from kafka.net import KafkaConnectionManager, NetworkSelector
from kafka.protocol.consumer import ListOffsetsRequest
from kafka.protocol.metadata import MetadataRequest

from metricsmith.errors import SourceError

EARLIEST, LATEST = -2, -1
MAX_ANSWER_BYTES = 100 << 20
CONNECT_LIMIT_MS = 10_000
_UNKNOWN_TOPIC = {3, 100}


class PartitionId(NamedTuple):
    """A partition by name."""

    topic: str
    partition: int


@dataclass(frozen=True, slots=True)
class Leadership:
    """Who leads a partition (-1: nobody, now) and the id of its topic, which a topic made anew does not keep."""

    topic_id: str
    leader: int


@dataclass(frozen=True, slots=True)
class Bounds:
    """The first offset of a log and the one behind its last record; read_committed ends at open transactions."""

    start: int
    end: int


@contextmanager
def connected(settings: Mapping[str, Any]) -> Iterator[KafkaConnectionManager]:
    """Yield connections of one's own, so that long answers delay no other question.

    `settings` are those of kafka-python: bootstrap_servers, security_protocol, …

    Raises:
        SourceError: no broker answers, or credentials are refused.
    """
    net = NetworkSelector(client_id="metricsmith-scan")
    manager = KafkaConnectionManager(
        net, **{"receive_message_max_bytes": MAX_ANSWER_BYTES, "client_id": "metricsmith-scan", **settings}
    )
    net.start()
    try:
        try:
            manager.run(manager.bootstrap_async, CONNECT_LIMIT_MS)
        except KafkaError as error:
            raise SourceError(
                f"got no answer from {settings.get('bootstrap_servers')}: {error}"
                " (check addresses and credentials)"
            ) from error
        yield manager
    finally:
        manager.call_soon(manager.close)
        net.stop()
        net.close()


def leaderships(
    manager: KafkaConnectionManager, topics: Sequence[str] | None
) -> tuple[dict[PartitionId, Leadership], dict[str, str]]:
    """Return who leads each partition, and which of the topics cannot be read, with the reason.

    None asks for all topics.
    """
    named = None if topics is None else [MetadataRequest.MetadataRequestTopic(name=name) for name in topics]
    request = MetadataRequest(topics=named, allow_auto_topic_creation=False)
    answer = manager.run(lambda: manager.send(request))
    found: dict[PartitionId, Leadership] = {}
    problems: dict[str, str] = {}
    for topic in answer.topics:
        if topic.error_code:
            problems[topic.name] = (
                "unknown_topic" if topic.error_code in _UNKNOWN_TOPIC else error_name(topic.error_code)
            )
            continue
        for partition in topic.partitions:
            key = PartitionId(topic.name, partition.partition_index)
            found[key] = Leadership(str(topic.topic_id), partition.leader_id)
    return found, problems


def bounds(
    manager: KafkaConnectionManager, leaders: Mapping[PartitionId, Leadership], read_committed: bool
) -> tuple[dict[PartitionId, Bounds], dict[PartitionId, str]]:
    """Return where each log begins and ends, and why some did not tell. Two requests per leader, all at once."""
    starts, problems = _offsets(manager, leaders, EARLIEST, read_committed)
    ends, more = _offsets(manager, leaders, LATEST, read_committed)
    problems |= more
    return {
        key: Bounds(start, max(start, ends[key])) for key, start in starts.items() if key in ends
    }, problems


def _offsets(
    manager: KafkaConnectionManager,
    leaders: Mapping[PartitionId, Leadership],
    time_ms: int,
    read_committed: bool,
) -> tuple[dict[PartitionId, int], dict[PartitionId, str]]:
    by_leader: dict[int, list[PartitionId]] = {}
    problems: dict[PartitionId, str] = {}
    for key, leadership in leaders.items():
        if leadership.leader < 0:
            problems[key] = "no_leader"
        else:
            by_leader.setdefault(leadership.leader, []).append(key)

    async def ask(node: int, keys: Sequence[PartitionId]) -> Any:
        return await manager.send(_offsets_request(keys, time_ms, read_committed), node_id=node)

    asked = [(keys, manager.call_soon(ask, node, keys)) for node, keys in by_leader.items()]
    offsets: dict[PartitionId, int] = {}
    for keys, future in asked:
        try:
            answer = manager.run(lambda f=future: f)
        except KafkaError as error:
            problems |= dict.fromkeys(keys, type(error).__name__)
            continue
        for topic in answer.topics:
            for partition in topic.partitions:
                key = PartitionId(topic.name, partition.partition_index)
                if partition.error_code:
                    problems[key] = error_name(partition.error_code)
                else:
                    offsets[key] = partition.offset
    return offsets, problems


def _offsets_request(keys: Iterable[PartitionId], time_ms: int, read_committed: bool) -> Any:
    topics: dict[str, list[Any]] = {}
    topic_type = ListOffsetsRequest.ListOffsetsTopic
    for key in keys:
        topics.setdefault(key.topic, []).append(
            topic_type.ListOffsetsPartition(partition_index=key.partition, timestamp=time_ms)
        )
    return ListOffsetsRequest(
        replica_id=-1,
        isolation_level=int(read_committed),
        topics=[topic_type(name=name, partitions=partitions) for name, partitions in topics.items()],
        timeout_ms=10_000,
    )


def error_name(code: int) -> str:
    """Return Kafka's name of an error code, as in `not_leader_for_partition`."""
    return str(getattr(for_code(code), "message", f"error_{code}")).lower()
