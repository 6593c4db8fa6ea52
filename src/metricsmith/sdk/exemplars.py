"""Exemplars: one event behind a number, such as the trace of a slow request."""

from __future__ import annotations

from collections.abc import Mapping

from metricsmith.sdk.clock import Clock
from metricsmith.sdk.names import is_name, number, series
from metricsmith.sdk.reading import Exemplar

MAX_CHARACTERS = 128
"""Of names and values together, as OpenMetrics has it."""


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


def exemplar_text(exemplar: Exemplar) -> str:
    """Return what follows a sample in OpenMetrics."""
    labels = series("", exemplar.labels.items()) or "{}"
    when = "" if exemplar.timestamp is None else f" {exemplar.timestamp}"
    return f" # {labels} {number(float(exemplar.value))}{when}"
