"""What a cluster is made of: brokers, topics, groups, sizes on disk, topic settings.

Each function sends a number of requests that grows with brokers, not with topics or groups, and returns
what could be read beside what could not: an error concerns its own part only.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from metricsmith.sources.kafka.client import Client, Failure, error_text, reason_of

from kafka.protocol.admin import (  # isort: skip - after the client, which tells how to install it
    DescribeConfigsRequest,
    DescribeGroupsRequest,
    DescribeLogDirsRequest,
    ListGroupsRequest,
)
from kafka.protocol.api_message import ApiMessage  # isort: skip
from kafka.protocol.consumer.metadata import ConsumerProtocolAssignment  # isort: skip
from kafka.protocol.metadata import MetadataRequest  # isort: skip

TOPIC_RESOURCE = 2
CONFIG_KEYS = ("cleanup.policy", "retention.ms", "retention.bytes", "min.insync.replicas")
CONSUMER_TYPES = {"", "classic", "consumer", "streams"}
"""Group types that commit offsets; a share group has another kind of lag."""
CONSUMER_PROTOCOLS = {"", "consumer", "streams"}
"""Not those of Connect workers and schema registries, which have no offsets."""
_SCHEMAS = "metricsmith.sources.kafka.schemas"


class ConsumerGroupDescribeRequest(ApiMessage, load_json=_SCHEMAS):  # type: ignore[misc, call-arg]
    """Asks for groups of the protocol of KIP-848."""


class ConsumerGroupDescribeResponse(ApiMessage, load_json=_SCHEMAS):  # type: ignore[misc, call-arg]
    """Its answer."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """What could not be read; `reason` is a short constant for counters."""

    part: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class BrokerInfo:
    """One broker as the cluster names it."""

    node_id: int
    address: str
    rack: str


@dataclass(frozen=True, slots=True)
class Partition:
    """One partition; `leader` is -1 when there is none."""

    topic: str
    topic_id: str
    number: int
    leader: int
    replicas: tuple[int, ...]
    in_sync: int
    offline: int


@dataclass(frozen=True, slots=True)
class Topology:
    """Brokers and partitions at one time; a topic that could not be described is among the troubles only."""

    cluster_id: str
    controller: int
    brokers: tuple[BrokerInfo, ...]
    partitions: tuple[Partition, ...]
    internal_topics: frozenset[str]
    unread_topics: frozenset[str]
    troubles: tuple[Trouble, ...]


@dataclass(frozen=True, slots=True)
class Group:
    """One group. `members` and `assigned` are None when they could not be read."""

    name: str
    coordinator: int
    state: str
    protocol: str
    kind: str
    members: int | None = None
    assigned: frozenset[tuple[str, int]] | None = None


@dataclass(frozen=True, slots=True)
class Groups:
    """Groups by name; `complete` when every broker told its own."""

    found: Mapping[str, Group]
    answered: frozenset[int]
    complete: bool
    troubles: tuple[Trouble, ...]


@dataclass(frozen=True, slots=True)
class LogDir:
    """One log directory of a broker; sizes are -1 where the broker does not tell."""

    broker: int
    path: str
    total_bytes: int
    usable_bytes: int
    replicas: tuple[tuple[str, int, int], ...]
    """Topic, partition, bytes; replicas that are being moved in are left out."""


def topology(client: Client) -> Topology | Failure:
    """Return brokers and all topics; one request. The client learns the brokers' addresses by it."""
    request = MetadataRequest(topics=None, allow_auto_topic_creation=False)
    [answer] = client.ask([(None, request)])
    if isinstance(answer, Failure) and answer.reason == "unreachable":  # another broker may well know
        [answer] = client.ask([(None, request)])
    if isinstance(answer, Failure):
        return answer
    if not answer.brokers:
        return Failure("broker_error", "got metadata without brokers, wanted at least one")
    client.heard(answer)
    partitions: list[Partition] = []
    unread: set[str] = set()
    troubles: list[Trouble] = []
    for topic in sorted((t for t in answer.topics if t.name), key=lambda t: t.name):
        if topic.error_code:
            unread.add(topic.name)
            troubles.append(_code_trouble("metadata", topic.error_code, f"topic {topic.name}"))
            continue
        partitions += [
            Partition(
                topic.name,
                str(topic.topic_id or ""),
                part.partition_index,
                part.leader_id,
                tuple(part.replica_nodes),
                len(part.isr_nodes),
                len(part.offline_replicas or ()),
            )
            for part in sorted(topic.partitions, key=lambda p: p.partition_index)
        ]
    brokers = (BrokerInfo(b.node_id, f"{b.host}:{b.port}", b.rack or "") for b in answer.brokers)
    return Topology(
        answer.cluster_id or "",
        answer.controller_id,
        tuple(sorted(brokers, key=lambda b: b.node_id)),
        tuple(partitions),
        frozenset(t.name for t in answer.topics if t.is_internal),
        frozenset(unread),
        tuple(troubles),
    )


