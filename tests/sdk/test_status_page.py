"""The status page: what is in it, that it is escaped, and that it stays small."""

from __future__ import annotations

import json
from functools import partial
from html.parser import HTMLParser
from typing import Any

import pytest

from metricsmith.sdk import Counter, Gauge, Histogram, Registry
from metricsmith.sdk.export import Export, ExportSettings
from metricsmith.sdk.export.http_server import Request, Response
from metricsmith.sdk.status_page import MAX_SERIES, StatusPage

HOSTILE = "\"><script>alert(1)</script>&'\n"


@pytest.fixture
def registry() -> Registry:
    registry = Registry()
    orders = Counter("orders", "Orders taken.", ["payment", "shop"], registry=registry)
    for payment in ("card", "cash"):
        for shop in ("a", "b", "c"):
            orders.labels(payment, shop).inc()
    Histogram("took_seconds", "Time.", ["shop"], registry=registry).labels("a").observe(1)
    return registry


@pytest.fixture
def export(registry: Registry) -> Export:
    settings = ExportSettings(service_name="shop")
    return Export(settings, registry, details=lambda: [{"pipeline_id": "p", "state": "running"}])


def get(export: Export, path: str, query: str = "") -> Response:
    return StatusPage(export)(Request(path, query, {}))


def document(export: Export, path: str = "/status.json", query: str = "") -> dict[str, Any]:
    found: dict[str, Any] = json.loads(get(export, path, query).body)
    return found


class Tags(HTMLParser):
    """Collects tags, attributes and text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.text: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("href", "src")]

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_json_says_what_there_is(export: Export) -> None:
    found = document(export)
    assert found["service"] == "shop"
    metrics = {metric["name"]: metric for metric in found["metrics"]}
    assert metrics["orders"]["label_sets"] == 6
    assert metrics["orders"]["max_label_sets"] == 5000
    assert metrics["orders"]["values_by_label"] == {"payment": 2, "shop": 3}
    assert metrics["took_seconds"]["label_sets"] == 1
    assert metrics["took_seconds"]["values_by_label"] == {"shop": 1}
    assert metrics["took_seconds"]["series"] == 17
    assert found["pipelines"] == [{"pipeline_id": "p", "state": "running"}]
    assert found["warnings"] == []


def test_html_says_the_same_to_people(export: Export) -> None:
    answer = get(export, "/")
    assert answer.content_type == "text/html; charset=utf-8"
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    page = Tags(answer.body.decode())
    text = " ".join(page.text)
    for word in ("shop", "orders", "Orders taken.", "6 of 5000", "payment (2), shop (3)", "None.", "running"):
        assert word in text
    assert "script" not in page.tags
    assert all(link.startswith("/") for link in page.links)


def test_one_metric_with_its_label_sets(export: Export) -> None:
    found = document(export, "/metric.json", "name=orders")
    assert {"name": "orders_total", "labels": {"payment": "card", "shop": "a"}, "value": "1.0"} in found[
        "samples"
    ]
    text = " ".join(Tags(get(export, "/metric", "name=orders").body.decode()).text)
    assert 'orders_total{payment="cash", shop="c"}' in text
    assert get(export, "/metric", "name=nothing").status == 404
    assert get(export, "/metric", "").status == 404
    assert get(export, "/other").status == 404


def test_a_large_metric_is_cut(export: Export, registry: Registry) -> None:
    many = Gauge("many", "", ["number"], registry=registry)
    for number in range(MAX_SERIES + 100):
        many.labels(number).set(float("nan"))
    found = document(export, "/metric.json", "name=many")
    assert (len(found["samples"]), found["left_out"], found["label_sets"]) == (2000, 100, 2100)
    assert found["samples"][0]["value"] == "NaN"
    assert "100 further series" in get(export, "/metric", "name=many").body.decode()


def test_hostile_texts_stay_texts(registry: Registry) -> None:
    Gauge("evil", HOSTILE, ["a"], registry=registry).labels(HOSTILE).set(1)
    export = Export(
        ExportSettings(service_name=HOSTILE), registry, details=lambda: [{HOSTILE: {HOSTILE: HOSTILE}}]
    )
    export.problems.note("kind", HOSTILE)
    for path, query in (("/", ""), ("/metric", "name=evil")):
        page = Tags(get(export, path, query).body.decode())
        assert "script" not in page.tags
        assert "alert(1)" in " ".join(page.text)
    assert document(export)["warnings"][0]["text"] == HOSTILE


def test_warnings_of_metrics_and_of_exports_stand_together() -> None:
    registry = Registry()
    bomb = Counter("bomb", "", ["user"], registry=registry, max_label_sets=3)
    for number in range(10):
        bomb.labels(f"user-{number}").inc()
    export = Export(ExportSettings(), registry)
    export.problems.note("setting", "METRICSMITH_X: got a, wanted b")
    kinds = {warning["kind"]: warning for warning in document(export)["warnings"]}
    assert kinds["setting"]["count"] == 1
    assert any("test_status_page.py:" in place for place in kinds["too_many_label_sets"]["places"])
    assert "test_status_page.py:" in get(export, "/").body.decode()


def test_a_query_with_too_many_fields_is_no_defect(export: Export) -> None:
    assert get(export, "/metric", "a&" * 50).status == 404


def test_the_overview_makes_no_samples_of_metrics_which_may_be_many(
    export: Export, registry: Registry
) -> None:
    asked: list[str] = []

    def told(name: str) -> float:
        asked.append(name)
        return 1.0

    for name in ("depth", "width"):
        Gauge(name, "", registry=registry).set_function(partial(told, name))
    Histogram("took", "", ["a"], registry=registry, buckets=[1, 2]).labels("x").observe(1)
    rows = {each["name"]: each for each in document(export)["metrics"]}
    assert asked == []
    assert (rows["took"]["series"], rows["took"]["label_sets"], rows["took"]["max_label_sets"]) == (
        5,
        1,
        5000,
    )
    get(export, "/metric", "name=depth")
    assert asked == ["depth"]
