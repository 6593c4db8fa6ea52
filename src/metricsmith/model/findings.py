"""What an examination finds of a configuration before it runs: lines with a level, for people and scripts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from enum import StrEnum

from metricsmith.model.clock import Clock

MAX_TEXT = 500
MAX_LINES = 1000
SPARE = 0.1
"""Of the time, for telling that the rest of it was not enough."""


class Level(StrEnum):
    """How bad it is: a problem keeps something from working, a warning may some day."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: what it is about, what was got, and, unless all is well, what was wanted and what helps."""

    level: Level
    about: str
    got: str
    wanted: str = ""
    hint: str = ""

    def __str__(self) -> str:
        wanted = f", wanted {self.wanted}" if self.wanted else ""
        hint = f" ({self.hint})" if self.hint else ""
        return f"{self.about}: {self.got}{wanted}{hint}"


class Findings:
    """What one examination has found so far: what it told stays when its time runs out.

    `agent_pid` is the process of the agent that runs with this configuration,
    None when there is none. Texts hold no secrets; what far ends say cannot
    steer a terminal.
    """

    def __init__(self, clock: Clock, timeout_s: float, agent_pid: int | None = None) -> None:
        self.timeout_s, self.agent_pid = timeout_s, agent_pid
        self.lines: list[Finding] = []
        self.ahead_s: dict[str, float] = {}
        """By how much our clock is ahead of that of each server that told its time."""
        self.targets = 0
        """How many connections the part keeps."""
        self.samples_per_s = 0.0
        """What the part will collect, as far as it is known."""
        self._clock = clock
        self.begin()

    def begin(self) -> None:
        """Have the time begin now."""
        self._ends_s = self._clock.monotonic() + (1 - SPARE) * self.timeout_s

    def within_ms(self, timeout_ms: int) -> int:
        """Return how long to wait for an answer that may take so long, to tell of it in time."""
        return max(1, min(timeout_ms, int(1000 * (self._ends_s - self._clock.monotonic()))))

    def within_s(self, timeout_s: float = math.inf) -> float:
        """Return the same in seconds."""
        return max(0.001, min(timeout_s, self._ends_s - self._clock.monotonic()))

    def ok(self, about: str, got: str) -> None:
        """Tell that something is as it should be."""
        self._add(Level.OK, about, got)

    def warning(self, about: str, got: str, wanted: str = "", hint: str = "") -> None:
        """Tell of what works now, but not well, or not for ever."""
        self._add(Level.WARNING, about, got, wanted, hint)

    def problem(self, about: str, got: str, wanted: str = "", hint: str = "") -> None:
        """Tell of what does not work."""
        self._add(Level.PROBLEM, about, got, wanted, hint)

    def expect(self, samples: int, interval_ms: int) -> None:
        """Take note that so many samples come in each interval."""
        self.samples_per_s += samples * 1000 / interval_ms

    def told_time(self, server: str, headers: Mapping[str, str]) -> None:
        """Take note of the clock of a server that has just answered, if its headers hold it."""
        try:
            there = parsedate_to_datetime(headers.get("Date") or "")
        except (ValueError, TypeError, OverflowError):
            return
        if there.tzinfo is None:  # `-0000`, as some write GMT
            there = there.replace(tzinfo=UTC)
        # The header holds whole seconds, cut off: on average half a second is missing.
        self.ahead_s[server] = self._clock.now_ms() / 1000 - there.timestamp() - 0.5

    def _add(self, level: Level, *texts: str) -> None:
        if len(self.lines) < MAX_LINES:
            self.lines.append(Finding(level, *map(_printable, texts)))
        elif len(self.lines) == MAX_LINES:
            self.lines.append(
                Finding(Level.PROBLEM, "findings", f"more than {MAX_LINES}; the rest is left out")
            )


def _printable(text: str) -> str:
    """Return a text on one line, shortened, without what steers a terminal.

    >>> _printable("a\\x1b[31m\\nb")
    'a [31m b'
    """
    return "".join(c if c.isprintable() else " " for c in text[:MAX_TEXT])
