"""The time by which history is deleted: it does not follow the wall clock when that jumps ahead."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from metricsmith.model.clock import Clock

log = logging.getLogger(__name__)

JUMP_MS = 10 * 60_000
"""A wall clock this far ahead of the time that has passed has been set; it was also slept, perhaps."""
BELIEVED_AFTER_MS = 24 * 3_600_000


def believable_end(spans: Iterable[tuple[int, int]], gap_ms: int) -> int | None:
    """Return the newest time of samples, given the first and last times of their parts; None without any.

    What lies alone, further than `gap_ms` from the rest, and lasts less than a day
    was given its times by a clock that was wrong for a while: it is no witness for
    that clock when it is wrong again at the next start.
    """
    runs: list[tuple[int, int]] = []
    for first, last in sorted(spans):
        if runs and first - runs[-1][1] <= gap_ms:
            runs[-1] = runs[-1][0], max(runs[-1][1], last)
        else:
            runs.append((first, last))
    lasting = [last for first, last in runs if last - first >= BELIEVED_AFTER_MS]
    return lasting[-1] if lasting else runs[0][1] if runs else None


class SteadyTime:
    """Wall time, but for jumps ahead, which count only once they have lasted a day.

    A clock that is wrong for a minute must not delete a year, and a machine
    that slept for a week loses nothing by deleting a day late. A clock that
    is set back is followed at once: nothing is deleted too early by that.
    """

    def __init__(self, clock: Clock, newest_ms: int | None) -> None:
        """Begin at the `believable_end` of what is stored: how long nothing ran, the wall clock knows."""
        self._clock = clock
        self._monotonic_s = clock.monotonic()
        self._steady_ms = clock.now_ms() if newest_ms is None else newest_ms
        self._doubted_ms: int | None = None  # since when, in steady time

    def now_ms(self) -> int:
        """Return the time; asked every few seconds, or it takes the clock's drift for a jump.

        Units:
            Milliseconds since the Unix epoch, UTC.
        """
        wall_ms, monotonic_s = self._clock.now_ms(), self._clock.monotonic()
        self._steady_ms += round((monotonic_s - self._monotonic_s) * 1000)
        self._monotonic_s = monotonic_s
        ahead_ms = wall_ms - self._steady_ms
        if ahead_ms <= JUMP_MS:
            if self._doubted_ms is not None:
                log.info("the clock is back; samples that were given times of the jump keep them")
            self._follow(wall_ms)
        elif self._doubted_ms is None:
            self._doubted_ms = self._steady_ms
            log.log(
                logging.WARNING if ahead_ms > BELIEVED_AFTER_MS else logging.INFO,
                "the clock is %d s ahead of the newest samples and the time passed since: "
                "what is old is deleted by it only if it stays so for 24 h (check the clock)",
                ahead_ms // 1000,
            )
        elif self._steady_ms - self._doubted_ms >= BELIEVED_AFTER_MS:
            log.info("the clock has been ahead for 24 h and is believed: what is old is deleted by it again")
            self._follow(wall_ms)
        return self._steady_ms

    def _follow(self, wall_ms: int) -> None:
        self._steady_ms, self._doubted_ms = wall_ms, None
