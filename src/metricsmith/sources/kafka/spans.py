"""What is remembered of a partition that is read whole: counts per span of offsets, so only new data is read.

Retention removes data from the start: spans that are gone are forgotten, and what is left of the one that
is cut is read again. Compaction removes data anywhere, so nothing is remembered of compacted topics.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import orjson

MOST_SPANS = 32
"""Neighbours are joined beyond that: at worst this part of a log is read again when its start moves."""
_FORMAT = 1


@dataclass(slots=True)
class Span:
    """Offsets [first, stop), what they held, and how many of them could not be read."""

    first: int
    stop: int
    records: int = 0
    tombstones: int = 0
    empty_values: int = 0
    unread: int = 0

    def add(self, other: Span) -> None:
        """Take over what follows this span directly."""
        self.stop = other.stop
        self.records += other.records
        self.tombstones += other.tombstones
        self.empty_values += other.empty_values
        self.unread += other.unread


@dataclass(slots=True)
class Counted:
    """What was counted of one partition so far; spans follow one another without gaps."""

    topic_id: str
    read_committed: bool
    spans: list[Span] = field(default_factory=list)

    def add(self, span: Span) -> None:
        """Remember what follows, in about MOST_SPANS spans of like length."""
        if self.spans and span.first != self.spans[-1].stop:
            self.spans.clear()
        self.spans.append(span)
        if len(self.spans) <= 2 * MOST_SPANS:
            return
        joined: list[Span] = []
        least = (self.spans[-1].stop - self.spans[0].first) // MOST_SPANS
        for each in self.spans:
            if joined and joined[-1].stop - joined[-1].first < least:
                joined[-1].add(each)
            else:
                joined.append(each)
        self.spans = joined

    def cut(self, start: int, end: int) -> None:
        """Forget what a log from `start` to `end` no longer has.

        A log that ends before what was read was cut by an unclean election: all is forgotten.
        """
        if self.spans and self.spans[-1].stop > end:
            self.spans.clear()
        self.spans = [span for span in self.spans if span.first >= start]

    def put_first(self, span: Span) -> None:
        """Remember what was read again, directly before the first span."""
        if self.spans and span.stop == self.spans[0].first:
            self.spans.insert(0, span)

    def total(self) -> Span:
        """Return all of it as one span."""
        whole = Span(self.spans[0].first, self.spans[0].first) if self.spans else Span(0, 0)
        for each in self.spans:
            whole.add(each)
        return whole

    def encode(self) -> bytes:
        """Return it as State keeps it."""
        rows = [[s.first, s.stop, s.records, s.tombstones, s.empty_values, s.unread] for s in self.spans]
        return orjson.dumps([_FORMAT, self.topic_id, self.read_committed, rows])


def decode(data: bytes, topic_id: str, read_committed: bool) -> tuple[Counted, str]:
    """Return what is remembered of a partition, and why it is nothing although there was something.

    `unreadable`: damaged or of another format. `counted_anew`: of a topic that had the
    name before, or of another isolation level.
    """
    fresh = Counted(topic_id, read_committed)
    if not data:
        return fresh, ""
    try:
        version, kept_id, kept_committed, rows = orjson.loads(data)
        spans = [Span(*map(int, row)) for row in rows]
    except (ValueError, TypeError, OverflowError):
        return fresh, "unreadable"
    if version != _FORMAT or any(a.stop != b.first for a, b in pairwise(spans)):
        return fresh, "unreadable"
    if (kept_id, kept_committed) != (topic_id, read_committed):
        return fresh, "counted_anew"
    return Counted(topic_id, read_committed, spans), ""
