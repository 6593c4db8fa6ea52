"""Names and labels that will hurt later are told; good ones are not."""

from __future__ import annotations

import pytest

from metricsmith.model.metadata import Metadata, MetricType
from metricsmith.sources.python.advice import advice

COUNTER, GAUGE, INFO = MetricType.COUNTER, MetricType.GAUGE, MetricType.INFO


def told(
    name: str, type_: MetricType = GAUGE, help: str = "Help.", unit: str = "", **labels: str
) -> list[str]:
    return advice([(name, tuple(labels.items()))], {name: Metadata(type_, unit, help)})


@pytest.mark.parametrize(
    ("name", "type_", "word"),
    [
        ("orders", COUNTER, "ends in _total"),
        ("queue_total", GAUGE, "only a counter"),
        ("queueLength", GAUGE, "lower_case"),
        ("queue-length", GAUGE, "letters, digits"),
        ("queue:length", GAUGE, "colons"),
        ("latency_ms", GAUGE, "seconds, not in ms"),
        ("disk_mb", GAUGE, "bytes, not in mb"),
        ("wait_minutes_total", COUNTER, "seconds, not in minutes"),
        ("request_duration", GAUGE, "has no unit"),
        ("heap_size", GAUGE, "end the name in _bytes"),
        ("service_up_total", COUNTER, "make it a gauge"),
        ("queue_depth_total", COUNTER, "make it a gauge"),
        ("queue", MetricType.UNKNOWN, "has no type"),
    ],
)
def test_names_that_are_told(name: str, type_: MetricType, word: str) -> None:
    assert len([line for line in told(name, type_) if line.startswith(f"{name}: ") and word in line]) == 1


@pytest.mark.parametrize(
    ("name", "type_"),
    [
        ("http_requests_total", COUNTER),
        ("request_duration_seconds", MetricType.HISTOGRAM),
        ("heap_size_bytes", GAUGE),
        ("queue_length", GAUGE),
        ("start_time_seconds", GAUGE),
        ("cpu_seconds_total", COUNTER),
        ("build_info", INFO),
        ("service_up", GAUGE),
        ("stopped_total", COUNTER),
    ],
)
def test_names_that_are_good(name: str, type_: MetricType) -> None:
    assert told(name, type_) == []


def test_a_state_is_known_by_its_help_too() -> None:
    assert any("a state" in line for line in told("door_total", COUNTER, "Whether the door is open."))
    assert told("door_total", COUNTER, "Doors that were opened.") == []


@pytest.mark.parametrize(
    ("label", "value", "word"),
    [
        ("id", "550e8400-e29b-41d4-a716-446655440000", "looks like an id"),
        ("when", "2024-05-01T10:00:00Z", "looks like an id"),
        ("at", "1714557600", "looks like an id"),
        ("user", "me@example.org", "looks like an id"),
        ("a-b", "x", "letters, digits"),
        ("__x", "y", "begin with __"),
        ("queue", "mail", ""),
        ("code", "200", ""),
    ],
)
def test_labels(label: str, value: str, word: str) -> None:
    found = told("queue_length", **{label: value})
    assert len(found) == bool(word) and all(word in line for line in found)
