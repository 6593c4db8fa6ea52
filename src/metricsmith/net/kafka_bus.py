"""Settings of a message bus in Kafka."""

from __future__ import annotations

from importlib.util import find_spec

from pydantic import Field

from metricsmith.errors import SourceError
from metricsmith.net.kafka_settings import Connection


class KafkaBus(Connection):
    """Where the messages are: one topic, whose partitions share them by series."""

    topic: str = Field(
        "metrics",
        pattern=r"^[A-Za-z0-9._-]{1,249}$",
        description="Kafka topic. Make it with as many partitions as there may be consumers.",
    )


class ConsumedBus(KafkaBus):
    """What a consumer must know besides."""

    group: str = Field(
        "metricsmith", min_length=1, max_length=249, description="Consumer group: its members share the load."
    )


def unavailable_without_extra() -> None:
    """Raise if kafka-python is not installed.

    Raises:
        SourceError: it is not; says what to install.
    """
    if find_spec("kafka") is None:
        raise SourceError(
            "the Kafka bus needs kafka-python 3, which is not installed;"
            " install it with: pip install 'metricsmith[kafka]'"
        )
