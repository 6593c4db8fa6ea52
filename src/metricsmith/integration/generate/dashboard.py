"""Dashboards in Grafana's JSON model: panels laid out in rows, a variable for the data source."""

from __future__ import annotations

import json
import string
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

SCHEMA_VERSION = 39
"""Grafana 11; newer ones read it and bring it up to date."""
WIDTH = 24
HEIGHT = 8
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
DEFAULT_UNIT = "short"


@dataclass(frozen=True, slots=True)
class Query:
    """A query, and what its series are called in the legend."""

    expr: str
    legend: str = ""


@dataclass(frozen=True, slots=True)
class Panel:
    """A panel: `unit` as Grafana calls it, `kind` is `timeseries` or `stat`."""

    title: str
    description: str
    queries: Sequence[Query]
    unit: str = DEFAULT_UNIT
    kind: str = "timeseries"
    minimum: float | None = 0
    maximum: float | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """Panels side by side under a heading."""

    title: str
    panels: Sequence[Panel]


@dataclass(frozen=True, slots=True)
class Variable:
    """A choice of values of a label in the series of a metric."""

    name: str
    label: str
    query: str


def dashboard(
    uid: str, title: str, description: str, rows: Sequence[Row], variables: Sequence[Variable], tag: str
) -> str:
    """Return a dashboard as JSON text. `uid` begins with `metricsmith-` and stays, so that links do."""
    panels: list[dict[str, Any]] = []
    y = 0
    for row in rows:
        panels.append(_heading(len(panels) + 1, row.title, y))
        y += 1
        for i, panel in enumerate(row.panels):
            width, per_line = _widths(len(row.panels))
            place = {"h": HEIGHT, "w": width, "x": i % per_line * width, "y": y + i // per_line * HEIGHT}
            panels.append(_panel(len(panels) + 1, panel, place))
        y += -(-len(row.panels) // _widths(len(row.panels))[1]) * HEIGHT
    model = {
        "annotations": {"list": []},
        "description": description,
        "editable": True,
        "fiscalYearStartMonth": 0,
        "graphTooltip": 1,
        "links": [],
        "panels": panels,
        "refresh": "30s",
        "schemaVersion": SCHEMA_VERSION,
        "tags": [tag],
        "templating": {"list": [_data_source(), *map(_variable, variables)]},
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "",
        "title": title,
        "uid": uid,
    }
    return json.dumps(model, indent=2, ensure_ascii=False) + "\n"


def _widths(count: int) -> tuple[int, int]:
    """Return the width of each of some panels, and how many stand side by side."""
    per_line = min(count, 4 if count % 4 in (0, 3) else 3) or 1
    return WIDTH // per_line, per_line


def _heading(number: int, title: str, y: int) -> dict[str, Any]:
    place = {"h": 1, "w": WIDTH, "x": 0, "y": y}
    return {
        "collapsed": False,
        "gridPos": place,
        "id": number,
        "panels": [],
        "title": title,
        "type": "row",
    }


def _panel(number: int, panel: Panel, place: dict[str, int]) -> dict[str, Any]:
    defaults: dict[str, Any] = {"unit": panel.unit}
    if panel.minimum is not None:
        defaults["min"] = panel.minimum
    if panel.maximum is not None:
        defaults["max"] = panel.maximum
    return {
        "datasource": SOURCE,
        "description": panel.description,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "gridPos": place,
        "id": number,
        "options": _STAT if panel.kind == "stat" else _SERIES,
        "targets": [
            {"datasource": SOURCE, "expr": query.expr, "legendFormat": query.legend, "refId": letter}
            for letter, query in zip(string.ascii_uppercase, panel.queries, strict=False)
        ],
        "title": panel.title,
        "type": panel.kind,
    }


_SERIES = {
    "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
    "tooltip": {"mode": "multi", "sort": "desc"},
}
_STAT = {
    "colorMode": "value",
    "reduceOptions": {"calcs": ["lastNotNull"]},
    "textMode": "value",
}


def _data_source() -> dict[str, Any]:
    return {"label": "Data source", "name": "datasource", "query": "prometheus", "type": "datasource"}


def _variable(variable: Variable) -> dict[str, Any]:
    return {
        "datasource": SOURCE,
        "allValue": ".*",
        "includeAll": True,
        "label": variable.label,
        "multi": True,
        "name": variable.name,
        "query": {"query": variable.query, "refId": variable.name},
        "refresh": 2,
        "type": "query",
    }
