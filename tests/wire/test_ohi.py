"""Documents of New Relic integrations are read as the public schema has them, and written the same way."""

from __future__ import annotations

import json
import math

import pytest

from metricsmith.errors import LimitExceeded, WireError
from metricsmith.wire.ohi.decode import decode
from metricsmith.wire.ohi.document import (
    HOST,
    Dataset,
    DistributionValue,
    Document,
    Entity,
    Event,
    Metric,
    MetricKind,
    Request,
    Sample,
    SummaryValue,
)
from metricsmith.wire.ohi.encode import encode
from metricsmith.wire.ohi.reading import Limits
from metricsmith.wire.ohi.tombstones import TopicTombstones, tombstone_document

V1 = {
    "name": "com.acme.nginx",
    "protocol_version": "1",
    "integration_version": "0.9.1",
    "metrics": [{"event_type": "NginxSample", "net.connectionsActive": 7, "edition": "free", "up": True}],
    "inventory": {"worker_processes": {"value": 4}},
    "events": [{"summary": "reloaded"}],
}
V3 = {
    "name": "com.newrelic.kafka",
    "protocol_version": 3,
    "integration_version": "2.0.0",
    "data": [
        {
            "entity": {"name": "b-1", "type": "broker", "id_attributes": [{"Key": "Env", "Value": "Prod"}]},
            "metrics": [{"event_type": "KafkaBrokerSample", "broker.bytesInPerSec": 12.5, "nothing": None}],
            "inventory": {},
            "events": [{"summary": "s", "category": "c", "attributes": {"by": "me"}}],
            "add_hostname": True,
        },
        {"metrics": [], "inventory": {}, "events": []},
    ],
}
V4 = {
    "protocol_version": "4",
    "integration": {"name": "com.acme.shop", "version": "1.2.3"},
    "data": [
        {
            "common": {"timestamp": 1_700_000_000, "interval.ms": 15_000,
                       "attributes": {"zone": "a", "tier": "1"}},
            "entity": {"name": "shop", "type": "service", "displayName": "Shop", "metadata": {"team": "red"}},
            "metrics": [
                {"name": "orders", "type": "count", "value": 3, "attributes": {"zone": "b"}},
                {"name": "heat", "type": "gauge", "timestamp": 1_700_000_001_500, "value": -1.5},
                {"name": "took", "type": "summary", "interval.ms": 60_000,
                 "value": {"count": 2, "sum": 3, "min": 1, "max": 2, "average": 1.5}},
                {"name": "lat", "type": "prometheus-histogram",
                 "value": {"sample_count": 4, "sample_sum": 9,
                           "buckets": [{"upper_bound": 5, "cumulative_count": 3}, {"cumulative_count": 1}]}},
                {"name": "gc", "type": "prometheus-summary",
                 "value": {"sample_count": 1, "sample_sum": 2,
                           "quantiles": [{"quantile": 0.5, "value": 2}, {"quantile": 0.9, "value": None}]}},
            ],
            "inventory": {"os": {"name": "linux", "bits": 64}},
            "events": [{"timestamp": 1_700_000_002, "summary": "deployed", "attributes": {"v": "1"}}],
            "ignore_entity": True,
        }
    ],
}  # fmt: skip


def line(document: object) -> bytes:
    return json.dumps(document).encode() + b"\n"


def read(document: object) -> Document:
    found = decode(line(document))
    assert isinstance(found, Document)
    return found


def test_version_1_is_one_data_set_of_the_host():
    assert read(V1) == Document(
        1, "com.acme.nginx", "0.9.1",
        (Dataset(
            HOST,
            samples=(Sample("NginxSample", {"net.connectionsActive": 7.0, "edition": "free", "up": True}),),
            inventory={"worker_processes": {"value": 4.0}},
            events=(Event("reloaded", "notifications", None, {}),),
        ),),
    )  # fmt: skip


