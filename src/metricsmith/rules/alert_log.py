"""Alerts that begin and end, on the agent's log: a few lines of each rule, the rest as a number."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass

from metricsmith.model.clock import Clock
from metricsmith.model.labels import format_labels
from metricsmith.rules.model import Notification

log = logging.getLogger(__name__)

PERIOD_S = 30.0
MOST_LINES = 10
"""Alerts of one rule that are logged in a period: ten thousand may begin at once, or flap."""
MOST_CHARACTERS = 500
"""Of the labels of an alert."""


@dataclass(slots=True)
class _Period:
    began: float
    lines: int = 0
    held_back: int = 0


class AlertLog:
    """Logs what is news of the alerts of one group."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._periods: dict[str, _Period] = {}

    def note(self, notifications: Iterable[Notification]) -> None:
        """Log alerts that began to fire, as warnings, and those that ended; each once."""
        now = self._clock.monotonic()
        for name, period in list(self._periods.items()):
            if now - period.began >= PERIOD_S:
                del self._periods[name]
                if period.held_back:
                    log.warning("alert %s: %d more began or ended", name, period.held_back)
        for one in notifications:
            if one.news:
                self._note(one, self._periods.setdefault(one.rule.name, _Period(now)))

    def _note(self, one: Notification, period: _Period) -> None:
        if period.lines == MOST_LINES:
            period.held_back += 1
            return
        period.lines += 1
        labels = format_labels({name: text for name, text in one.labels.items() if name != "alertname"})
        labels = labels if len(labels) <= MOST_CHARACTERS else f"{labels[:MOST_CHARACTERS]}…"
        if one.resolved:
            log.info("alert %s is resolved: %s", one.rule.name, labels)
        else:
            why = "no data" if one.no_data else f"value {one.value:.6g}"
            log.warning("alert %s is firing: %s, %s", one.rule.name, why, labels)
