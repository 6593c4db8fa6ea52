"""The `bus_kafka` source: metric messages from a Kafka topic, which several consumers of a group share."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Mapping
from typing import Any, ClassVar

import orjson

from metricsmith.contracts import Context, Emit
from metricsmith.model.findings import Findings
from metricsmith.model.targets import PoolStatus
from metricsmith.net.kafka_bus import ConsumedBus, unavailable_without_extra
from metricsmith.net.kafka_login import login_options
from metricsmith.net.threads import in_thread_until
from metricsmith.sources.bus.reading import MessageReader, MessageSettings
from metricsmith.wire.bus import TOPIC_PREFIX

log = logging.getLogger(__name__)

POLL_MS = 100
RETRY_S = 5.0


class KafkaBusConfig(MessageSettings, ConsumedBus):
    """Settings of a `bus_kafka` source. Offsets are committed when the samples are durable: at least once."""


class KafkaBusSource:
    """Receives in a thread of its own.

    A message that comes again, after a crash or when a partition moves, gives
    the same samples again, which replace themselves.
    """

    Config: ClassVar[type[KafkaBusConfig]] = KafkaBusConfig

    @classmethod
    async def examine(cls, config: KafkaBusConfig, context: Context, findings: Findings) -> None:
        """Connect, and look for the topic."""
        from metricsmith.net.kafka_examination import examine_topic

        await examine_topic(config, context.name, findings)

    def __init__(self, config: KafkaBusConfig, context: Context) -> None:
        unavailable_without_extra()
        self._config, self._context = config, context
        self._reader = MessageReader(config, context)
        self.seen, self.recent = self._reader.seen, self._reader.recent

    def targets(self) -> PoolStatus:
        """Return each topic with the time of its last message."""
        return PoolStatus(self._context.name, tuple(self.seen.targets(self._context.name)))

    async def run(self, emit: Emit, stop: asyncio.Event) -> None:
        """Receive until `stop` is set."""
        loop = asyncio.get_running_loop()
        await in_thread_until(self._context.name, lambda ending: self._receive(emit, loop, ending), stop)

    # What follows runs in the thread.

    def _receive(self, emit: Emit, loop: asyncio.AbstractEventLoop, ending: threading.Event) -> None:
        from kafka.errors import KafkaError

        from metricsmith.sources.kafka.client import KafkaUnavailable

        while not ending.is_set():
            try:
                self._consume(emit, loop, ending)
            except (KafkaError, KafkaUnavailable) as error:
                self._problem(f"{type(error).__name__}: {error}")
                ending.wait(RETRY_S)

    def _consume(self, emit: Emit, loop: asyncio.AbstractEventLoop, ending: threading.Event) -> None:
        from kafka import KafkaConsumer

        from metricsmith.sources.kafka.client import Client

        Client(self._config).close()  # a consumer that finds no broker leaves a thread behind
        consumer = KafkaConsumer(
            self._config.topic,
            group_id=self._config.group,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            max_poll_records=self._config.batch_messages,
            bootstrap_timeout_ms=self._config.timeout,
            **login_options(self._config),
        )
        try:
            while not ending.is_set():
                self._take(consumer, emit, loop, ending)
        finally:
            consumer.close(autocommit=False)

    def _take(
        self, consumer: Any, emit: Emit, loop: asyncio.AbstractEventLoop, ending: threading.Event
    ) -> None:
        """Receive once, hand on, and only then commit."""
        found: Mapping[Any, list[Any]] = consumer.poll(timeout_ms=POLL_MS)
        if not found:
            return
        batch = self._reader.batch(_frames(record.value) for records in found.values() for record in records)
        if len(batch):
            accepting = self._reader.hand_on(batch, emit, loop)
            if not self._reader.until_accepted(accepting, emit, loop, ending):
                return
        consumer.commit({partition: _behind(records[-1]) for partition, records in found.items()})

    def _problem(self, message: str) -> None:
        self._context.telemetry.problem(
            log,
            "metricsmith_source_failures_total",
            f"{self._context.name}: {message}; tried again",
            source=self._context.name,
            reason="kafka",
        )


def _behind(record: Any) -> Any:
    from kafka.structs import OffsetAndMetadata

    return OffsetAndMetadata(record.offset + 1, "", -1)


def _frames(body: bytes | None) -> list[bytes]:
    """Return what a message is on a bus with topics; one without a service is for the reader to refuse."""
    body = body or b""
    try:
        service = str(orjson.loads(body)["service"])
    except (orjson.JSONDecodeError, TypeError, KeyError):
        service = ""
    return [f"{TOPIC_PREFIX}{service}".encode(), body]
