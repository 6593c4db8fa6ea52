"""Dashboards are of Grafana's model, and every query in them has an answer where the metrics are."""

from __future__ import annotations

import itertools
import json
import re
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest

from metricsmith.contracts import Context
from metricsmith.integration.generate.configured import Configured
from metricsmith.integration.generate.grafana import grafana, of_project
from metricsmith.integration.project import DECLARATION, Project, read_project
from metricsmith.model.clock import SystemClock
from metricsmith.model.labels import encode_labels
from metricsmith.model.metadata import MetricType
from metricsmith.model.own_metrics import OWN_METRICS
from metricsmith.model.series import SeriesTable
from metricsmith.model.telemetry import Telemetry
from metricsmith.packs import dashboards, pack_names
from metricsmith.promql import Engine
from metricsmith.promql.ast import VectorSelector
from metricsmith.promql.memory import GrowingSeries
from metricsmith.promql.parser import parse
from metricsmith.promql.walk import preorder
from metricsmith.sources.host.metrics import METADATA, SYSTEM_METRICS
from metricsmith.sources.host.settings import HostConfig
from metricsmith.sources.host.source import HostSource
from metricsmith.testing.grafana import Dashboard, InfluxTarget, PrometheusTarget, QueryPanel
from metricsmith.testing.services import Server

Configure = Callable[..., Configured]
NOW_MS, STEP_MS, STEPS = 1_700_000_000_000, 15_000, 280
SHIPPED = [path for pack in pack_names() for path in dashboards(pack)]
VARIABLES = {"__range": "1h", "__rate_interval": "1m", "__interval": "1m", "datasource": "d"}
COMPOUND = {MetricType.HISTOGRAM: ("_bucket", "_sum", "_count"), MetricType.SUMMARY: ("", "_sum", "_count")}


def read(text: str) -> Dashboard:
    return Dashboard.model_validate_json(text)


def targets(found: Dashboard) -> Iterator[PrometheusTarget | InfluxTarget]:
    for panel in found.panels:
        if isinstance(panel, QueryPanel):
            yield from panel.targets


def promql(found: Dashboard) -> list[tuple[str, bool]]:
    """Return the queries as Grafana would ask them, with everything chosen; and which are of one time."""
    names = {v.name: ".*" for v in found.templating.list} | VARIABLES
    queries = [target for target in targets(found) if isinstance(target, PrometheusTarget)]
    return [(re.sub(r"\$\{?(\w+)\}?", lambda m: names[m[1]], q.expr), q.instant) for q in queries]


def sampled(metrics: Mapping[str, tuple[MetricType, Sequence[str]]]) -> GrowingSeries:
    """Return samples of an hour and ten minutes, one series of each metric, all of them growing."""
    store = GrowingSeries()
    for name, (kind, labels) in metrics.items():
        fixed = {"instance": "i"} | dict.fromkeys(labels, "x")
        for suffix in COMPOUND.get(kind, ("",)):
            for le in ("0.1", "1", "+Inf") if suffix == "_bucket" else ("",):
                key = encode_labels({**fixed, "__name__": name + suffix, **({"le": le} if le else {})})
                for step in range(STEPS + 1):
                    store.append(
                        key, NOW_MS - step * STEP_MS, float(1000 - step) * (2 if le == "+Inf" else 1)
                    )
    return store


def asked(store: Any, expr: str, instant: bool = False) -> int:
    """Return how many series answer a query; nothing must be wrong with it."""
    engine = Engine(store)
    result = engine.instant(expr, NOW_MS) if instant else engine.range(expr, NOW_MS - 60_000, NOW_MS, STEP_MS)
    assert result.warnings == [], expr
    return len(result.keys)


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.name)
def test_dashboards_of_packs_are_of_grafanas_model(file: Path) -> None:
    found = read(file.read_text())
    assert found.uid.startswith("metricsmith-")
    ids = [panel.id for panel in found.panels]
    assert len(set(ids)) == len(ids)
    cells: set[tuple[int, int]] = set()
    for panel in found.panels:
        at = panel.grid_pos
        mine = set(itertools.product(range(at.x, at.x + at.w), range(at.y, at.y + at.h)))
        assert at.x + at.w <= 24 and not mine & cells, panel.title
        cells |= mine


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.name)
def test_variables_are_those_that_are_used(file: Path) -> None:
    used = set(re.findall(r"\$\{?(\w+)", file.read_text())) - {"__range", "__rate_interval", "__interval"}
    used -= {name for name in used if name.startswith(("tag_", "timeFilter"))}
    assert used == {variable.name for variable in read(file.read_text()).templating.list}


