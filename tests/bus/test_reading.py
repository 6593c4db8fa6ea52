"""What is refused or left out of the messages of a bus is counted, and takes no memory."""

from __future__ import annotations

from metricsmith.contracts import Context
from metricsmith.model.series import SeriesTable
from metricsmith.model.telemetry import Telemetry
from metricsmith.sources.bus.collection import CollectionSettings
from metricsmith.sources.bus.reading import MessageReader, MessageSettings
from metricsmith.testing.clock import FakeClock

BODY = b'{"service": "shop", "metrics": {"queue_depth": 1, "other": 2}}'


def reader(telemetry: Telemetry, **settings: object) -> MessageReader:
    context = Context("bus", SeriesTable(), telemetry, FakeClock())
    return MessageReader(MessageSettings.model_validate(settings), context)


def test_a_topic_without_end_is_refused() -> None:
    telemetry = Telemetry(FakeClock())
    made = reader(telemetry)
    longest = b"metrics." + b"x" * 1016
    batch = made.batch([[longest, BODY], [longest + b"x", BODY], [b"metrics." + b"y" * (1 << 20), BODY]])
    assert len(batch) == 2
    refused = telemetry.value("metricsmith_bus_messages_refused_total", source="bus", reason="topic")
    assert refused == 2
    assert [seen.topic for seen in made.seen.topics()] == [longest.decode()]


def test_metrics_that_are_not_collected_are_counted() -> None:
    telemetry = Telemetry(FakeClock())
    made = reader(telemetry, collection=CollectionSettings(custom_metrics=False))
    assert len(made.batch([[b"metrics.shop", BODY]] * 3)) == 3
    dropped = telemetry.value("metricsmith_samples_dropped_total", component="bus", reason="not_collected")
    assert dropped == 3
