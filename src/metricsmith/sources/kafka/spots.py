"""Small reads at single offsets: one request per leading broker, a few bytes of each partition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from metricsmith.sources.kafka.admin import Partition, Trouble
from metricsmith.sources.kafka.client import Client, Failure, error_text, reason_of
from metricsmith.sources.kafka.fetch_request import fetch_request, told_partitions

Spot: TypeAlias = tuple[str, int, int]
"""Topic, partition, offset."""
MAX_ANSWER_BYTES = 32 << 20


def read_spots(
    client: Client, partitions: Sequence[Partition], sizes: Mapping[Spot, int], part: str
) -> tuple[dict[Spot, bytes], list[Trouble]]:
    """Return the record batches at each offset, at most so many bytes; what could not be read is left out.

    A batch that is larger comes whole for the first partition of a request, and not at
    all for the others. Of two spots in one partition only the first is read.
    """
    described = {(each.topic, each.number): each for each in partitions}
    once: dict[tuple[str, int], Spot] = {}
    for spot in sizes:
        once.setdefault(spot[:2], spot)
    by_leader: dict[int, list[Spot]] = {}
    for spot in once.values():
        if described[spot[:2]].leader >= 0:
            by_leader.setdefault(described[spot[:2]].leader, []).append(spot)
    requests = [
        (
            node,
            fetch_request(
                [(described[spot[:2]], spot[2], sizes[spot]) for spot in spots],
                min(MAX_ANSWER_BYTES, sum(sizes[spot] for spot in spots)),
            ),
        )
        for node, spots in by_leader.items()
    ]
    found: dict[Spot, bytes] = {}
    troubles: list[Trouble] = []
    for spots, answer in zip(by_leader.values(), client.ask(requests), strict=True):
        if isinstance(answer, Failure):
            troubles.append(Trouble(part, answer.reason, answer.message))
            continue
        if answer.throttle_time_ms > 0:  # what was not granted is looked at in another round
            message = f"broker {described[spots[0][:2]].leader}: a quota is used up"
            troubles.append(Trouble(part, "throttled", message))
        told = told_partitions(answer, (described[spot[:2]] for spot in spots))
        for spot in spots:
            each = told.get(spot[:2])
            if each is None:
                continue
            if each.error_code:
                message = f"{spot[0]}/{spot[1]} at {spot[2]}: {error_text(each.error_code)}"
                troubles.append(Trouble(part, reason_of(each.error_code), message))
            else:
                found[spot] = bytes(each.records or b"")
    return found, troubles
