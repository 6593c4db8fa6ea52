"""When something periodic is due: a fixed phase, no drift, no pile-up."""

from __future__ import annotations

from dataclasses import dataclass

TOLERANCE_MS = 10
SLOTS = 10
MAX_SLOT_MS = 1000


def phase(fingerprint: int, interval_ms: int) -> int:
    """Return an offset within an interval by a number that stays the same over restarts: spreads load.

    Phases are multiples of a tenth of the interval, of a second at most. What
    begins together shares a wake-up of the process, warm caches, commits and
    timestamps: at ten a slot scrapes cost a third of the CPU time.

    >>> phase(123_456, 15_000), phase(123_456, 500)
    (3000, 450)
    """
    slot_ms = max(1, min(interval_ms // SLOTS, MAX_SLOT_MS))
    return fingerprint % interval_ms // slot_ms * slot_ms


@dataclass(frozen=True, slots=True)
class Schedule:
    """Due times are `offset_ms` past the multiples of `interval_ms` since the epoch.

    >>> schedule = Schedule(15_000, 4000)
    >>> schedule.first(60_000), schedule.following(64_000, now_ms=64_200)
    (64000, (79000, 0))
    """

    interval_ms: int
    offset_ms: int = 0

    def first(self, now_ms: int) -> int:
        """Return the first due time from now on."""
        return now_ms + (self.offset_ms - now_ms) % self.interval_ms

    def following(self, due_ms: int, now_ms: int) -> tuple[int, int]:
        """Return the due time after `due_ms`, and how many were missed in between.

        One that is late by less than an interval is done at once. When the wall
        clock was set back (a timer is early by much less) all begins anew.
        """
        following = due_ms + self.interval_ms
        if following - now_ms > 2 * self.interval_ms:
            return self.first(now_ms), 0
        missed = max(0, (now_ms - following) // self.interval_ms)
        return following + missed * self.interval_ms, missed

    def timestamp(self, due_ms: int, now_ms: int) -> int:
        """Return the due time if now is about it, else now.

        Timers are late by a little that means nothing, and equal distances
        compress and compare better.

        Source:
            Prometheus aligns within 2 ms or a hundredth of the interval; here
            it is 10 ms, as many scrapes are due at the same time.
        """
        return due_ms if abs(now_ms - due_ms) <= min(TOLERANCE_MS, self.interval_ms // 100) else now_ms
