"""Dashboards for Grafana: those of packs as they are, and one for what an integration declares."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence

from metricsmith.integration.declaration import OWN_LABELS, Metric
from metricsmith.integration.generate.configured import Configured
from metricsmith.integration.generate.dashboard import Panel, Query, Row, Variable, dashboard
from metricsmith.integration.generate.files import Generated
from metricsmith.integration.generate.rule_files import free_name
from metricsmith.integration.project import Project
from metricsmith.packs import dashboards, pack_names

ALWAYS = ("agent",)
OF_SOURCES = {"kafka": "kafka", "host": "host", "bus": "host", "bus_kafka": "host", "transfer": "host"}
"""Which pack has dashboards for what a type of source collects, or for what producers send to it."""
_UNITS = {
    "seconds": "s",
    "milliseconds": "ms",
    "bytes": "bytes",
    "percent": "percent",
    "ratio": "percentunit",
    "celsius": "celsius",
    "volts": "volt",
    "amperes": "amp",
    "joules": "joule",
    "meters": "lengthm",
    "hertz": "hertz",
}
"""What Grafana calls base units; others are plain numbers there."""
_RATES = {"bytes": "Bps", "seconds": "s"}
_QUANTILES = (("0.5", "p50"), ("0.95", "p95"), ("0.99", "p99"))
_PANELS_PER_ROW = 12


def grafana(configured: Configured | None, projects: Sequence[Project] = ()) -> Generated:
    """Return dashboards: of projects, and of the packs and sources that a configuration names.

    With a configuration the agent's own is among them. Without one and without
    projects they are those of all packs.
    """
    chosen = _packs(configured) if configured is not None else [] if projects else pack_names()
    ours = {f"{pack}-{path.stem}.json": path for pack in pack_names() for path in dashboards(pack)}
    files = {name: path.read_text() for name, path in ours.items() if name.partition("-")[0] in chosen}
    for project in projects:
        files[free_name(f"{project.name}.json", {*ours, *files})] = of_project(project)
    return Generated(files)


def of_project(project: Project) -> str:
    """Return a dashboard with a panel for each metric that an integration declares."""
    declared = project.declaration.metrics
    metrics = [m for m in declared if m.type != "info"] or list(declared)
    rows = [
        Row(
            project.name if i == 0 else f"{project.name}, more",
            [_panel(m) for m in metrics[i : i + _PANELS_PER_ROW]],
        )
        for i in range(0, len(metrics), _PANELS_PER_ROW)
    ]
    about = project.declaration.integration.description or f"What {project.name} declares."
    instance = Variable("instance", "Instance", f"label_values({_sample(metrics[0])}, instance)")
    return dashboard(_uid(project.name), project.name, about, rows, [instance], "metricsmith")


def _uid(name: str) -> str:
    """Return an identity of at most 40 characters, as many as Grafana takes, and none of a pack's."""
    uid = f"metricsmith-{name}"
    taken = {json.loads(path.read_bytes())["uid"] for pack in pack_names() for path in dashboards(pack)}
    return (
        uid
        if len(uid) <= 40 and uid not in taken
        else f"{uid[:31]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    )


def _packs(configured: Configured) -> list[str]:
    meaning = configured.meaning
    named = {*ALWAYS, *meaning.settings.rules.packs}
    named |= {OF_SOURCES[part.type] for part in meaning.of("sources") if part.type in OF_SOURCES}
    return sorted(named)


def _panel(metric: Metric) -> Panel:
    unit = _UNITS.get(metric.unit, "short")
    if metric.type == "counter":
        unit = _RATES.get(metric.unit, "ops")
        return Panel(_title(metric), f"{metric.help} Per second.", list(_rate(metric)), unit)
    if metric.type == "histogram":
        return Panel(_title(metric), metric.help, list(_quantiles(metric)), unit)
    own = [OWN_LABELS[metric.metric_type]] if metric.metric_type in OWN_LABELS else []
    legend = " ".join(f"{{{{{label}}}}}" for label in ("instance", *_labels(metric), *own))
    return Panel(_title(metric), metric.help, [Query(_of_chosen(metric.name), legend)], unit, minimum=None)


def _rate(metric: Metric) -> Iterator[Query]:
    labels = _labels(metric)
    rate = f"rate({_of_chosen(metric.name)}[$__rate_interval])"
    by = f" by ({', '.join(labels)})" if labels else ""
    yield Query(f"sum{by} ({rate})", " ".join(f"{{{{{label}}}}}" for label in labels) or metric.name)


def _quantiles(metric: Metric) -> Iterator[Query]:
    rate = f"rate({_of_chosen(metric.name + '_bucket')}[$__rate_interval])"
    for quantile, legend in _QUANTILES:
        yield Query(f"histogram_quantile({quantile}, sum by (le) ({rate}))", legend)


def _title(metric: Metric) -> str:
    return metric.name.removesuffix("_total").replace("_", " ").capitalize()


def _labels(metric: Metric) -> list[str]:
    return list(metric.labels)


def _sample(metric: Metric) -> str:
    return f"{metric.name}_count" if metric.type in ("histogram", "summary") else metric.name


def _of_chosen(name: str) -> str:
    return f'{name}{{instance=~"$instance"}}'
