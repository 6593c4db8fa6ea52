"""Kafka before it is read: whether a broker lets us in, and what we are let see."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest

from metricsmith.model.findings import Level
from metricsmith.testing.kafka import Cluster
from metricsmith.testing.services import free_port

Examine = Callable[..., Any]


@pytest.mark.usefixtures("collect_sockets")
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_a_cluster_of_kafka_that_is_away(examine: Examine) -> None:
    away = f"127.0.0.1:{free_port()}"
    text = f"""sources:
- {{type: kafka, bootstrap_servers: ["{away}"], timeout: 1s}}
- {{type: bus_kafka, bootstrap_servers: ["{away}"], timeout: 1s}}
"""
    found = examine(text, "sources")
    problems = {part for _, part, line in found.lines if line.level is Level.PROBLEM}
    assert problems == {"kafka", "bus_kafka"}, found
    assert found.told("problem", away, "no connection to port"), found


def test_a_real_cluster(examine: Examine, kafka: Cluster) -> None:
    from kafka.admin import KafkaAdminClient

    bootstrap = kafka.bootstrap()
    with closing(KafkaAdminClient(bootstrap_servers=bootstrap)) as admin:
        admin.create_topics({"doctor-bus": {"num_partitions": 3, "replication_factor": 1}})
    text = f"""sources:
- {{type: kafka, bootstrap_servers: ["{bootstrap}"]}}
- {{type: bus_kafka, name: there, topic: doctor-bus, bootstrap_servers: ["{bootstrap}"]}}
- {{type: bus_kafka, name: absent, topic: doctor-absent, bootstrap_servers: ["{bootstrap}"]}}
"""
    found = examine(text, "sources", timeout_s=60)
    for about in (bootstrap, "groups", "log dirs", "topic settings"):
        assert found.told("ok", about, ""), found
    assert found.told("ok", "topic doctor-bus", "3 partitions"), found
    assert found.told("problem", "topic doctor-absent", "not among"), found
    assert examine(text, "absent", timeout_s=60).told("problem", "topic doctor-absent", ""), "it was made"