def test_identities_stay_and_differ() -> None:
    uids = [json.loads(file.read_text())["uid"] for file in SHIPPED]
    assert len(set(uids)) == len(uids)
    assert {
        "metricsmith-agent",
        "metricsmith-host",
        "metricsmith-host-influxql",
        "metricsmith-pipelines",
    } <= {*uids}


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.name)
def test_every_promql_query_runs(file: Path) -> None:
    """What is selected is there with the labels that are asked for; the answer may be empty."""
    for expr, instant in promql(read(file.read_text())):
        store = GrowingSeries()
        for node in preorder(parse(expr)):
            if isinstance(node, VectorSelector):
                labels = {m.name: m.value for m in node.matchers if str(m.op) == "="} | {
                    "__name__": node.name or ""
                }
                labels |= {"le": "+Inf"} if labels["__name__"].endswith("_bucket") else {}
                for step in range(5):
                    store.append(encode_labels(labels), NOW_MS - step * STEP_MS, 5.0 - step)
        asked(store, expr, instant)


def test_the_agents_dashboard_answers_from_its_own_metrics() -> None:
    declared = {m.name: (m.type, m.labels) for m in OWN_METRICS}
    store = sampled(declared)
    for step in range(STEPS + 1):
        firing = {"__name__": "metricsmith_alerts", "instance": "i", "state": "firing"}
        store.append(encode_labels(firing), NOW_MS - step * STEP_MS, 1.0)
    (file,) = dashboards("agent")
    for expr, _ in promql(read(file.read_text())):
        assert asked(store, expr), expr
        grouped = set(re.findall(r"by \(([^)]*)\)", expr))
        for selector in (n for n in preorder(parse(expr)) if isinstance(n, VectorSelector)):
            name = re.sub("_(bucket|sum|count)$", "", selector.name or "")
            known = {*declared.get(selector.name or "", declared.get(name, (None, ())))[1], "instance", "le"}
            assert {label for labels in grouped for label in labels.split(", ")} <= known, expr


def test_the_hosts_dashboard_answers_from_what_the_source_reads() -> None:
    """Of this very machine; and with the label that producers put on."""
    table, store = SeriesTable(), GrowingSeries()
    config = HostConfig(labels={"host": "edge-1"}, filesystem_types={"exclude": "proc"})
    source = HostSource(config, Context("host", table, Telemetry(SystemClock()), SystemClock()))
    for step in range(4):
        before = psutil.cpu_times()
        while psutil.cpu_times() == before:  # of no time there is no usage
            pass
        batch = source.collect(NOW_MS - (3 - step) * STEP_MS)
        for series, value in zip(batch.layout.ids.tolist(), batch.value.tolist(), strict=True):
            store.append(table.key(series), NOW_MS - (3 - step) * STEP_MS, value)
    file = next(path for path in dashboards("host") if path.stem == "system")
    for expr, _ in promql(read(file.read_text())):
        assert asked(store, expr), expr


