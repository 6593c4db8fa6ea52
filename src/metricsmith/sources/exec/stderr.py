"""What an integration says on stderr, in the agent's log."""

from __future__ import annotations

import logging

from metricsmith.contracts import Context
from metricsmith.sources.exec.lines import Line
from metricsmith.sources.exec.masking import Masking

log = logging.getLogger(__name__)

WINDOW_S = 30.0
MOST_LINES = 50
"""In a window, so that a traceback is seen whole and a chatterbox does not fill the disk."""
UNSEEN = {i: "?" for i in range(32) if i != 9} | {127: "?"}


class ErrorLog:
    """Logs lines with the integration's name, without its secrets; of too many, the number."""

    def __init__(self, context: Context, name: str, masking: Masking) -> None:
        self._context, self._name, self._masking = context, name, masking
        self._since_s, self._lines = context.clock.monotonic(), 0

    def take(self, line: Line) -> None:
        """Log a line, or count it when there were too many of late."""
        now = self._context.clock.monotonic()
        if now - self._since_s >= WINDOW_S:
            held_back = self._lines - MOST_LINES
            if held_back > 0:
                log.info("%s: %s: %d more lines", self._context.name, self._name, held_back)
            self._since_s, self._lines = now, 0
        self._lines += 1
        self._context.telemetry.count(
            "metricsmith_exec_stderr_lines_total", source=self._context.name, integration=self._name
        )
        if self._lines <= MOST_LINES:
            text = self._masking.hide(line.text.decode(errors="replace")).translate(UNSEEN)
            log.info("%s: %s: %s%s", self._context.name, self._name, text, "…" if line.cut else "")