def groups(client: Client, brokers: Sequence[int], limit: int, wants: Any) -> Groups:
    """Return the groups that `wants(name)`: a list per broker, a description per coordinator and kind.

    A broker lists the groups that it coordinates, so nobody has to be asked for
    coordinators, which a cache may have wrong when a broker has died.
    """
    answers = client.ask([(node, ListGroupsRequest()) for node in brokers])
    found: dict[str, Group] = {}
    answered: set[int] = set()
    troubles: list[Trouble] = []
    for node, answer in zip(brokers, answers, strict=True):
        if isinstance(answer, Failure):
            troubles.append(Trouble("groups", answer.reason, answer.message))
        elif answer.error_code:
            troubles.append(_code_trouble("groups", answer.error_code, f"groups of broker {node}"))
        else:
            answered.add(node)
            for each in answer.groups:
                kind = (each.group_type or "").lower()
                if (
                    kind in CONSUMER_TYPES
                    and each.protocol_type in CONSUMER_PROTOCOLS
                    and wants(each.group_id)
                ):
                    found[each.group_id] = Group(
                        each.group_id, node, each.group_state or "", each.protocol_type, kind or "classic"
                    )
    if len(found) > limit:
        left_out = len(found) - limit
        troubles.append(Trouble("groups", "limit", f"got {len(found)} groups, {left_out} are left out"))
        found = {name: found[name] for name in sorted(found)[:limit]}
    troubles += _describe(client, found)
    return Groups(found, frozenset(answered), len(answered) == len(brokers), tuple(troubles))


def _describe(client: Client, found: dict[str, Group]) -> list[Trouble]:
    asked: dict[tuple[int, str], list[str]] = {}
    for group in found.values():
        if group.kind in ("classic", "consumer"):
            asked.setdefault((group.coordinator, group.kind), []).append(group.name)
    questions = [
        (
            node,
            ConsumerGroupDescribeRequest(group_ids=names, include_authorized_operations=False)
            if kind == "consumer"
            else DescribeGroupsRequest(groups=names, include_authorized_operations=False),
        )
        for (node, kind), names in asked.items()
    ]
    troubles: list[Trouble] = []
    for (_, kind), answer in zip(asked, client.ask(questions), strict=True):
        if isinstance(answer, Failure):
            troubles.append(Trouble("groups", answer.reason, answer.message))
            continue
        for each in answer.groups:
            if each.error_code:
                troubles.append(_code_trouble("groups", each.error_code, f"group {each.group_id}"))
            elif each.group_id in found:
                group = found[each.group_id]
                assigned = _assigned(each.members, kind)
                found[each.group_id] = Group(
                    group.name,
                    group.coordinator,
                    each.group_state,
                    group.protocol,
                    kind,
                    len(each.members),
                    assigned,
                )
    return troubles


def _assigned(members: Iterable[Any], kind: str) -> frozenset[tuple[str, int]] | None:
    pairs: set[tuple[str, int]] = set()
    for member in members:
        if kind == "consumer":
            for topic in member.assignment.topic_partitions:
                pairs.update((topic.topic_name, number) for number in topic.partitions)
        elif member.member_assignment:
            try:
                assignment = ConsumerProtocolAssignment.decode(member.member_assignment)
            except (struct.error, ValueError, IndexError, TypeError):
                return None  # a protocol of its own, such as Kafka Connect's
            for topic in assignment.assigned_partitions:
                pairs.update((topic.topic, number) for number in topic.partitions)
    return frozenset(pairs)


def log_dirs(client: Client, brokers: Sequence[int]) -> tuple[dict[int, list[LogDir]], list[Trouble]]:
    """Return the log directories of each broker that answered; one request per broker."""
    answers = client.ask([(node, DescribeLogDirsRequest(topics=None)) for node in brokers])
    found: dict[int, list[LogDir]] = {}
    troubles: list[Trouble] = []
    for node, answer in zip(brokers, answers, strict=True):
        if isinstance(answer, Failure):
            troubles.append(Trouble("log_dirs", answer.reason, answer.message))
            continue
        if answer.error_code:
            troubles.append(_code_trouble("log_dirs", answer.error_code, f"log dirs of broker {node}"))
            continue
        found[node] = []
        for directory in answer.results:
            if directory.error_code:
                troubles.append(
                    _code_trouble("log_dirs", directory.error_code, f"{directory.log_dir} of broker {node}")
                )
                continue
            replicas = tuple(
                (topic.name, part.partition_index, part.partition_size)
                for topic in directory.topics
                for part in topic.partitions
                if not part.is_future_key
            )
            found[node].append(
                LogDir(node, directory.log_dir, directory.total_bytes, directory.usable_bytes, replicas)
            )
    return found, troubles


def topic_configs(
    client: Client, topics: Sequence[str]
) -> tuple[dict[str, Mapping[str, str]], list[Trouble]]:
    """Return `CONFIG_KEYS` of each topic, defaults too; one request."""
    if not topics:
        return {}, []
    resources = [(TOPIC_RESOURCE, name, list(CONFIG_KEYS)) for name in topics]
    [answer] = client.ask([(None, DescribeConfigsRequest(resources=resources))])
    if isinstance(answer, Failure):
        return {}, [Trouble("configs", answer.reason, answer.message)]
    found: dict[str, Mapping[str, str]] = {}
    troubles: list[Trouble] = []
    for result in answer.results:
        if result.error_code:
            troubles.append(_code_trouble("configs", result.error_code, f"topic {result.resource_name}"))
        else:
            found[result.resource_name] = {c.name: c.value for c in result.configs if c.value is not None}
    return found, troubles


def _code_trouble(part: str, code: int, what: str) -> Trouble:
    return Trouble(part, reason_of(code), f"{what}: {error_text(code)}")
