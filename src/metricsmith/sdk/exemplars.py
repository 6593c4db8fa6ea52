"""Exemplars: one event behind a number, such as the trace of a slow request.

Where OpenTelemetry is loaded, a sampled span that is active becomes one by itself: in each counter and
bucket the first event after each OpenMetrics document, so that tracing is asked once per scrape and not once
per event.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping

from metricsmith.sdk.clock import Clock
from metricsmith.sdk.names import is_name, number, series
from metricsmith.sdk.reading import Exemplar

MAX_CHARACTERS = 128
"""Of names and values together, as OpenMetrics has it."""
TRACING = "opentelemetry.trace"
LOOKS = 64


class Shown(Exemplar):
    """An exemplar that stood in a document, and gives way to the next event that has a trace."""

    __slots__ = ()


class Exemplars(list[Exemplar | None]):
    """The exemplars of one label set, and how many more events may look for a span before the next document.

    Without that limit, counting where there are no spans would cost a look for each event.
    """

    __slots__ = ("looks",)

    def __init__(self, places: int) -> None:
        super().__init__([None] * places)
        self.looks = LOOKS

    def note_trace(self, at: int, value: float, clock: Clock) -> None:
        """Take the active span, unless one was taken that no document has shown yet."""
        before = self[at]
        if self.looks <= 0 or (before is not None and type(before) is not Shown):
            return
        labels = _active_span()
        if labels is None:
            self.looks -= 1
        else:
            self[at] = Exemplar(labels, value, clock.now_ms() / 1000)

    def mark_shown(self) -> None:
        """Let those that were written give way to new ones."""
        self.looks = LOOKS
        for at, exemplar in enumerate(self):
            if exemplar is not None:
                self[at] = Shown(*exemplar)


def make_exemplar(labels: Mapping[str, str], value: float, clock: Clock) -> Exemplar:
    """Return an exemplar of now.

    Raises:
        ValueError: a label has no name that can be one, or they are longer than OpenMetrics allows.
    """
    length = sum(len(name) + len(text) for name, text in labels.items())
    if length > MAX_CHARACTERS:
        raise ValueError(f"got {length} characters of exemplar labels, wanted at most {MAX_CHARACTERS}")
    if wrong := [name for name in labels if not is_name(name)]:
        raise ValueError(f"got the exemplar labels {wrong}, wanted letters, digits and _")
    return Exemplar(dict(labels), value, clock.now_ms() / 1000)


def _active_span() -> dict[str, str] | None:
    """Return the ids of the span that is active, if it is sampled."""
    try:
        span = sys.modules[TRACING].get_current_span().get_span_context()
        if not span.is_valid or not span.trace_flags.sampled:
            return None
        return {"trace_id": f"{span.trace_id:032x}", "span_id": f"{span.span_id:016x}"}
    except Exception:  # half imported by another thread, or a span of another kind: counting goes on
        return None


def tracing_loaded() -> bool:
    """Return whether spans can be asked for. Only looks: never imports OpenTelemetry."""
    return TRACING in sys.modules


def exemplar_text(exemplar: Exemplar) -> str:
    """Return what follows a sample in OpenMetrics."""
    labels = series("", exemplar.labels.items()) or "{}"
    when = "" if exemplar.timestamp is None else f" {exemplar.timestamp}"
    return f" # {labels} {number(float(exemplar.value))}{when}"
