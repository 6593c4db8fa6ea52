"""What is read less often than the rest: shown with its age, and only of what is still the same."""

from __future__ import annotations

import time
from typing import Any

import pytest

from metricsmith.sources.kafka import admin
from metricsmith.sources.kafka.parts import ConfigsPart, LogDirsPart, Part

AGE, OLD = "kafka_snapshot_age_seconds", "kafka_snapshot_old_items"


def samples(part: Part) -> dict[tuple[str, ...], float]:
    sheet = part.sheet()
    assert sheet is not None
    return dict(zip(sheet.keys, sheet.values, strict=True))


def test_settings_are_those_of_the_topic_that_is_there(
    live: Any, watch: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic, key = "parts-anew", ("kafka_topic_retention_seconds", "parts-anew")
    live.create(topic, retention_ms="60000")
    watching = watch(topic)
    part = ConfigsPart(watching.config, watching.observer, lambda troubles: None)
    watching.round()
    assert samples(part) == {}
    assert part.read(watching.client)
    watching.now_ms += 5000
    assert (samples(part)[key], samples(part)[AGE, "configs"], samples(part)[OLD, "configs"]) == (60, 5, 0)

    first = watching.observer.topics()[topic]
    live.admin.delete_topics([topic])
    deadline = time.monotonic() + 60
    while topic in live.admin.list_topics():
        assert time.monotonic() < deadline
    live.create(topic, retention_ms="120000")
    while watching.observer.topics().get(topic) in (None, first):
        assert time.monotonic() < deadline
        watching.round(after_ms=1)
    assert key not in samples(part) and topic not in part.known, "settings of the topic of before"
    part.read(watching.client)
    assert samples(part)[key] == 120

    monkeypatch.setattr(admin, "topic_configs", lambda client, topics: ({}, []))
    watching.now_ms += watching.config.keep_for
    part.read(watching.client)
    assert (samples(part)[key], samples(part)[AGE, "configs"], samples(part)[OLD, "configs"]) == (120, 600, 1)
    watching.now_ms += watching.config.configs_interval + 1
    assert key not in samples(part) and topic not in part.known


def test_sizes_on_disk_have_an_age(live: Any, watch: Any) -> None:
    topic = live.create("parts-sizes")
    watching = watch(topic)
    part = LogDirsPart(
        watching.config, watching.observer, lambda troubles: None, lambda: int(watching.now_ms)
    )
    watching.round()
    part.read(watching.client)
    watching.now_ms += 7000
    assert (samples(part)[AGE, "log_dirs"], samples(part)[OLD, "log_dirs"]) == (7, 0)
