"""Documents become series with legal names, within limits; counters count and rates are rates."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metricsmith.model.events import Event
from metricsmith.model.labels import decode_labels, format_labels
from metricsmith.sources.exec.memory import WINDOW_MS, Memory
from metricsmith.sources.exec.series import Converter, Rows
from metricsmith.sources.exec.settings import ExecConfig, Integration
from metricsmith.wire.ohi import document as wire
from metricsmith.wire.ohi.document import (
    Dataset,
    DistributionValue,
    Document,
    Entity,
    Metric,
    MetricKind,
    Sample,
    SummaryValue,
)

NOW = 1_700_000_000_000


def converter(limits: dict[str, Any] | None = None, **entry: Any) -> Converter:
    return Converter("i", Integration.model_validate({"name": "i", **entry}), ExecConfig(**(limits or {})))


def sample(**fields: Any) -> Document:
    return Document(3, "n", "1", (Dataset(samples=(Sample("ShopSample", fields),)),))


def metric(kind: str, value: Any, time_ms: int | None = None, interval_ms: float | None = None) -> Document:
    found = Metric("shop.orders", MetricKind(kind), value, time_ms, interval_ms, {})
    return Document(4, "n", "1", (Dataset(metrics=(found,)),))


def read(rows: Rows) -> dict[str, float]:
    """Series text, without the label that all have, to value."""
    labels = [decode_labels(key) for key in rows.keys]
    named = [format_labels({k: v for k, v in of.items() if v != "i"}) for of in labels]
    return dict(zip(named, rows.values, strict=True))


@pytest.mark.parametrize(
    ("fields", "want"),
    [
        ({"net.bytesInPerSec": 1.5}, {"shop_net_bytes_in_per_sec": 1.5}),
        ({"x": 1.0, "topic.name": "a", "entityName": "e"}, {'shop_x{entity_name="e", topic_name="a"}': 1}),
        ({"up": True, "x": 0.0}, {"shop_up": 1, "shop_x": 0}),
        ({"only": "text"}, {}),
        ({"checkTime": "1700000000"}, {"shop_check_time": 1_700_000_000}),
        ({"x": 1.0, "lastDate": "yesterday"}, {"shop_x": 1}),
        ({"x": 1.0, "partition": "3"}, {'shop_x{partition="3"}': 1}),
        ({"x": 1.0, "le": "1", "quantile": "q"}, {'shop_x{attr_le="1", attr_quantile="q"}': 1}),
        ({"x": 1.0, "empty": ""}, {"shop_x": 1}),
    ],
)  # fmt: skip
def test_numbers_are_gauges_and_texts_their_labels(fields, want):
    rows = converter().rows(sample(**fields), NOW)
    assert read(rows) == want
    assert set(rows.times) <= {NOW}
    assert all(rows.metadata[name.partition("{")[0]].type == "gauge" for name in read(rows))


def test_labels_tell_entity_and_what_the_file_says():
    entity = Entity("b-1", "broker", "Broker 1", (("Cluster", "c"),))
    document = Document(3, "n", "1", (Dataset(entity, samples=(Sample("KafkaSample", {"x": 1.0}),)),))
    rows = converter(labels={"env": "prod"}, tags={"Team": 7}).rows(document, NOW)
    assert decode_labels(rows.keys[0]) == {
        "__name__": "kafka_x",
        "entity_cluster": "c",
        "entity_display_name": "Broker 1",
        "entity_name": "b-1",
        "entity_type": "broker",
        "integration": "i",
        "label_env": "prod",
        "tags_team": "7",
    }


def test_attributes_win_over_metadata_and_the_file_over_attributes():
    entity = Entity("s", "t", "", (), {"zone": "meta", "team": "red"})
    found = Metric(
        "m", MetricKind.GAUGE, 1.0, None, None, {"zone": "own", "label.env": "own", "n": 3.0, "b": True}
    )
    document = Document(4, "n", "1", (Dataset(entity, metrics=(found,)),))
    labels = decode_labels(converter(labels={"env": "prod"}).rows(document, NOW).keys[0])
    assert {k: v for k, v in labels.items() if not k.startswith("entity")} == {
        "__name__": "m",
        "b": "true",
        "integration": "i",
        "label_env": "prod",
        "n": "3",
        "team": "red",
        "zone": "own",
    }


def test_a_distribution_is_that_of_prometheus():
    histogram = metric("prometheus-histogram", DistributionValue(9, 20.5, ((0.5, 4), (1.0, 7))))
    rows = converter().rows(histogram, NOW)
    assert read(rows) == {
        'shop_orders_bucket{le="0.5"}': 4,
        'shop_orders_bucket{le="1.0"}': 7,
        'shop_orders_bucket{le="+Inf"}': 9,
        "shop_orders_sum": 20.5,
        "shop_orders_count": 9,
    }
    assert rows.metadata["shop_orders"].type == "histogram"
    summary = converter().rows(metric("prometheus-summary", DistributionValue(9, 20.5, ((0.5, 2),))), NOW)
    assert read(summary) == {
        'shop_orders{quantile="0.5"}': 2,
        "shop_orders_sum": 20.5,
        "shop_orders_count": 9,
    }


S = 1000


@pytest.mark.parametrize(
    ("documents", "want"),
    [
        # (kind, value, time, interval) of documents that follow one another: what the last one gives
        ([("gauge", 5, 0, None), ("gauge", 3, S, None)], {"shop_orders": 3}),
        ([("count", 5, 0, S), ("count", 3, S, S)], {"shop_orders_total": 8}),
        ([("count", 5, 0, S), ("count", -3, S, S)], {}),
        ([("cumulative-count", 5, 0, None), ("cumulative-count", 8, S, None)], {"shop_orders_total": 8}),
        ([("cumulative-count", 8, 0, None), ("cumulative-count", 2, S, None)], {"shop_orders_total": 2}),
        ([("rate", 10, 0, 5 * S)], {"shop_orders": 2}),
        ([("rate", 10, 0, None)], {}),
        ([("rate", 10, 0, None), ("rate", 10, 2 * S, None)], {"shop_orders": 5}),
        ([("rate", 10, 0, None), ("rate", 10, 2 * S, None), ("rate", 10, 3 * S, None)], {"shop_orders": 10}),
        ([("cumulative-rate", 10, 0, None)], {}),
        ([("cumulative-rate", 10, 0, None), ("cumulative-rate", 16, 2 * S, None)], {"shop_orders": 3}),
        ([("cumulative-rate", v, at * S, None) for v, at in ((1, 0), (9, 1), (10, 2))], {"shop_orders": 1}),
        ([("cumulative-rate", 100, 0, None), ("cumulative-rate", 4, 2 * S, None)], {"shop_orders": 2}),
        ([("cumulative-rate", 1, S, None), ("cumulative-rate", 9, S, None)], {}),
        ([("cumulative-rate", v, at * S, None) for v, at in ((1, 1), (9, 0), (5, 3))], {"shop_orders": 2}),
    ],
)  # fmt: skip
def test_counters_count_and_rates_are_per_second(documents, want):
    reader = converter()
    for kind, value, after_ms, interval_ms in documents:
        rows = reader.rows(metric(kind, float(value), NOW + after_ms, interval_ms), NOW)
    assert read(rows) == want
    if want and "shop_orders_total" in want:
        assert rows.metadata["shop_orders_total"].type == "counter"


def test_an_attribute_of_any_name_tells_series_apart():
    reader = converter()
    for value, kind in ((5.0, "a"), (7.0, "b")):
        found = Metric("orders", MetricKind.COUNT, value, None, None, {"type": kind})
        rows = reader.rows(Document(4, "n", "1", (Dataset(metrics=(found,)),)), NOW)
    assert read(rows) == {'orders_total{type="b"}': 7}


@pytest.mark.parametrize(
    ("name", "is_label"),
    [
        ("topic.tombstoneCheckTime", False),
        ("timestamp", False),
        ("created_time", False),
        ("last-date", False),
        ("startTimestamp", False),
        ("container.runtime", True),
        ("lifetimes", True),
        ("candidate", True),
    ],
)
def test_attributes_whose_names_speak_of_times_are_no_labels(name, is_label):
    rows = converter().rows(sample(**{"x": 1.0, name: "noon"}), NOW)
    assert (len(decode_labels(rows.keys[0])) == 3) is is_label


def test_an_entity_of_endless_name_is_left_out():
    entity = Entity("n" * 5000, "t", "", (("k" * 300, "v"),))
    document = Document(
        3, "n", "1", (Dataset(entity, samples=(Sample("S", {"x": 1.0}),), inventory={"i" * 5000: {}}),)
    )
    rows = converter().rows(document, NOW)
    assert rows.problems["label_too_long"] == 3
    assert all(len(key) < 200 for key in rows.keys)


def test_a_summary_is_added_up():
    reader = converter()
    reader.rows(metric("summary", SummaryValue(2, 10, 1, 9)), NOW)
    rows = reader.rows(metric("summary", SummaryValue(3, 5, None, 4)), NOW + S)
    assert read(rows) == {"shop_orders_count": 5, "shop_orders_sum": 15, "shop_orders_max": 4}


@pytest.mark.parametrize(
    ("limits", "fields", "reason"),
    [
        ({"max_label_length": 5}, {"x": 1.0, "a": "ééé"}, "label_too_long"),
        ({"max_labels": 2}, {"x": 1.0, "a": "1", "b": "2", "c": "3"}, "too_many_labels"),
        ({"max_series": 2}, {"x": 1.0, "y": 1.0, "z": 1.0}, "too_many_series"),
        ({}, {"x": 1.0, "a.b": "1", "a_b": "2"}, "label_collision"),
        ({}, {"x.y": 1.0, "x_y": 2.0}, "duplicate"),
        ({}, {"x": 1.0, "n" * 256: "1"}, "label_too_long"),
        ({}, {"x": 1.0, "n" * 256: 1.0}, "name_too_long"),
        ({}, {"x": 1.0, "someTime": "noon"}, "not_label"),
    ],
)
def test_what_is_beyond_a_limit_is_left_out_and_told(limits, fields, reason):
    rows = converter(limits).rows(sample(**fields), NOW)
    assert rows.problems[reason] == 1
    assert 1 <= len(rows.keys) <= 2


def test_events_have_their_own_attributes_and_tell_whose_they_are():
    told = (
        wire.Event("reloaded", "config", NOW - 5, {"by": "me", "entityName": "x"}),
        wire.Event("up", "c", None, {}),
    )
    document = Document(3, "n", "1", (Dataset(Entity("b", "broker"), events=told),))
    rows = converter(labels={"env": "prod"}, tags={"team": 7}).rows(document, NOW)
    about = {
        "label.env": "prod",
        "tags.team": "7",
        "integrationName": "i",
        "entityName": "b",
        "entityType": "broker",
        "entityKey": "broker:b",
    }
    assert rows.events == [
        Event(NOW - 5, "reloaded", "config", {"by": "me", **about}),
        Event(NOW, "up", "c", about),
    ]
    assert rows.keys == []


def test_times_are_the_metrics_own():
    found = [Metric("m", MetricKind.GAUGE, float(i), NOW + i, None, {}) for i in range(3)]
    rows = converter().rows(Document(4, "n", "1", (Dataset(metrics=(*found, found[0])),)), NOW + 99)
    assert rows.times == [NOW, NOW + 1, NOW + 2]
    assert rows.problems["duplicate"] == 1, "the same series at the same time comes once"


def test_a_series_that_no_longer_comes_makes_room_in_an_hour_or_two():
    memory = Memory(2)
    for key in (b"a", b"b", b"c"):
        memory.turn(NOW)
        assert (memory.get(key) is None) is (key == b"c")
    remembered = memory.get(b"a")
    memory.turn(NOW + WINDOW_MS)
    assert memory.get(b"a") is remembered and memory.get(b"c") is not None
    memory.turn(NOW + 2 * WINDOW_MS)
    memory.turn(NOW + 3 * WINDOW_MS)
    assert memory.get(b"a") is not remembered


names = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=12)
scalars = st.one_of(names, st.floats(allow_nan=False), st.booleans())
attributes = st.dictionaries(names, scalars, max_size=6)
samples = st.builds(Sample, names, attributes)
numeric = st.sampled_from([k for k in MetricKind if "prom" not in k and k != "summary"])
metrics = st.builds(Metric, names, numeric, st.floats(-1e9, 1e9), st.integers(0, NOW), st.none(), attributes)
datasets = st.builds(
    Dataset,
    st.builds(Entity, names, names),
    samples=st.lists(samples, max_size=3).map(tuple),
    metrics=st.lists(metrics, max_size=3).map(tuple),
    inventory=st.dictionaries(names, attributes, max_size=2),
)


@given(st.lists(datasets, max_size=3))
def test_whatever_a_document_says_its_series_are_legal_and_within_limits(found):
    limits = {"max_labels": 4, "max_label_length": 8, "max_series": 10}
    rows = converter(limits).rows(Document(4, "n", "1", tuple(found)), NOW)
    assert len(rows.keys) == len(rows.values) == len(rows.times)
    assert len(set(zip(rows.keys, rows.times, strict=True))) == len(rows.keys)
    assert len(set(rows.keys)) <= 10
    for key in rows.keys:
        labels = decode_labels(key)
        assert re.fullmatch("[A-Za-z_:][A-Za-z0-9_:]*", labels.pop("__name__"))
        assert all(re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", name) for name in labels)
        assert labels["integration"] == "i"
        assert len(labels) <= 4 + len(("integration", "entity_name", "entity_type", "item"))