@pytest.mark.parametrize("version", [2, "2", 3, "3", 3.0])
def test_versions_2_and_3_have_entities_and_events(version):
    found = read({**V3, "protocol_version": version})
    assert found.protocol == int(version) and not found.oddities
    first, second = found.datasets
    assert first.entity == Entity("b-1", "broker", "", (("Env", "Prod"),))
    assert first.entity.key == "broker:b-1:env=prod"
    assert first.samples == (Sample("KafkaBrokerSample", {"broker.bytesInPerSec": 12.5}),), "a null is absent"
    assert first.events == (Event("s", "c", None, {"by": "me"}),)
    assert second == Dataset()


def test_version_4_fills_in_what_common_says():
    found = read(V4)
    (data,) = found.datasets
    common = {"zone": "a", "tier": "1"}
    assert found.name == "com.acme.shop" and not found.oddities
    assert data.entity == Entity("shop", "service", "Shop", (), {"team": "red"})
    assert data.metrics == (
        Metric("orders", MetricKind.COUNT, 3.0, 1_700_000_000_000, 15_000.0, {"zone": "b", "tier": "1"}),
        Metric("heat", MetricKind.GAUGE, -1.5, 1_700_000_001_500, 15_000.0, common),
        Metric("took", MetricKind.SUMMARY, SummaryValue(2, 3, 1, 2), 1_700_000_000_000, 60_000.0, common),
        Metric("lat", MetricKind.PROMETHEUS_HISTOGRAM, DistributionValue(4, 9, ((0.0, 1.0), (5.0, 3.0))),
               1_700_000_000_000, 15_000.0, common),
        Metric("gc", MetricKind.PROMETHEUS_SUMMARY, DistributionValue(1, 2, ((0.5, 2.0),)),
               1_700_000_000_000, 15_000.0, common),
    )  # fmt: skip
    assert data.events == (Event("deployed", "notifications", 1_700_000_002_000, {"v": "1"}),)
    assert data.inventory == {"os": {"name": "linux", "bits": 64.0}}


@pytest.mark.parametrize(
    ("text", "want"),
    [
        (b"{}", None),
        (b" {} \r\n", None),
        (b'{"command_request_version":"1","commands":[]}', Request("command_request_version")),
        (b'{"config_protocol_version":"1","action":"register_config"}', Request("config_protocol_version")),
    ],
)
def test_heartbeats_and_requests_are_told_from_data(text, want):
    assert decode(text) == want


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "one JSON document a line"),
        (b"starting up...", "one JSON document a line"),
        (b'{"name":"half', "one JSON document a line"),
        (b'{"a":NaN}', "one JSON document a line"),
        (b'{"name":"\xff"}', "one JSON document a line"),
        (b"[1]", "a JSON object"),
        (b'{"name":"x"}', "protocol_version: got nothing"),
        (b'{"protocol_version":"5"}', "protocol_version: got '5'"),
        (b'{"protocol_version":true}', "protocol_version: got True"),
        (b'{"protocol_version":3.5}', "protocol_version: got 3.5"),
        (b'{"protocol_version":3,"data":{}}', "data: got {}"),
        (b'{"protocol_version":4}', "data: got nothing"),
        (b'{"protocol_version":4,"integration":7,"data":[]}', "integration: got 7"),
        (b'{"protocol_version":3,"name":{},"data":[]}', "name: got {}"),
    ],
)
def test_what_is_no_document_is_refused_with_the_reason(text, message):
    with pytest.raises(WireError, match=message.replace("[", r"\[").replace("{", r"\{")):
        decode(text)


def test_the_deepest_nesting_is_refused_and_not_a_crash():
    with pytest.raises(WireError):
        decode(b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}")


