"""The story that a Kafka plays in the demo: what topics and groups there are, and what becomes of them."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from metricsmith.sources.kafka.lag import Reason

Record = tuple[bytes, bytes | None]
"""Key and value; a value of None is a tombstone."""

BACKLOG = 6000
STUCK_AFTER_S = 2.0
STALLED_AFTER_S = 6
"""The agent calls a group stalled when it has not committed for so long; short, so that nobody waits."""


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic and what is written to it; `rate` in records per second, `before` when the story begins."""

    name: str
    partitions: int
    record: Callable[[random.Random, int], Record]
    words: str
    rate: float
    before: int
    settings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Group:
    """A consumer group of one member.

    `rate` bounds the records it reads per second. After `ends_s` it hangs, or
    leaves when `leaves` is set. One with `behind` begins so many records before
    the end, and again whenever it has caught up.
    """

    name: str
    topic: str
    expected: Reason
    words: str
    rate: float = math.inf
    ends_s: float = math.inf
    leaves: bool = False
    behind: int = 0


def _order(_chance: random.Random, number: int) -> Record:
    return b"order-%d" % number, b'{"order": %d, "state": "paid"}' % number


def _click(chance: random.Random, number: int) -> Record:
    visitor = 0 if chance.random() < 0.8 else chance.randrange(1000)
    return b"visitor-%d" % visitor, b'{"click": %d}' % number


def _customer(chance: random.Random, number: int) -> Record:
    deleted = chance.random() < 0.3
    return b"customer-%d" % chance.randrange(500), None if deleted else b'{"version": %d}' % number


def _session(chance: random.Random, number: int) -> Record:
    kind = chance.random()
    value = None if kind < 0.6 else b"" if kind < 0.65 else b'{"session": %d}' % number
    return b"session-%d" % chance.randrange(100_000), value


TOPICS = (
    Topic("orders", 3, _order, "keys spread evenly", 60, BACKLOG),
    Topic("clicks", 6, _click, "four of five with one key: one partition has nearly all", 60, 1000),
    Topic(
        "customers",
        2,
        _customer,
        "compacted; three of ten delete a customer",
        20,
        1000,
        {"cleanup.policy": "compact", "segment.ms": "20000", "min.cleanable.dirty.ratio": "0.1"},
    ),
    Topic(
        "sessions", 2, _session, "not compacted; six of ten are tombstones, which nothing removes", 20, 1000
    ),
)

GROUPS = (
    Group("shipping", "orders", Reason.CAUGHT_UP, "reads all as it comes"),
    Group("dashboards", "clicks", Reason.CAUGHT_UP, "reads all as it comes"),
    Group("analytics", "orders", Reason.GROWING, "reads half of what comes", rate=30),
    Group(
        "search-index",
        "orders",
        Reason.SHRINKING,
        "builds its index anew, again and again",
        120,
        behind=BACKLOG,
    ),
    Group("billing", "orders", Reason.STALLED, "hangs on a record, still a member", ends_s=STUCK_AFTER_S),
    Group("reports", "orders", Reason.IDLE, "has left: nobody reads", ends_s=STUCK_AFTER_S, leaves=True),
)
