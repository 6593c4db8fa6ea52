"""This machine's clock, held against servers that were reached, and against itself."""

from __future__ import annotations

import asyncio
import math
import statistics
from collections.abc import Collection, Sequence
from datetime import UTC, datetime

from metricsmith.model.clock import Clock
from metricsmith.model.findings import Findings

SKEW_S, BAD_SKEW_S = 5.0, 120.0
FIRST_YEAR, LAST_YEAR = 2025, 2100
LOOK_S = 0.5
LOOKS = 5
JUMP_S = 0.05
_HINT = (
    "run a time service such as chrony: samples get this clock's time, and others refuse those of the future"
)


async def examine_clock(clock: Clock, others: Sequence[Findings], findings: Findings) -> None:
    """Tell whether time is right; `others` hold what servers said of theirs."""
    year = datetime.fromtimestamp(clock.now_ms() / 1000, UTC).year
    if not FIRST_YEAR <= year <= LAST_YEAR:
        findings.problem("clock", f"the year {year}", f"{FIRST_YEAR} to {LAST_YEAR}", _HINT)
    began_s = _ahead_of_monotonic_s(clock)
    await asyncio.sleep(LOOK_S)
    drift = _ahead_of_monotonic_s(clock) - began_s
    if abs(drift) > JUMP_S:
        got = f"it moved {drift:+.2f}s against the monotonic clock in {LOOK_S:g}s"
        findings.warning("clock", got, "a steady clock", "something sets it")
    _compare({server: s for other in others for server, s in other.ahead_s.items()}, findings)


def _ahead_of_monotonic_s(clock: Clock) -> float:
    """Return wall time less monotonic time: of several looks the quickest, as a busy machine pauses some."""
    looks = list[tuple[float, float]]()
    for _ in range(LOOKS):
        before = clock.monotonic()
        wall_s = clock.now_ms() / 1000
        looks.append((clock.monotonic() - before, wall_s - before))
    return min(looks)[1]


def _compare(ahead_s: dict[str, float], findings: Findings) -> None:
    if not ahead_s:
        findings.ok("clock", "no server that was reached told its time; nothing to compare with")
        return
    wrong = {server: ahead for server, ahead in ahead_s.items() if abs(ahead) > SKEW_S}
    middle = statistics.median(ahead_s.values())
    if abs(middle) <= SKEW_S:
        findings.ok("clock", f"within {max(1, math.ceil(abs(middle)))}s of that of {_servers(ahead_s)}")
        for server, ahead in wrong.items():
            findings.warning(server, f"its clock is {_apart(-ahead)} ours", "the same time", "set its clock")
        return
    tell = findings.problem if abs(middle) > BAD_SKEW_S else findings.warning
    tell(
        "clock",
        f"{_apart(middle)} that of {_servers(wrong)}",
        f"within {SKEW_S:g}s",
        _HINT,
    )


def _servers(known: Collection[str]) -> str:
    return next(iter(known)) if len(known) == 1 else f"{len(known)} servers"


def _apart(ahead_s: float) -> str:
    """Return by how much a clock differs from another.

    >>> _apart(-90)
    '90s behind'
    """
    return f"{abs(ahead_s):.0f}s {'ahead of' if ahead_s > 0 else 'behind'}"