METRIC = {"name": "m", "type": "gauge", "value": 1}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"type": "gauge2"}, "type"),
        ({"type": None}, "type"),
        ({"name": ""}, "metric"),
        ({"name": 5}, "metric"),
        ({"value": "1"}, "metric"),
        ({"value": None}, "metric"),
        ({"value": True}, "metric"),
        ({"type": "summary", "value": 1}, "metric"),
        ({"type": "summary", "value": {"count": 1}}, "metric"),
        ({"type": "prometheus-histogram", "value": {"buckets": [1]}}, "metric"),
        ({"type": "prometheus-histogram", "value": {"buckets": [{}] * 1001}}, "metric"),
        ({"timestamp": -1}, "metric"),
        ({"timestamp": "now"}, "metric"),
        ({"timestamp": 10**18}, "metric"),
        ({"interval.ms": -5}, "metric"),
    ],
)
def test_a_bad_metric_is_left_out_and_told_and_its_neighbours_stay(change, reason):
    found = read({"protocol_version": 4, "data": [{"metrics": [METRIC, {**METRIC, **change}, METRIC]}]})
    assert [m.name for m in found.datasets[0].metrics] == ["m", "m"]
    assert [o.reason for o in found.oddities] == [reason]
    assert "data[0].metrics[1]" in found.oddities[0].message


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (7, "shape"),
        ({"entity": {"name": "x"}}, "dataset"),
        ({"entity": {"name": [], "type": "t"}}, "dataset"),
        ({"common": {"timestamp": -1}, "metrics": [METRIC]}, "dataset"),
        ({"metrics": 3}, "shape"),
        ({"metrics": ["x"]}, "shape"),
        ({"events": [{"category": "c"}]}, "event"),
        ({"events": [{"summary": 4}]}, "event"),
        ({"inventory": []}, "shape"),
        ({"entity": {"name": "a", "type": "t", "id_attributes": [{"Key": "k"}]}}, "shape"),
    ],
)
def test_a_bad_data_set_does_not_take_another_with_it(data, reason):
    found = read({"protocol_version": 4, "data": [data, {"metrics": [METRIC]}]})
    assert found.datasets[-1].metrics[0].name == "m"
    assert [o.reason for o in found.oddities] == [reason]


def test_a_sample_without_event_type_is_left_out():
    found = read({**V1, "metrics": [{"x": 1}, {"event_type": "A", "x": 1}, {"event_type": 3}]})
    assert [s.event_type for s in found.datasets[0].samples] == ["A"]
    assert [o.reason for o in found.oddities] == ["event_type", "event_type"]


@pytest.mark.parametrize(
    "limits", [Limits(bytes=100), Limits(metrics=3), Limits(attributes=1), Limits(datasets=0)]
)
def test_limits_refuse_a_document_whole(limits):
    with pytest.raises(LimitExceeded):
        decode(line(V4), limits)


def test_tombstones_have_the_names_that_dashboards_expect():
    found = tombstone_document([TopicTombstones("orders", 400, 100, 25.0)], 1_700_000_000)
    root = json.loads(encode(found))
    assert (root["name"], root["integration_version"]) == ("com.custom.kafka.tombstone", "1.0.0")
    assert root["data"][0]["entity"] == {"name": "kafka-tombstone-monitor", "type": "tombstone-monitor"}
    assert root["data"][0]["metrics"] == [
        {
            "event_type": "KafkaTopicTombstoneSample",
            "topic.name": "orders",
            "topic.totalMessages": 400,
            "topic.tombstoneMessages": 100,
            "topic.tombstoneRatio": 25,
            "topic.tombstoneCheckTime": "1700000000",
        }
    ]


@pytest.mark.parametrize("protocol", [3, 4])
def test_tombstones_are_read_as_they_were_written(protocol):
    topics = [TopicTombstones("a", 3, 1, 100 / 3), TopicTombstones("b", 0, 0, None)]
    document = tombstone_document(topics, 1_700_000_000, protocol)
    assert decode(encode(document)) == document
    assert b"tombstoneRatio" not in encode(tombstone_document(topics[1:], 1, protocol)), "unknown is not 0"


def test_numbers_that_json_lacks_are_absent():
    bad = {"a": math.nan, "b": math.inf, "c": 1.0}
    assert b'"a"' not in encode(Document(3, "n", "1", (Dataset(samples=(Sample("S", bad),)),)))
    metrics = [Metric("m", MetricKind.GAUGE, value, None, None, {}) for value in (math.nan, 1.0)]
    found = decode(encode(Document(4, "n", "1", (Dataset(metrics=tuple(metrics)),))))
    assert isinstance(found, Document) and [m.value for m in found.datasets[0].metrics] == [1.0]


def test_version_1_has_room_for_one_entity():
    with pytest.raises(ValueError, match="one in version 1"):
        encode(Document(1, "n", "1", (Dataset(), Dataset())))
