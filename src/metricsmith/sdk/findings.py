"""What an application should be told of its metrics: once in the log, counted, kept for a status page."""

from __future__ import annotations

import os.path
import sys
from collections.abc import Callable
from contextlib import suppress

MAX_FINDINGS = 200
FURTHER = "__overflow__"
MAX_PLACES = 8
_HERE = os.path.join(os.path.dirname(__file__), "")  # noqa: PTH118, PTH120 (pathlib costs 6 ms)


class Finding:
    """One thing wrong with one metric, and how often it was met. `places` are lines of the application."""

    __slots__ = ("count", "kind", "metric", "places", "text")

    def __init__(self, kind: str, metric: str, text: str) -> None:
        self.kind, self.metric, self.text = kind, metric, text
        self.count = 0
        self.places: list[str] = []

    def __repr__(self) -> str:
        return f"Finding({self.kind}, {self.metric}, {self.count}): {self.text}"


class Findings:
    """The findings of one registry, by kind and metric; of metrics beyond MAX_FINDINGS as FURTHER."""

    def __init__(self) -> None:
        self._all: dict[tuple[str, str], Finding] = {}

    def note(self, kind: str, metric: str, text: Callable[[], str]) -> None:
        """Count a finding; log it if it is new. Places are looked up at the 1st, 2nd, 4th, 8th … time.

        Takes no lock, as it may run in a signal handler that interrupted itself. Not to be called with a lock
        held that other threads want: a handler of the log may count, too.
        """
        if len(self._all) >= MAX_FINDINGS and (kind, metric) not in self._all:
            metric = FURTHER
        finding = self._all.get((kind, metric))
        new = finding is None
        if finding is None:
            finding = self._all.setdefault((kind, metric), Finding(kind, metric, text()))
        finding.count += 1
        if not finding.count & (finding.count - 1) and len(finding.places) < MAX_PLACES:
            where = place()
            if where not in finding.places:
                finding.places.append(where)
        if new:
            self._log(finding)

    def _log(self, finding: Finding) -> None:
        import logging

        where = finding.places[0] if finding.places else "unknown place"
        with suppress(Exception):  # a handler of the application that fails
            logging.getLogger("metricsmith.sdk").warning("%s: %s: %s", where, finding.metric, finding.text)

    def all(self) -> list[Finding]:
        """Return what was found so far, oldest first."""
        return list(self._all.values())

    def swap(self, others: dict[tuple[str, str], Finding]) -> dict[tuple[str, str], Finding]:
        """Put others in place of what was found, and return that: tests begin with none."""
        found, self._all = self._all, others
        return found


def place() -> str:
    """Return file and line of the application's code that called into the SDK.

    The first frame outside of this package; that of a thread of the SDK itself is told as such.
    """
    frame = sys._getframe(1)
    while frame is not None:
        name = frame.f_code.co_filename
        if not name.startswith(_HERE):
            return f"{name}:{frame.f_lineno}"
        frame = frame.f_back  # type: ignore[assignment]
    return "metricsmith.sdk"
