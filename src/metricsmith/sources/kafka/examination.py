"""The kafka source before it runs: the cluster lets us in, and lets us see what is asked for."""

from __future__ import annotations

from metricsmith.model.findings import Findings
from metricsmith.net.threads import in_thread
from metricsmith.sources.kafka.admin import Trouble, groups, log_dirs, topic_configs, topology
from metricsmith.sources.kafka.client import Client, Failure, KafkaUnavailable
from metricsmith.sources.kafka.settings import KafkaConfig

_NEEDED = {
    "metadata": "Describe on the topics",
    "groups": "Describe on the groups and the cluster",
    "log_dirs": "Describe on the cluster",
    "configs": "DescribeConfigs on the topics",
}
"""What the principal must be allowed, by what is read."""


async def examine(config: KafkaConfig, name: str, findings: Findings) -> None:
    """Tell of the cluster, and of each kind of reading."""
    limit_ms = findings.within_ms(config.timeout * 2) // 2  # the first connection, then a question
    await in_thread(name, lambda: _examine(config.model_copy(update={"timeout": limit_ms}), findings))


def _examine(config: KafkaConfig, findings: Findings) -> None:
    about = ", ".join(config.bootstrap_servers)
    try:
        client = Client(config)
    except (KafkaUnavailable, OSError, ValueError) as error:
        findings.problem(about, str(error), "a broker that lets us in", "check addresses, tls and sasl")
        return
    try:
        _read(client, config, about, findings)
    finally:
        client.close()


def _read(client: Client, config: KafkaConfig, about: str, findings: Findings) -> None:
    found = topology(client)
    if isinstance(found, Failure):
        findings.problem(about, found.message, "metadata of the cluster", _NEEDED["metadata"])
        return
    chosen = sorted(
        {p.topic for p in found.partitions if config.topics.wants(p.topic)} - found.internal_topics
    )
    findings.ok(about, f"{len(found.brokers)} brokers, {len(chosen)} topics by {config.protocol()}")
    troubles = list(found.troubles)
    brokers = [broker.node_id for broker in found.brokers]
    seen = groups(client, brokers, config.max_groups, config.groups.wants)
    troubles += seen.troubles
    if not seen.troubles:
        findings.ok("groups", f"{len(seen.found)}")
    if config.log_dirs_interval:
        _, more = log_dirs(client, brokers)
        troubles += more
        if not more:
            findings.ok("log dirs", f"of {len(brokers)} brokers")
    if config.configs_interval:
        _, more = topic_configs(client, chosen[:1])
        troubles += more
        if not more:
            findings.ok("topic settings", "may be read")
    for trouble in troubles:
        _tell(trouble, findings)


def _tell(trouble: Trouble, findings: Findings) -> None:
    tell = findings.problem if trouble.reason == "not_authorized" else findings.warning
    hint = f"allow {_NEEDED[trouble.part]}" if trouble.part in _NEEDED else ""
    tell(trouble.part, trouble.message, "an answer", hint)
