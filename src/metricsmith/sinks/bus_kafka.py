"""The `bus_kafka` sink: metric messages to a Kafka topic, partitioned by series."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

from pydantic import Field

from metricsmith.contracts import Compressing, Context, Delivery, SinkConfig, SinkTraits
from metricsmith.errors import RetryLater, TooLarge
from metricsmith.model.findings import Findings
from metricsmith.model.settings_types import DurationMs
from metricsmith.net.kafka_bus import KafkaBus, unavailable_without_extra
from metricsmith.net.kafka_login import login_options
from metricsmith.net.threads import in_thread
from metricsmith.wire.bus import MessageEncoder

LINGER_MS = 5


class KafkaBusSinkConfig(SinkConfig, Compressing, KafkaBus):
    """Settings of a `bus_kafka` sink. Messages are delivered when all replicas in sync have them."""

    flush_interval: DurationMs | None = Field(0, ge=0, le=3_600_000, description="Wait for a full batch.")
    service: str = Field(
        "",
        max_length=200,
        description="Service of series without a `service` label; default `service.name`.",
    )


class KafkaBusSink:
    """Writes each batch as messages, one per service, tags and time; these decide the partition.

    A batch of which a part failed is written again whole: the same samples
    twice replace themselves at the consumer.
    """

    Config: ClassVar[type[KafkaBusSinkConfig]] = KafkaBusSinkConfig
    traits: ClassVar[SinkTraits] = SinkTraits(whole=True)  # the order of a series is that of the journal

    @classmethod
    async def examine(cls, config: KafkaBusSinkConfig, context: Context, findings: Findings) -> None:
        """Connect, and look for the topic."""
        from metricsmith.net.kafka_examination import examine_topic

        await examine_topic(config, context.name, findings)

    def __init__(self, config: KafkaBusSinkConfig, context: Context) -> None:
        unavailable_without_extra()
        self._config, self._name = config, context.name
        self._encoder = MessageEncoder(context.series, config.service or context.name)
        self._producer: Any = None  # made by the first send: the brokers may be away

    async def send(self, delivery: Delivery) -> None:
        """Write messages; return when all of them are acknowledged."""
        messages = [m for batch in delivery.batches for m in self._encoder.keyed(batch)]
        await in_thread(self._name, lambda: self._write(messages))

    async def close(self) -> None:
        """Close the connections."""
        if self._producer is not None:
            await asyncio.to_thread(self._producer.close, timeout=1)

    def _write(self, messages: list[tuple[bytes, bytes]]) -> None:
        from kafka import KafkaProducer
        from kafka.errors import KafkaError, MessageSizeTooLargeError

        limit_s = self._config.timeout / 1000
        try:
            if self._producer is None:
                self._producer = KafkaProducer(
                    acks="all",
                    linger_ms=LINGER_MS,
                    compression_type="gzip" if self._config.compression else None,
                    max_block_ms=self._config.timeout,
                    bootstrap_timeout_ms=self._config.timeout,
                    delivery_timeout_ms=2 * self._config.timeout,
                    **login_options(self._config),
                )
            sent = [self._producer.send(self._config.topic, body, key=key) for key, body in messages]
            self._producer.flush(timeout=2 * limit_s)
            for each in sent:
                each.get(timeout=limit_s)
        except MessageSizeTooLargeError as error:
            raise TooLarge(f"the broker refuses messages of that size: {error}") from None
        except KafkaError as error:
            raise RetryLater(f"{type(error).__name__}: {error}", reason="kafka") from None
