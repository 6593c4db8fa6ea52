"""Sinks that have left the configuration: the journal is held for them for a day, and people are told."""

from __future__ import annotations

import logging

from metricsmith.contracts import Context
from metricsmith.delivery.line import EXPIRED
from metricsmith.delivery.status import SinkStatus, count_dropped
from metricsmith.journal import GivenUp, GoneReader, Journal
from metricsmith.model.duration import format_duration
from metricsmith.runtime.cursor_names import shown_name

log = logging.getLogger(__name__)
_WHY = {"expired": EXPIRED, "removed": "it left the configuration more than 24 hours ago"}


class RemovedSinks:
    """Tells of the journal's readers that nobody opens. Statuses are asked by any thread."""

    def __init__(self, journal: Journal, context: Context) -> None:
        self._journal, self._context = journal, context
        self._told: set[str] = set()

    def statuses(self) -> list[SinkStatus]:
        """Return how each is, by name."""
        return [
            SinkStatus(shown_name(each.name), "", "removed", self._behind(each), held_until_ms=each.until_ms)
            for each in sorted(self._journal.gone, key=lambda each: each.name)
        ]

    def tell(self) -> None:
        """Log those that are new, and have `/metrics` show all that there are."""
        now_ms, telemetry = self._context.clock.now_ms(), self._context.telemetry
        gone = {shown_name(each.name): each for each in self._journal.gone}
        for name, each in gone.items():
            if name not in self._told:
                log.warning(
                    "%s: a sink of that name is not in the configuration any more; the journal is held for it"
                    " for %s, in case it comes back (%d batches wait)",
                    name,
                    format_duration(max(0, each.until_ms - now_ms) // 1000 * 1000),
                    self._behind(each),
                )
            telemetry.set("metricsmith_sink_behind_batches", self._behind(each), sink=name)
            telemetry.set("metricsmith_sink_held_until_seconds", each.until_ms / 1000, sink=name)
        for name in self._told - gone.keys():
            telemetry.forget("metricsmith_sink_held_until_seconds", sink=name)
        self._told = set(gone)

    def count(self, lost: GivenUp) -> None:
        """Count what one of them does not get."""
        name = shown_name(lost.reader)
        count_dropped(self._context, name, lost.samples, lost.events, lost.reason, _WHY[lost.reason])
        if lost.reason == "removed":
            self._context.telemetry.forget("metricsmith_sink_behind_batches", sink=name)
            log.warning("%s: the journal is not held for it any more", name)

    def _behind(self, gone: GoneReader) -> int:
        return self._journal.next_sequence - gone.cursor
