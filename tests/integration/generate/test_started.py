"""What is generated from one file works: producers on nodes reach the consumer, alerts see the nodes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from metricsmith.integration.generate.configured import Configured
from metricsmith.integration.generate.image import DEFAULT
from metricsmith.integration.generate.kubernetes import kubernetes
from metricsmith.integration.generate.roles import DATA, FILE
from metricsmith.testing.programs import AgentProgram, eventually
from metricsmith.testing.services import free_port

Configure = Callable[..., Configured]

# That of the metric module's document, with an address for the acknowledged transfer.
CONFIG = """
service: {{type: consumer, interval: 1s}}
bus: {{endpoint: "tcp://localhost:{bus}", ack_endpoint: "tcp://localhost:{transfer}"}}
server: {{listen: "127.0.0.1:9480"}}
alerts: {{rules: [{{name: any_cpu, metric: cpu_usage, threshold: -1, operator: ">"}}]}}
rules: {{interval: 1s}}
"""


def program(folder: Path, text: str, **environment: str) -> AgentProgram:
    """Return an agent with the configuration of a pod, on this machine."""
    folder.mkdir()
    text = text.replace("{", "{{").replace("}", "}}").replace("0.0.0.0", "127.0.0.1")
    text = text.replace("tcp://metricsmith:", "tcp://127.0.0.1:").replace(
        "127.0.0.1:9480", "127.0.0.1:{port}"
    )
    return AgentProgram(folder, text.replace(DATA, "{data}"), environment=environment)


@pytest.mark.parametrize("nodes", [2])
def test_the_consumer_sees_every_node_and_alerts_on_it(
    configure: Configure, tmp_path: Path, nodes: int
) -> None:
    config = CONFIG.format(bus=free_port(), transfer=free_port())
    documents = yaml.safe_load_all(
        kubernetes(configure(config), DEFAULT, "metricsmith").files["configmap.yaml"]
    )
    texts = {document["metadata"]["name"]: document["data"][FILE] for document in documents}
    consumer = program(tmp_path / "consumer", texts["metricsmith"])
    names = [f"node-{number}" for number in range(nodes)]
    producers = [program(tmp_path / n, texts["metricsmith-producer"], NODE_NAME=n) for n in names]
    for agent in (consumer, *producers):
        agent.start()
    try:
        wanted = {(name, "system") for name in names}
        eventually(
            lambda: wanted == {_node(s) for s in consumer.query('cpu_usage_percent{service="system"}')}
        )
        fired = 'ALERTS{alertname="any_cpu", alertstate="firing", service="system"}'
        eventually(lambda: wanted == {_node(s) for s in consumer.query(fired)}, 60)
    finally:
        ended = [agent.stop() for agent in (*producers, consumer)]
    assert ended == [0] * (nodes + 1)


def _node(series: dict[str, dict[str, str]]) -> tuple[str, str]:
    return series["metric"]["host"], series["metric"]["service"]
