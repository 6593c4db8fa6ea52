"""All checks of a configuration, in the order in which they are shown."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial

from metricsmith.config.load import Configuration
from metricsmith.model.clock import SystemClock
from metricsmith.model.findings import Findings
from metricsmith.net.threads import in_thread
from metricsmith.rules.notify.examination import examine_destinations
from metricsmith.runtime.doctor.agent import agent_pid
from metricsmith.runtime.doctor.clock import examine_clock
from metricsmith.runtime.doctor.disk import examine_disk
from metricsmith.runtime.doctor.examination import Check, Examination
from metricsmith.runtime.doctor.limits import examine_limits
from metricsmith.runtime.doctor.parts import part_checks
from metricsmith.runtime.doctor.secrets import examine_files
from metricsmith.runtime.doctor.server import examine_server
from metricsmith.runtime.file_problems import file_problems, summary

AREAS = ("configuration", "server", "sources", "sinks", "storage", "alerts", "clock", "disk", "limits")


def examination_of(
    configuration: Configuration, only: Iterable[str], timeout_s: float, besides: Sequence[Check] = ()
) -> Examination:
    """Return the checks of a configuration: of some areas or parts, or all when `only` is empty.

    `besides` are checks of sinks that somebody else makes.
    """
    chosen, settings = frozenset(only), configuration.settings
    places = {part.name: number for number, part in enumerate(configuration.parts)}
    parts = sorted(
        [*part_checks(configuration), *besides],
        key=lambda check: (AREAS.index(check.area), places[check.name]),
    )
    others: list[Findings] = []
    checks = [
        Check("configuration", "", _in_thread(partial(_configuration, configuration))),
        Check("server", "", _in_thread(partial(examine_server, settings.server))),
        *parts,
        *(
            [Check("alerts", "", partial(examine_destinations, settings.alerts))]
            if settings.alerts.enabled
            else []
        ),
        Check("clock", "", partial(examine_clock, SystemClock(), others), late=True),
        Check("disk", "", _in_thread(partial(examine_disk, configuration, others)), late=True),
        Check("limits", "", _in_thread(partial(examine_limits, configuration, others)), late=True),
    ]
    wanted = [check for check in checks if not chosen or {check.area, check.name} & chosen]
    examination = Examination(wanted, agent_pid(configuration), timeout_s)
    others += [done.findings for done in examination.done]
    return examination


def names_of(configuration: Configuration) -> Sequence[str]:
    """Return what may be chosen: areas, and parts that have a check."""
    return list(dict.fromkeys([*AREAS, *(check.name for check in part_checks(configuration))]))


def _in_thread(call: Callable[[Findings], None]) -> Callable[[Findings], Awaitable[None]]:
    async def run(findings: Findings) -> None:
        await in_thread("doctor", partial(call, findings))

    return run


def _configuration(configuration: Configuration, findings: Findings) -> None:
    findings.ok(configuration.file or "no file", summary(configuration))
    for note in configuration.notes:
        findings.warning(note.path or note.file, note.message, hint=note.hint)
    for problem in file_problems(configuration):
        where = f"{problem.file}:{problem.line}" if problem.line else problem.file
        findings.problem(where, f"{problem.path}: {problem.message}".removeprefix(": "), hint=problem.hint)
    examine_files(configuration, findings)
