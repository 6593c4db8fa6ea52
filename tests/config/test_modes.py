"""A mode adds the parts of a producer or consumer, unless the file has its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from metricsmith.config.load import load_text
from metricsmith.net.bus_keys import write_keys


@pytest.mark.parametrize(
    ("text", "sources", "sinks"),
    [
        ("", [], []),
        ("service: {type: producer}", ["host"], ["bus"]),
        ("service: {type: consumer}", ["bus"], []),
        ("bus: {}", ["bus"], []),
        ("service: {type: producer}\ncollection: {system_metrics: false}", [], ["bus"]),
        ("service: {type: producer}\nbus: {ack_endpoint: 'tcp://h:1'}", ["host"], ["transfer"]),
        ("service: {type: consumer}\nbus: {ack_endpoint: 'tcp://h:1'}", ["bus", "transfer"], []),
        ("service: {type: producer}\nbus: {driver: kafka}", ["host"], ["bus_kafka"]),
        ("bus: {driver: kafka}", ["bus_kafka"], []),
        (
            "service: {type: producer}\nbus: {driver: kafka, ack_endpoint: 'tcp://h:1'}",
            ["host"],
            ["transfer"],
        ),
        (
            "service: {type: producer}\nsources: [{type: host, name: mine}]\nsinks: [{type: bus}]",
            ["host"],
            ["bus"],
        ),
    ],
)
def test_parts_of_a_mode(load: Callable[..., Any], text: str, sources: list[str], sinks: list[str]) -> None:
    configuration = load(text)
    assert [part.type for part in configuration.of("sources")] == sources
    assert [part.type for part in configuration.of("sinks")] == sinks


def test_settings_reach_the_parts(load: Callable[..., Any]) -> None:
    bus = "bus: {endpoint: 'tcp://h:1', topics: ['a.*']}\ncollection: {system: [cpu_usage]}\n"
    (host,), (sink,) = (
        load(f"service: {{type: producer, name: edge, interval: 3s}}\n{bus}").of(group)
        for group in ("sources", "sinks")
    )
    assert (host.config.interval, host.config.groups) == (3000, ("cpu_usage",))
    assert host.config.labels == {"host": "edge"}
    assert (sink.config.endpoint, sink.config.bind, sink.config.service) == ("tcp://h:1", False, "edge")
    (source,) = load(bus).of("sources")
    assert (source.config.endpoint, source.config.bind, source.config.topics) == ("tcp://h:1", True, ("a.*",))
    assert source.config.collection.system == ("cpu_usage",)


@pytest.mark.parametrize(
    ("text", "collects"),
    [
        ("service: {type: producer, name: edge, interval: 3s}", True),
        ("service: {type: producer}\ncollection: {custom_metrics: false}", False),
        ("service: {type: producer}\nsources: [{type: python, files: [x.py]}]", False),
        ("service: {type: consumer}", False),
        ("", False),
    ],
)
def test_a_producer_collects_from_the_folder_beside_its_file(
    tmp_path: Path, text: str, collects: bool
) -> None:
    def found() -> list[Any]:
        sources = load_text(text, str(tmp_path / "m.yaml"), {}).of("sources")
        return [s.config for s in sources if s.type == "python" and s.config.directory]

    assert found() == []
    (tmp_path / "collectors.d").mkdir()
    assert [config.directory for config in found()] == [str(tmp_path / "collectors.d")] * collects
    if collects:
        assert (found()[0].interval, found()[0].labels) == (3000, {"host": "edge"})


def test_settings_of_kafka_reach_the_parts(load: Callable[..., Any]) -> None:
    kafka = "kafka: {bootstrap_servers: 'k1:9092,k2', tls: {}, topic: plant, group: centre}"
    bus = f"bus: {{driver: kafka, topics: ['a.*'], {kafka}}}\n"
    (sink,) = load(f"{bus}service: {{type: producer, name: edge}}").of("sinks")
    assert (sink.config.bootstrap_servers, sink.config.protocol()) == (("k1:9092", "k2"), "SSL")
    assert (sink.config.topic, sink.config.service) == ("plant", "edge")
    (source,) = load(bus).of("sources")
    assert (source.config.bootstrap_servers, source.config.group) == (("k1:9092", "k2"), "centre")
    assert (source.config.topic, source.config.topics) == ("plant", ("a.*",))


@pytest.mark.parametrize(("mode", "alerts"), [("producer", False), ("consumer", True), ("standalone", True)])
def test_a_producer_leaves_alerting_to_its_consumer(
    load: Callable[..., Any], mode: str, alerts: bool
) -> None:
    settings = load(f"service: {{type: {mode}}}\nalerts: {{enabled: true}}").settings
    assert settings.alerts.enabled is alerts


@pytest.mark.parametrize(("bind", "consumer", "producer"), [("true", True, True), ("false", False, False)])
def test_who_listens_can_be_said(load: Callable[..., Any], bind: str, consumer: bool, producer: bool) -> None:
    bus = f"bus: {{bind: {bind}}}\n"
    assert load(f"{bus}service: {{type: consumer}}").of("sources")[-1].config.bind is consumer
    assert load(f"{bus}service: {{type: producer}}").of("sinks")[0].config.bind is producer


def test_the_transfer_has_address_keys_and_name(load: Callable[..., Any], tmp_path: Path) -> None:
    key = write_keys(tmp_path / "keys")
    curve = (
        f"curve: {{secret_key_file: {tmp_path / 'keys'}, server_key: '{key}', authorized_keys: ['{key}']}}"
    )
    bus = f"bus: {{ack_endpoint: 'tcp://h:1', {curve}}}\n"
    (sink,) = load(f"service: {{type: producer, name: edge}}\n{bus}").of("sinks")
    source = load(bus).of("sources")[-1]
    assert (sink.config.endpoint, sink.config.bind, sink.config.producer) == ("tcp://h:1", False, "edge")
    assert (source.config.endpoint, source.config.bind) == ("tcp://h:1", True)
    assert sink.config.curve.server_key == source.config.curve.authorized_keys[0] == key
