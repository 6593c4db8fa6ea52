"""What the test kit found: one line for each thing that was looked at."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


class Verdict(StrEnum):
    """How a check ended; only `failed` fails a report."""

    PASSED = "passed"
    FAILED = "failed"
    WARNED = "warned"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at; `detail` says what was done, `findings` what is wrong."""

    name: str
    verdict: Verdict
    detail: str = ""
    findings: tuple[str, ...] = ()


def check(name: str, findings: Iterable[str], detail: str = "", *, warn: bool = False) -> Check:
    """Return a check that failed, or with `warn` warned, when there are findings."""
    told = tuple(findings)
    bad = Verdict.WARNED if warn else Verdict.FAILED
    return Check(name, bad if told else Verdict.PASSED, detail, told)


@dataclass(frozen=True, slots=True)
class Report:
    """All checks of a project, in order."""

    name: str
    version: str
    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Whether nothing failed."""
        return not self.failures()

    def failures(self) -> list[str]:
        """Return what failed, a line each: the check, then the finding."""
        failed = [each for each in self.checks if each.verdict is Verdict.FAILED]
        return [f"{each.name}: {finding}" for each in failed for finding in each.findings]

    def json(self) -> dict[str, Any]:
        """Return it as plain data."""
        checks = [{**asdict(each), "findings": list(each.findings)} for each in self.checks]
        return {"name": self.name, "version": self.version, "passed": self.passed, "checks": checks}


def report_of(data: Mapping[str, Any]) -> Report:
    """Return the report that `Report.json` gave."""
    checks = tuple(
        Check(each["name"], Verdict(each["verdict"]), each["detail"], tuple(each["findings"]))
        for each in data["checks"]
    )
    return Report(data["name"], data["version"], checks)
