"""A message bus in Kafka before it is used: the cluster lets us in, and has the topic."""

from __future__ import annotations

import logging
from typing import Any

from metricsmith.model.findings import Findings
from metricsmith.net.kafka_bus import KafkaBus, unavailable_without_extra
from metricsmith.net.kafka_login import login_options
from metricsmith.net.threads import in_thread


async def examine_topic(settings: KafkaBus, name: str, findings: Findings) -> None:
    """Tell whether the topic is there; no message is read or written.

    Raises:
        SourceError: kafka-python is not installed.
    """
    unavailable_without_extra()
    limit_ms = findings.within_ms(settings.timeout * 2) // 2  # to connect, then to ask
    shorter = settings.model_copy(update={"timeout": limit_ms})
    await in_thread(name, lambda: _examine(shorter, findings))


def _examine(settings: KafkaBus, findings: Findings) -> None:
    about = ", ".join(settings.bootstrap_servers)
    try:
        partitions = _partitions(settings)
    except Exception as error:  # the library raises errors of many kinds, and some of its own helpers'
        hint = "check addresses, tls and sasl"
        findings.problem(about, f"{type(error).__name__}: {error}", "a broker that lets us in", hint)
        return
    about = f"topic {settings.topic}"
    if settings.topic in partitions:
        findings.ok(about, f"{partitions[settings.topic]} partitions")
    else:
        hint = "make it, with as many partitions as there may be consumers, or allow us to Describe it"
        findings.problem(about, f"not among the {len(partitions)} that we are shown", "a topic", hint)


def _partitions(settings: KafkaBus) -> dict[str, int]:
    """Return the number of partitions of each topic; none is made by the question.

    kafka-python's admin client leaves a thread and sockets behind where no
    broker answers, so its lower layer is used, as `sources.kafka.client` does.
    """
    from kafka.net import KafkaConnectionManager, NetworkSelector
    from kafka.protocol.metadata import MetadataRequest

    logging.getLogger("kafka").setLevel(logging.CRITICAL)  # an error per lost connection
    limits = dict.fromkeys(
        ("socket_connection_setup_timeout_ms", "socket_connection_setup_timeout_max_ms"), settings.timeout
    )
    net = NetworkSelector()
    manager = KafkaConnectionManager(net, **login_options(settings), **limits)

    async def ask() -> Any:
        request = MetadataRequest(topics=None, allow_auto_topic_creation=False)
        asked = manager.send(request, node_id=None, request_timeout_ms=settings.timeout)
        return await manager.wait_for(asked, settings.timeout)

    try:
        manager.bootstrap(settings.timeout)
        return {
            topic.name: len(topic.partitions) for topic in manager.run(ask).topics if not topic.error_code
        }
    finally:
        manager.close()
        net.close()
