"""The status page of an application's exporter: what is measured, how it gets out, and what is wrong."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from metricsmith import __version__
from metricsmith.sdk.export.http_server import Request, Response
from metricsmith.sdk.instrument import Instrument
from metricsmith.sdk.names import number
from metricsmith.sdk.reading import Reading, Sample
from metricsmith.sdk.status_page_html import metric_html, status_html

if TYPE_CHECKING:
    from metricsmith.sdk.export.exporter import Export
    from metricsmith.sdk.export.targets import Outbox

MAX_SERIES = 2_000
"""Series of one metric that are shown."""
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
}
_PARTS_OF_A_VALUE = {"histogram": ("le",), "gaugehistogram": ("le",), "summary": ("quantile",)}


class StatusPage:
    """`/` for people, `/status.json` for programs; `/metric?name=` and `/metric.json?name=` for one."""

    def __init__(self, export: Export) -> None:
        self._export = export
        self._began_ms = export.clock.now_ms()

    def __call__(self, request: Request) -> Response:
        """Return a page."""
        if request.path == "/":
            return _html(status_html(self.status()))
        if request.path == "/status.json":
            return _json(self.status())
        if request.path in ("/metric", "/metric.json"):
            found = self.metric(_name_in(request.query))
            if found is not None:
                return _html(metric_html(found)) if request.path == "/metric" else _json(found)
        return Response(b"nothing here; the status is at / and /status.json\n", status=404)

    def status(self) -> dict[str, Any]:
        """Return everything that the page shows, as JSON takes it."""
        export = self._export
        return {
            "service": export.settings.service_name,
            "process": os.getpid(),
            "python": platform.python_version(),
            "metricsmith": __version__,
            "exporting_for_seconds": round((export.clock.now_ms() - self._began_ms) / 1000, 1),
            "pages": dict(export.addresses),
            "ways": _ways(export),
            "warnings": _warnings(export),
            "metrics": self._summaries(),
            "pipelines": export.details() if export.details is not None else [],
        }

    def _summaries(self) -> list[dict[str, Any]]:
        return list(map(_summary, self._export.registry.sources()))

    def metric(self, name: str) -> dict[str, Any] | None:
        """Return what is known of one metric, with its label sets; None if there is none of that name."""
        for source in self._export.registry.sources():
            if _name_of(source) == name:
                reading = source.read() if isinstance(source, Instrument) else source
                shown = [
                    {"name": sample.name, "labels": dict(sample.labels), "value": number(float(sample.value))}
                    for sample in reading.samples[:MAX_SERIES]
                ]
                left_out = max(0, len(reading.samples) - MAX_SERIES)
                return {**_summary(source), "samples": shown, "left_out": left_out}
        return None


def _name_in(query: str) -> str:
    try:
        return parse_qs(query, max_num_fields=10).get("name", [""])[0]
    except ValueError:  # too many fields
        return ""


def _ways(export: Export) -> list[dict[str, Any]]:
    return [*_scraping(export), *map(_sending, export.outboxes)]


def _scraping(export: Export) -> Iterator[dict[str, Any]]:
    if "metrics" in export.addresses:
        yield {
            "way": "scrape",
            "address": f"{export.addresses['metrics']}/metrics",
            "sent": export.page.scrapes,
            "last": _time(export.page.last_scrape_ms),
        }


def _sending(box: Outbox) -> dict[str, Any]:
    return {
        "way": box.target.name,
        "address": box.target.address,
        "sent": box.sent,
        "last": _time(box.last_sent_ms),
        "waiting": len(box),
        "waiting_bytes": box.waiting_bytes,
        "given_up": box.dropped,
        "failures": dict(box.failures),
        "last_error": box.last_error,
    }


def _warnings(export: Export) -> list[dict[str, Any]]:
    counts = {sample.labels["kind"]: sample.value for sample in export.problems.read().samples}
    found: list[dict[str, Any]] = [
        {"kind": kind, "count": counts.get(kind, 0), "text": text, "places": []}
        for kind, text in export.problems.last().items()
    ]
    for finding in export.registry.findings():
        text = f"{finding.metric}: {finding.text}"
        found.append(
            {"kind": finding.kind, "count": finding.count, "text": text, "places": list(finding.places)}
        )
    return found


def _name_of(source: Instrument | Reading) -> str:
    return source.name if isinstance(source, Reading) else source._family.name


def _summary(source: Instrument | Reading) -> dict[str, Any]:
    """Return what the overview tells. Of metrics of ours no sample is made for it: there may be many."""
    told = source if isinstance(source, Reading) else source._family
    if isinstance(source, Reading):
        hidden = _PARTS_OF_A_VALUE.get(source.type, ())
        sets = {_label_set(sample, hidden) for sample in source.samples}
        series = len(source.samples)
    else:
        family = source._family
        children = family.live(source)
        sets = {tuple(family.labels_of(child._labelvalues).items()) for child in children}
        series = sum(len(child._shape()) for child in children)
    values: dict[str, set[str]] = {}
    for each in sets:
        for label, value in each:
            values.setdefault(label, set()).add(value)
    return {
        "name": told.name,
        "type": told.type,
        "unit": told.unit,
        "help": told.documentation,
        "label_sets": len(sets),
        "series": series,
        "values_by_label": {label: len(found) for label, found in values.items()},
        "max_label_sets": None if isinstance(source, Reading) else source._family.guard.limit,
    }


def _label_set(sample: Sample, hidden: Sequence[str]) -> tuple[tuple[str, str], ...]:
    return tuple([pair for pair in sample.labels.items() if pair[0] not in hidden])


def _time(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="seconds") if at_ms else ""


def _html(text: str) -> Response:
    return Response(text.encode(errors="replace"), "text/html; charset=utf-8", headers=_HEADERS)


def _json(document: Mapping[str, Any]) -> Response:
    return Response(
        json.dumps(document, indent=1, default=str).encode(), "application/json", headers=_HEADERS
    )
