"""Offsets: what groups committed, and where logs begin and end; a request or two per broker."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from metricsmith.model.arrays import I64
from metricsmith.sources.kafka.admin import Group, Partition, Trouble
from metricsmith.sources.kafka.client import Client, Failure, error_text, reason_of
from metricsmith.sources.kafka.lag import UNKNOWN

from kafka.protocol.consumer import ListOffsetsRequest, OffsetFetchRequest  # isort: skip

EARLIEST, LATEST = -2, -1


@dataclass(frozen=True, slots=True)
class LogOffsets:
    """Where logs begin and end.

    Shapes:
        start, end: (P,) in the order asked; UNKNOWN where it could not be read.
    """

    start: I64
    end: I64
    troubles: tuple[Trouble, ...]


def committed(
    client: Client, groups: Iterable[Group]
) -> tuple[dict[str, dict[tuple[str, int], int]], list[Trouble]]:
    """Return the committed offsets of each group that could be read; one request per coordinator.

    To be asked before the ends of logs: commits that come in between would be beyond an older end.
    """
    asked: dict[int, list[str]] = {}
    for group in groups:
        asked.setdefault(group.coordinator, []).append(group.name)
    answers = client.ask([(node, _fetch(names)) for node, names in asked.items()])
    found: dict[str, dict[tuple[str, int], int]] = {}
    troubles: list[Trouble] = []
    for answer in answers:
        if isinstance(answer, Failure):
            troubles.append(Trouble("committed", answer.reason, answer.message))
            continue
        for each in answer.groups:
            # With one of its partitions unread, a group would seem not to have committed there.
            code = each.error_code or next(
                (p.error_code for t in each.topics for p in t.partitions if p.error_code), 0
            )
            if code:
                what = f"group {each.group_id}: {error_text(code)}"
                troubles.append(Trouble("committed", reason_of(code), what))
            else:
                found[each.group_id] = {
                    (topic.name, part.partition_index): part.committed_offset
                    for topic in each.topics
                    for part in topic.partitions
                }
    return found, troubles


def _fetch(names: Sequence[str]) -> OffsetFetchRequest:
    # From version 10 on topics have ids instead of names; below 8 there is one group to a request.
    wanted = [OffsetFetchRequest.OffsetFetchRequestGroup(group_id=name, topics=None) for name in names]
    return OffsetFetchRequest(groups=wanted, min_version=8, max_version=9)


def log_offsets(client: Client, partitions: Sequence[Partition], read_committed: bool) -> LogOffsets:
    """Return where logs begin and end; two requests per leading broker, all under way together."""
    rows: dict[int, dict[str, dict[int, int]]] = {}
    start = np.full(len(partitions), UNKNOWN, dtype=np.int64)
    end = start.copy()
    troubles: list[Trouble] = []
    for row, each in enumerate(partitions):
        if each.leader < 0:
            troubles.append(Trouble("offsets", "no_leader", f"{each.topic}/{each.number} has no leader"))
        else:
            rows.setdefault(each.leader, {}).setdefault(each.topic, {})[each.number] = row
    asked = [(node, time, into) for node in rows for time, into in ((EARLIEST, start), (LATEST, end))]
    questions = [(node, _list(rows[node], time, read_committed)) for node, time, _ in asked]
    for (node, _, into), answer in zip(asked, client.ask(questions), strict=True):
        if isinstance(answer, Failure):
            troubles.append(Trouble("offsets", answer.reason, answer.message))
            continue
        for topic in answer.topics:
            for part in topic.partitions:
                if part.error_code:
                    what = f"{topic.name}/{part.partition_index}: {error_text(part.error_code)}"
                    troubles.append(Trouble("offsets", reason_of(part.error_code), what))
                else:
                    into[rows[node][topic.name][part.partition_index]] = part.offset
    return LogOffsets(start, end, tuple(troubles))


def _list(topics: Mapping[str, Mapping[int, int]], time: int, read_committed: bool) -> ListOffsetsRequest:
    topic, partition = (
        ListOffsetsRequest.ListOffsetsTopic,
        ListOffsetsRequest.ListOffsetsTopic.ListOffsetsPartition,
    )
    wanted = [
        topic(
            name=name,
            partitions=[
                partition(partition_index=number, current_leader_epoch=-1, timestamp=time)
                for number in numbers
            ],
        )
        for name, numbers in topics.items()
    ]
    return ListOffsetsRequest(replica_id=-1, isolation_level=int(read_committed), topics=wanted)
