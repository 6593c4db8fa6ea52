"""Batches from the journal of another agent: which one each is, and how far that journal has come."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Position:
    """How far the batches of another journal are in ours: the last one's number, and how many parts of it.

    Several batches may come under one number. `life` names the run of that
    agent which sent the last: after a power cut without sync an agent may
    give the same numbers again. `time_ms` is when it came, by our clock.
    """

    life: int
    sequence: int
    parts: int
    time_ms: int


@dataclass(frozen=True, slots=True)
class Origin:
    """What makes a batch count once: it is committed with the position that holds then.

    `after` is the position that its sender must have before, None for none at
    all. `producer` is the 16 bytes that the sender has drawn for itself.
    """

    producer: bytes
    after: Position | None
    position: Position


class NoJournal:
    """`contracts.JournalView` where there is no journal, as in one-shot commands."""

    life = 0
    begun_at = 0

    def position(self, producer: bytes) -> Position | None:
        """Return None: nothing is kept."""
        return None
