"""Where a source of the bus receives: opened as soon as it can be, and how it is."""

from __future__ import annotations

import logging
import threading

from metricsmith.contracts import Context
from metricsmith.model.targets import LastScrape, TargetStatus
from metricsmith.net.bus_settings import SocketSettings
from metricsmith.net.handshakes import counted
from metricsmith.net.zmq_sockets import BusUnusable, Opened

log = logging.getLogger(__name__)

RETRY_S = 5.0


class Door:
    """The socket of a source, whose keys or port may not be there yet."""

    def __init__(self, kind: int, settings: SocketSettings, context: Context) -> None:
        self._kind, self._settings, self._context = kind, settings, context
        self._last: LastScrape | None = None

    def open(self, ending: threading.Event) -> Opened | None:
        """Return the socket once it is open, None when the end came first. Waits in a thread."""
        context, settings = self._context, self._settings
        while not ending.is_set():
            try:
                opened = Opened(self._kind, settings, told=counted(context.telemetry, context.name))
            except BusUnusable as error:
                self._note(str(error))
                context.telemetry.problem(
                    log,
                    "metricsmith_source_failures_total",
                    f"{context.name}: {error}; tried again every {RETRY_S:g} s",
                    source=context.name,
                    reason="socket",
                )
                ending.wait(RETRY_S)
                continue
            self._note("")
            keys = "without keys" if settings.curve is None else "with keys"
            what = "listens at" if settings.bind else "connects to"
            log.info("%s: %s %s, %s", context.name, what, settings.endpoint, keys)
            return opened
        return None

    def target(self) -> TargetStatus:
        """Return how the socket is. Called from any thread."""
        return target(self._context.name, self._settings.endpoint, self._last)

    def _note(self, error: str) -> None:
        self._last = LastScrape(self._context.clock.now_ms(), 0.0, error)


def target(source: str, what: str, last: LastScrape | None) -> TargetStatus:
    """Return something that a source hears of without asking: it has neither interval nor time-out."""
    return TargetStatus(source, what, {"job": source, "instance": what}, 0, 0, last)
