"""A registry as text: Prometheus 0.0.4, and OpenMetrics 1.0 with exemplars."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from metricsmith.sdk.exemplars import exemplar_text, tracing_loaded
from metricsmith.sdk.instrument import Instrument
from metricsmith.sdk.names import escape, legacy_name, number, series
from metricsmith.sdk.reading import Reading
from metricsmith.sdk.registry import REGISTRY, Readable

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
_TEXT_TYPES = {"info": "gauge", "stateset": "gauge", "gaugehistogram": "untyped", "unknown": "untyped"}
_TEXT_SUFFIXES = {"counter": "_total", "info": "_info"}


def expose(registry: Readable = REGISTRY, accept: str = "") -> tuple[bytes, str]:
    """Return a document and its content type: OpenMetrics if the `Accept` header asks for it, else text."""
    openmetrics = "application/openmetrics-text" in accept
    return generate_latest(registry, openmetrics=openmetrics), OPENMETRICS if openmetrics else TEXT


def generate_latest(registry: Readable = REGISTRY, *, openmetrics: bool = False) -> bytes:
    """Return all that a registry tells as one document."""
    parts: list[str] = []
    for source in registry.sources():
        if isinstance(source, Instrument):
            parts += _of_instrument(source, openmetrics)
        else:
            parts += _of_reading(source, openmetrics)
    if openmetrics:
        parts.append("# EOF\n")
    # Half a character, as broken file names have it, must not cost the whole document.
    return "".join(parts).encode(errors="replace")


def _of_instrument(instrument: Instrument, openmetrics: bool) -> Iterator[str]:
    """Yield what a metric of ours tells. The text around the values is made once for each label set."""
    family = instrument._family
    children = family.live(instrument)
    if children or family.keeps(()):
        yield _header(family, openmetrics)
    traces = openmetrics and tracing_loaded()
    for child in children:
        try:
            text = (child._template or child._make_template()) % child._texts()
        except Exception as error:
            child._failed(error)
            continue
        if openmetrics and (exemplars := child._line_exemplars()):
            lines = zip(text.split("\n"), exemplars, strict=False)
            text = "".join([f"{line}{exemplar_text(e) if e else ''}\n" for line, e in lines])
            child._exemplars.mark_shown()
        if traces:
            child._watch_traces()
        yield text


def _of_reading(reading: Reading, openmetrics: bool) -> Iterator[str]:
    """Yield what a collector of another kind tells."""
    yield _header(reading, openmetrics)
    for sample in reading.samples:
        labels = [(legacy_name(name), value) for name, value in sample.labels.items()]
        line = f"{series(legacy_name(sample.name), labels)} {number(sample.value)}"
        if sample.timestamp is not None:
            line += f" {sample.timestamp if openmetrics else round(sample.timestamp * 1000)}"
        if openmetrics and sample.exemplar:
            line += exemplar_text(sample.exemplar)
        yield line + "\n"


def _header(family: Any, openmetrics: bool) -> str:
    name, kind = legacy_name(family.name), family.type
    if openmetrics:
        unit = f"# UNIT {name} {family.unit}\n" if family.unit else ""
        return f"# HELP {name} {escape(family.documentation)}\n# TYPE {name} {kind}\n{unit}"
    name += _TEXT_SUFFIXES.get(kind, "")
    text = family.documentation.replace("\\", r"\\").replace("\n", r"\n")
    return f"# HELP {name} {text}\n# TYPE {name} {_TEXT_TYPES.get(kind, kind)}\n"
