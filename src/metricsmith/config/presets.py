"""What there is besides the parts that the file names: for modes, and for sinks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from metricsmith import registry
from metricsmith.config.parts import Part
from metricsmith.config.settings import BusSettings, Mode, Settings
from metricsmith.contracts import SinkConfig
from metricsmith.net.kafka_settings import Connection

COLLECTORS = "collectors.d"


def preset_parts(settings: Settings, data: Mapping[str, Any], file: str) -> Iterator[Part]:
    """Yield the parts of the mode; where the file has one of a type, that one stands for it.

    `file` is the name of the configuration file, empty when there is none.
    """
    mode, bus = settings.service.type, settings.bus or BusSettings()
    given = {
        (group, item.get("type"))
        for group in ("sources", "sinks")
        for item in data.get(group) or ()
        if isinstance(item, Mapping)
    }
    for part in (*_parts(settings, mode, bus), *_collectors(settings, mode, file)):
        if (part.group, part.type) not in given:
            yield part


def _parts(settings: Settings, mode: Mode, bus: BusSettings) -> Iterator[Part]:
    chosen, address = settings.collection, {"endpoint": bus.endpoint, "curve": bus.curve}
    if mode is Mode.PRODUCER and chosen.system_metrics:
        # Hosts send the same names to one consumer: a label tells them apart.
        labels = {"host": settings.service.name}
        interval = settings.service.interval
        yield _part("sources", "host", interval=interval, groups=chosen.system, devices=(), labels=labels)
    if bus.driver == "kafka":
        yield from _kafka_parts(settings, mode, bus)
    elif mode is Mode.CONSUMER:
        bind = bus.bind is not False
        yield _part("sources", "bus", **address, bind=bind, topics=bus.topics, collection=chosen)
    if mode is Mode.CONSUMER and bus.ack_endpoint is not None:
        yield _part("sources", "transfer", endpoint=bus.ack_endpoint, curve=bus.curve)
    if mode is Mode.PRODUCER and bus.ack_endpoint is not None:  # by both ways the consumer had all twice
        name = settings.service.name
        yield _part("sinks", "transfer", endpoint=bus.ack_endpoint, curve=bus.curve, producer=name)
    elif mode is Mode.PRODUCER and bus.driver == "zmq":
        yield _part("sinks", "bus", **address, bind=bus.bind is True, service=settings.service.name)


def _collectors(settings: Settings, mode: Mode, file: str) -> Iterator[Part]:
    folder = Path(file).absolute().parent / COLLECTORS
    if mode is Mode.PRODUCER and settings.collection.custom_metrics and file and folder.is_dir():
        interval, labels = settings.service.interval, {"host": settings.service.name}
        yield _part("sources", "python", directory=str(folder), interval=interval, labels=labels)


def _kafka_parts(settings: Settings, mode: Mode, bus: BusSettings) -> Iterator[Part]:
    cluster = {name: getattr(bus.kafka, name) for name in Connection.model_fields}
    where = {**cluster, "topic": bus.kafka.topic}
    if mode is Mode.CONSUMER:
        chosen = {"group": bus.kafka.group, "topics": bus.topics, "collection": settings.collection}
        yield _part("sources", "bus_kafka", **where, **chosen)
    elif mode is Mode.PRODUCER and bus.ack_endpoint is None:
        yield _part("sinks", "bus_kafka", **where, service=settings.service.name)


def conversions(config: SinkConfig) -> tuple[Part, ...]:
    """Return the processors that a sink has of itself."""
    return tuple(_part("processors", type_name, **settings) for type_name, settings in config.conversions())


def _part(group: str, type_name: str, /, **settings: Any) -> Part:
    """Return a part of settings that are checked already."""
    defaults = registry.load(group, type_name).Config()
    return Part(group, type_name, type_name, defaults.model_copy(update=settings))
