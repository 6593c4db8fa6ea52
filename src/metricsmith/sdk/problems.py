"""What goes wrong in the SDK: counted by kind, logged once for each, never raised into the application."""

from __future__ import annotations

from contextlib import suppress

from metricsmith.sdk.counter import Counter
from metricsmith.sdk.reading import Reading

MAX_TEXT = 2000


class Problems:
    """Counts by kind. A kind is from a fixed set; what changes from time to time belongs into the text."""

    def __init__(self) -> None:
        self._counter = Counter(
            "metricsmith_sdk_problems_total", "Problems of the SDK, by kind.", ["kind"], registry=None
        )
        self._last: dict[str, str] = {}

    def note(self, kind: str, text: str, amount: int = 1, *, trace: bool = False) -> None:
        """Count a problem; the first of its kind is logged, with the exception being handled if `trace`."""
        first = kind not in self._last
        self._last[kind] = text[:MAX_TEXT]
        self._counter.labels(kind).inc(amount)
        if first:
            import logging

            log = logging.getLogger("metricsmith.sdk")
            with suppress(Exception):  # a handler of the application that fails
                log.warning("%s (%s; further ones are only counted)", text[:MAX_TEXT], kind, exc_info=trace)

    def read(self) -> Reading:
        """Return the counts by kind."""
        return self._counter.read()

    def last(self) -> dict[str, str]:
        """Return what the last one of each kind said."""
        return dict(self._last)
