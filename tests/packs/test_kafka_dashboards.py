"""The dashboards of Kafka show what there is: every query is PromQL over published metrics."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from metricsmith.packs import rule_file
from metricsmith.promql.ast import VectorSelector
from metricsmith.promql.parser import parse
from metricsmith.promql.walk import preorder
from metricsmith.rules.files import read_rule_file
from metricsmith.rules.model import RecordingRule
from metricsmith.runtime.rule_engine import RuleEngine
from metricsmith.sources.kafka.metrics import METRICS

DASHBOARDS = sorted((rule_file("kafka").parent / "dashboards").glob("*.json"))
GROUPS = read_rule_file(str(rule_file("kafka")), RuleEngine(), 60_000).groups
RECORDED = {rule.name for group in GROUPS for rule in group.rules if isinstance(rule, RecordingRule)}


def panels(file: Path) -> list[Any]:
    found: list[Any] = json.loads(file.read_text())["panels"]
    return found


def queries(file: Path) -> Iterator[str]:
    """Yield the queries of panels, and of variables as selectors."""
    for panel in panels(file):
        yield from (target["expr"] for target in panel.get("targets", ()))
    for variable in json.loads(file.read_text())["templating"]["list"]:
        if variable["type"] == "query":
            found = re.fullmatch(r"label_values\((.*), \w+\)", variable["query"]["query"])
            assert found is not None
            yield found[1]


def selectors(expr: str) -> Iterator[VectorSelector]:
    return (node for node in preorder(parse(expr)) if isinstance(node, VectorSelector))


def test_there_are_those_that_the_page_names() -> None:
    assert [file.stem for file in DASHBOARDS] == ["cluster", "groups", "topics"]


@pytest.mark.parametrize("file", DASHBOARDS, ids=lambda file: file.stem)
def test_queries_parse_and_read_metrics_and_labels_that_are_published(file: Path) -> None:
    allowed = {"__name__", "instance", "scope", "component", "kind", "window"}
    for expr in queries(file):
        for selector in selectors(expr):
            assert selector.name in RECORDED | METRICS.keys(), expr
            labels = {matcher.name for matcher in selector.matchers}
            known = METRICS[selector.name][1] if selector.name in METRICS else ("topic", "consumergroup")
            assert labels <= allowed.union(known), expr


@pytest.mark.parametrize("file", DASHBOARDS, ids=lambda file: file.stem)
def test_every_selector_is_of_the_chosen_cluster(file: Path) -> None:
    for panel in panels(file):
        for target in panel.get("targets", ()):
            for selector in selectors(target["expr"]):
                assert ("instance", "$instance") in {(m.name, m.value) for m in selector.matchers}, target[
                    "expr"
                ]


@pytest.mark.parametrize("file", DASHBOARDS, ids=lambda file: file.stem)
def test_panels_are_of_kinds_that_grafana_has_and_use_the_chosen_data_source(file: Path) -> None:
    for panel in panels(file):
        assert panel["type"] in {"row", "stat", "timeseries", "table", "bargauge"}
        if panel["type"] != "row":
            assert panel["description"] and panel["targets"]
            sources = [panel["datasource"], *(target["datasource"] for target in panel["targets"])]
            assert all(source["uid"] == "${datasource}" for source in sources)
    variables = json.loads(file.read_text())["templating"]["list"]
    assert [v["name"] for v in variables if v["type"] == "datasource"] == ["datasource"]
    names = {v["name"] for v in variables}
    used = set(re.findall(r"\$\{?(\w+)", file.read_text()))
    assert used == names


@pytest.mark.parametrize("file", DASHBOARDS, ids=lambda file: file.stem)
def test_panels_do_not_overlap(file: Path) -> None:
    found = panels(file)
    assert len({panel["id"] for panel in found}) == len(found)
    cells: set[tuple[int, int]] = set()
    for panel in found:
        at = panel["gridPos"]
        columns, rows = range(at["x"], at["x"] + at["w"]), range(at["y"], at["y"] + at["h"])
        assert columns.stop <= 24
        mine = set(itertools.product(columns, rows))
        assert not mine & cells, panel["title"]
        cells |= mine


def test_no_two_dashboards_have_one_uid() -> None:
    uids = [json.loads(file.read_text())["uid"] for file in DASHBOARDS]
    assert len(set(uids)) == len(uids)
