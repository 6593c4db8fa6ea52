"""The status page as HTML: no scripts, nothing from elsewhere. Everything shown is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any
from urllib.parse import quote

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 76rem; padding: 0 1rem;
       color: #1d2329; background: #fff }
h1 { font-size: 1.4rem; margin: 0 } h2 { font-size: 1.05rem; margin: 2rem 0 .4rem }
p { margin: .3rem 0 } .quiet { color: #5b6670 }
table { border-collapse: collapse; width: 100% }
th, td { text-align: left; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid #e2e6ea;
         vertical-align: top; overflow-wrap: anywhere }
th { font-weight: 600; color: #5b6670; white-space: nowrap }
.n { text-align: right; font-variant-numeric: tabular-nums }
.bad { background: #fff4e0 } code { font-size: .92em }
@media (prefers-color-scheme: dark) {
  body { color: #d9dee3; background: #15191d } th, .quiet { color: #93a0ab }
  th, td { border-color: #2c343b } .bad { background: #3a2f14 } a { color: #7db7ff } }
"""
_RIGHT = frozenset({"sent", "waiting", "given up", "count", "label sets", "series", "value"})


def status_html(status: Mapping[str, Any]) -> str:
    """Return the overview."""
    warnings, pages = status["warnings"], status["pages"]
    body = [
        f"<h1>{_t(status['service'])}</h1>",
        f'<p class="quiet">Process {_t(status["process"])}, Python {_t(status["python"])}, '
        f"metricsmith {_t(status['metricsmith'])}, "
        f"exporting for {_t(_duration(status['exporting_for_seconds']))}."
        ' The same as <a href="/status.json">JSON</a>.</p>',
        "<h2>Warnings</h2>",
        _warnings(warnings) if warnings else "<p>None.</p>",
        "<h2>Exports</h2>",
        _ways(status["ways"]) if status["ways"] else "<p>Nothing is exported but this page.</p>",
    ]
    if "metrics" in pages:
        address = f"{pages['metrics']}/metrics"
        body.append(f'<p class="quiet">Metrics are read at <a href="{_t(address)}">{_t(address)}</a>.</p>')
    if status["pipelines"]:
        body += ["<h2>Pipelines</h2>", _pipelines(status["pipelines"])]
    series = sum(metric["series"] for metric in status["metrics"])
    body += [f"<h2>Metrics</h2><p class='quiet'>{len(status['metrics'])} metrics, {series} series.</p>"]
    body.append(_metrics(status["metrics"]))
    return _page(str(status["service"]), body)


def metric_html(metric: Mapping[str, Any]) -> str:
    """Return the page of one metric."""
    rows = [(f"<code>{_t(_series(s))}</code>", _t(s["value"])) for s in metric["samples"]]
    labels = ", ".join(f"{name}: {count} values" for name, count in metric["values_by_label"].items())
    body = [
        f'<p><a href="/">Status</a></p><h1>{_t(metric["name"])}</h1>',
        f"<p>{_t(metric['help'])}</p>",
        f'<p class="quiet">{_t(metric["type"])}, {metric["label_sets"]} label sets. {_t(labels)}</p>',
        _table(("series", "value"), rows),
    ]
    if metric["left_out"]:
        body.append(f'<p class="quiet">{metric["left_out"]} further series are not shown.</p>')
    return _page(str(metric["name"]), body)


def _warnings(warnings: Iterable[Mapping[str, Any]]) -> str:
    rows = [
        (_t(each["kind"]), _t(f"{each['count']:g}"), _t(each["text"]), "<br>".join(map(_t, each["places"])))
        for each in warnings
    ]
    return _table(("kind", "count", "what", "where"), rows, "bad")


def _ways(ways: Iterable[Mapping[str, Any]]) -> str:
    rows = []
    for way in ways:
        failed = ", ".join(f"{reason}: {count}" for reason, count in way.get("failures", {}).items())
        error = way.get("last_error", "")
        rows.append(
            (
                _t(way["way"]),
                _t(way["address"]),
                _t(way["sent"]),
                _t(way["last"] or "never"),
                _t(way.get("waiting", "")),
                _t(way.get("given_up", "")),
                _t(f"{failed}; {error}" if error else failed),
            )
        )
    return _table(("way", "address", "sent", "last", "waiting", "given up", "failures"), rows)


def _pipelines(pipelines: Sequence[Mapping[str, Any]]) -> str:
    names = list(dict.fromkeys(name for each in pipelines for name in each))
    rows = [tuple(_t(_value(each.get(name, ""))) for name in names) for each in pipelines]
    return _table([name.replace("_", " ") for name in names], rows)


def _metrics(metrics: Iterable[Mapping[str, Any]]) -> str:
    rows = []
    for each in metrics:
        labels = ", ".join(f"{name} ({count})" for name, count in each["values_by_label"].items())
        link = f'<a href="/metric?name={_t(quote(each["name"], safe=""))}">{_t(each["name"])}</a>'
        limit = f" of {each['max_label_sets']}" if each["max_label_sets"] and labels else ""
        numbers = (f"{each['label_sets']}{limit}", _t(each["series"]))
        rows.append((link, _t(each["type"]), *numbers, _t(labels), _t(each["help"])))
    return _table(("metric", "type", "label sets", "series", "labels (values)", "help"), rows)


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]], row_class: str = "") -> str:
    """Return a table; cells are HTML already."""
    classes = [' class="n"' if head in _RIGHT else "" for head in heads]
    head = "".join(f"<th{c}>{_t(h)}</th>" for c, h in zip(classes, heads, strict=True))
    mark = f' class="{row_class}"' if row_class else ""
    lines = []
    for row in rows:
        cells = "".join(f"<td{c}>{cell}</td>" for c, cell in zip(classes, row, strict=True))
        lines.append(f"<tr{mark}>{cells}</tr>")
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"


def _page(title: str, body: Iterable[str]) -> str:
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{_t(title)}: metrics</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head>'
        f"<body>{''.join(body)}</body></html>"
    )


def _t(value: object) -> str:
    return escape(str(value))


def _series(sample: Mapping[str, Any]) -> str:
    labels = ", ".join(f'{name}="{value}"' for name, value in sample["labels"].items())
    return f"{sample['name']}{{{labels}}}" if labels else str(sample["name"])


def _value(value: object) -> object:
    if isinstance(value, Mapping):
        return ", ".join(f"{name.replace('_', ' ')} {_value(each)}" for name, each in value.items())
    return f"{value:,.1f}" if isinstance(value, float) else value


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"
