"""A message bus in Kafka before it is used: the cluster lets us in, and has the topic."""

from __future__ import annotations

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
    limit_ms = min(settings.timeout, int(findings.timeout_s * 400))  # to connect, then to ask
    shorter = settings.model_copy(update={"timeout": limit_ms})
    await in_thread(name, lambda: _examine(shorter, findings))


def _examine(settings: KafkaBus, findings: Findings) -> None:
    from kafka.admin import KafkaAdminClient
    from kafka.errors import KafkaError

    about = ", ".join(settings.bootstrap_servers)
    hint = "check addresses, tls and sasl, and that the user may Describe the topic"
    try:
        admin = KafkaAdminClient(**login_options(settings), bootstrap_timeout_ms=settings.timeout)
    except (KafkaError, OSError, ValueError) as error:
        findings.problem(about, f"{type(error).__name__}: {error}", "a broker that lets us in", hint)
        return
    try:
        topics = admin.describe_topics()  # of all: asked for by its name, a topic may be made by that
    except (KafkaError, OSError, ValueError) as error:
        findings.problem(about, f"{type(error).__name__}: {error}", "a list of topics", hint)
        return
    finally:
        admin.close()
    about = f"topic {settings.topic}"
    found = next((topic for topic in topics if topic.get("name") == settings.topic), None)
    if found is None:
        hint = "make it, with as many partitions as there may be consumers, or allow us to Describe it"
        findings.problem(about, f"not among the {len(topics)} that we are shown", "a topic", hint)
    else:
        findings.ok(about, f"{len(found.get('partitions', ()))} partitions")