def test_the_influxql_dashboard_answers_from_a_real_influxdb(influxdb: Server) -> None:
    def post(path: str, body: bytes = b"", **parameters: str) -> Any:
        url = f"{influxdb.url}/{path}?{urllib.parse.urlencode(parameters)}"
        with urllib.request.urlopen(urllib.request.Request(url, body, method="POST"), timeout=20) as answer:
            return json.loads(answer.read() or b"{}")

    post("query", q="CREATE DATABASE generated_dashboards")
    now_s = NOW_MS // 1000
    # As the sink `influxdb` and the store write them: docs/influxdb.md.
    lines = []
    for step in range(40):
        fields = ",".join(f"{name}={100 + step}" for name in SYSTEM_METRICS)
        lines.append(f"system_metrics,host=edge-1 {fields} {now_s - 600 + 15 * step}")
    post("write", "\n".join(lines).encode(), db="generated_dashboards", precision="s")
    file = next(path for path in dashboards("host") if path.stem == "system-influxql")
    found = read(file.read_text())
    queries = [target for target in targets(found) if isinstance(target, InfluxTarget)]
    assert len(queries) == 8
    for target in queries:
        query = target.query.replace("$timeFilter", f"time >= {now_s - 900}s AND time <= {now_s}s")
        query = query.replace("$__interval", "1m").replace("$host", ".*")
        (result,) = post("query", q=query, db="generated_dashboards")["results"]
        (series,) = result["series"]
        assert (series["tags"], target.alias) == ({"host": "edge-1"}, "$tag_host")
        assert any(value is not None for _, value in series["values"]), query
    variable = next(v for v in found.templating.list if v.name == "host")
    (result,) = post("query", q=str(variable.query), db="generated_dashboards")["results"]
    assert result["series"][0]["values"] == [["host", "edge-1"]]


def test_each_declared_metric_has_a_panel_that_answers(
    configure: Configure, projects: Sequence[Project]
) -> None:
    text = grafana(configure("{}"), projects).files["queue-depth.json"]
    found = read(text)
    metrics = {m.name: (m.metric_type, list(m.labels)) for m in projects[0].declaration.metrics}
    panels = [panel for panel in found.panels if isinstance(panel, QueryPanel)]
    assert [(p.title, p.field_config.defaults.unit) for p in panels] == [
        ("Queue depth", "short"),
        ("Queue messages", "ops"),
        ("Queue read bytes", "Bps"),
        ("Queue wait seconds", "s"),
        ("Queue size bytes", "bytes"),
    ]
    for expr, _ in promql(found):
        assert asked(sampled(metrics), expr), expr
    assert found.uid == "metricsmith-queue-depth"


def test_identities_of_long_names_fit_and_differ(tmp_path: Path) -> None:
    uids = []
    for last in "ab":
        text = f"integration: {{name: {'a-very-long-name-' * 2}{last}, kind: exec, command: [a]}}"
        text += "\nmetrics: [{name: a_info, type: info, help: H.}]"
        (tmp_path / DECLARATION).write_text(text)
        (found,) = (
            read(text) for text in grafana(None, [read_project(tmp_path)]).files.values() if "a-very" in text
        )
        uids.append(found.uid)
    assert uids[0] != uids[1] and all(len(uid) == 40 for uid in uids)


def test_a_project_alone_brings_only_its_own_dashboard(
    configure: Configure, projects: Sequence[Project]
) -> None:
    assert set(grafana(None, projects).files) == {"queue-depth.json"}
    assert set(grafana(configure("{}"), projects).files) == {"queue-depth.json", "agent-agent.json"}


@pytest.mark.parametrize("name", ["host", "kafka-groups"])
def test_a_project_does_not_take_the_place_of_a_pack(name: str, tmp_path: Path) -> None:
    text = f"integration: {{name: {name}, kind: exec, command: [a]}}"
    (tmp_path / DECLARATION).write_text(text + "\nmetrics: [{name: a_info, type: info, help: H.}]")
    without, project = grafana(None).files, read_project(tmp_path)
    found = grafana(None, [project, project]).files
    assert len(found) == 2 and not without.keys() & found.keys()
    uids = [read(text).uid for text in without.values()]
    assert read(of_project(project)).uid not in uids


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ("{}", {"agent"}),
        ("sources: [{type: host}]", {"agent", "host"}),
        ("rules: {packs: [pipeline]}", {"agent", "pipeline"}),
        ("sources: [{type: kafka}]", {"agent", "kafka"}),
        ("bus: {endpoint: 'tcp://127.0.0.1:11001'}", {"agent", "host"}),
    ],
)
def test_dashboards_are_those_of_what_is_collected(
    configure: Configure, settings: str, expected: set[str]
) -> None:
    files = grafana(configure(settings)).files
    assert {name.partition("-")[0] for name in files} == expected


def test_without_a_configuration_there_are_all() -> None:
    assert len(grafana(None).files) == len(SHIPPED)


def test_what_the_host_dashboards_read_is_published() -> None:
    assert set(SYSTEM_METRICS) <= METADATA.keys()
