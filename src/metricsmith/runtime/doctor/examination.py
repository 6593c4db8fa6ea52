"""Runs checks at once, each within its time, and gives their findings in order."""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass

from metricsmith.errors import MetricsmithError
from metricsmith.model.clock import Clock, SystemClock
from metricsmith.model.findings import Findings, Level

log = logging.getLogger(__name__)

TIMEOUT_S = 10.0
"""Longest time of one check."""
_SLOW = "something that it asks is slow or does not answer; a longer --timeout tells which"


@dataclass(frozen=True, slots=True)
class Check:
    """One check: its area, the part that it is about or nothing, and what it does.

    A late one looks at what the others found, and runs when they are done.
    """

    area: str
    name: str
    run: Callable[[Findings], Awaitable[None]]
    late: bool = False


@dataclass(frozen=True, slots=True)
class Done:
    """A check with what it found."""

    check: Check
    findings: Findings


class Examination:
    """Checks of one configuration. `pending` names what still runs, for a progress line."""

    def __init__(
        self, checks: Sequence[Check], agent_pid: int | None, timeout_s: float, clock: Clock | None = None
    ) -> None:
        self._timeout_s, clock = timeout_s, clock or SystemClock()
        self.done = [Done(check, Findings(clock, timeout_s, agent_pid)) for check in checks]
        self.pending = [_title(check) for check in checks]

    async def run(self) -> AsyncIterator[Done]:
        """Run all, and yield each in order as soon as it and those before it are done."""
        first = [asyncio.create_task(self._one(each)) for each in self.done if not each.check.late]
        running = iter(first)
        late = [each for each in self.done if each.check.late]
        try:
            for each in self.done:
                if not each.check.late:
                    await next(running)
                    yield each
            second = [asyncio.create_task(self._one(each)) for each in late]
            first += second
            for each, task in zip(late, second, strict=True):
                await task
                yield each
        finally:
            for task in first:
                task.cancel()
            await asyncio.gather(*first, return_exceptions=True)

    def count(self, level: Level) -> int:
        """Return how many findings are of a level."""
        return sum(line.level is level for each in self.done for line in each.findings.lines)

    async def _one(self, each: Done) -> None:
        check, findings = each.check, each.findings
        findings.begin()
        try:
            async with asyncio.timeout(self._timeout_s):
                await check.run(findings)
        except TimeoutError:
            findings.problem("time", f"not done within {self._timeout_s:g}s", "an answer", _SLOW)
        except MetricsmithError as error:
            findings.problem(check.name or check.area, str(error))
        except Exception as error:  # a check of somebody's part must not end the others
            # Where, and not what: messages may hold secrets.
            where = "".join(traceback.format_tb(error.__traceback__))
            log.debug("%s: %s\n%s", _title(check), type(error).__name__, where)
            findings.problem(
                check.name or check.area,
                f"the check itself failed: {type(error).__name__}",
                hint="a defect; --verbose shows where",
            )
        self.pending.remove(_title(check))


def _title(check: Check) -> str:
    return f"{check.area} {check.name}".rstrip()
