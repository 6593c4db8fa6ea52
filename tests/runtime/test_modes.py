"""Producer and consumer are two programs that the documented configuration file starts."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from metricsmith.testing.programs import AgentProgram, eventually
from metricsmith.testing.services import free_port

Make = Callable[..., AgentProgram]


def test_the_documented_file_starts_both_sides_and_the_consumer_answers(
    agent_program: Make, seed_002: str
) -> None:
    start = seed_002.index("# config/metric.yaml")
    text = seed_002[start : seed_002.index("```", start)]
    bus = f"tcp://127.0.0.1:{free_port()}"

    def side(mode: str) -> AgentProgram:
        agent = agent_program(base=text)
        agent.environment = {
            "PLANTD_MODULE_METRIC_TYPE": mode,
            "PLANTD_MODULE_METRIC_BUS_ENDPOINT": bus,
            "PLANTD_MODULE_METRIC_INTERVAL": "200ms",
            "METRICSMITH_STORAGE_TYPE": "embedded",
            "METRICSMITH_STORAGE_PATH": str(agent.data),
            "METRICSMITH_SERVER_LISTEN": f"127.0.0.1:{agent.port}",
            "METRICSMITH_SERVICE_NAME": f"the-{mode}",
        }
        agent.start()
        return agent

    consumer, producer = side("consumer"), side("producer")
    assert consumer.get("/status")["mode"] == "consumer"
    assert producer.get("/status")["mode"] == "producer"

    def recent() -> Any:
        return consumer.get("/api/v1/metrics", metric="cpu_usage", service="system")["metrics"]

    newest = eventually(recent)[0]
    assert set(newest["metrics"]) == {"cpu_usage_percent"} and newest["tags"] == {"host": "the-producer"}
    messages = consumer.get("/api/v1/metrics", service="system", limit="50")["metrics"]
    # Beside the host's there are the alerts of the file's rules, which are series too.
    names = next(set(each["metrics"]) for each in messages if "cpu_usage_percent" in each["metrics"])
    assert names == {
        *("cpu_usage_percent", "memory_usage_bytes", "memory_usage_percent", "disk_usage_bytes"),
        *("disk_usage_percent", "network_rx_bytes", "network_tx_bytes", "process_count"),
        *("load_average_1m", "load_average_5m", "load_average_15m"),
    }
    mean = consumer.get("/api/v1/metrics/aggregate", metric="cpu_usage", interval="5m", func="avg")
    assert 0 <= mean["series"][0]["buckets"][-1]["value"] <= 100
    up: Any = eventually(
        lambda: consumer.get("/api/v1/metrics", service="the-producer", metric="queue_depth")["metrics"]
    )
    assert up[0]["service"] == "the-producer"
    eventually(lambda: consumer.query('message_count{service="the-consumer"}'))

    command = [sys.executable, "-m", "metricsmith", "tail", "metrics.sys*", "--url", consumer.url]
    shown = subprocess.run(
        [*command, "--count", "2", "--for", "60s", "--json"], capture_output=True, text=True, check=True
    )
    messages = [json.loads(line) for line in shown.stdout.splitlines()]
    assert [each["topic"] for each in messages] == ["metrics.system"] * 2
    assert "cpu_usage_percent" in messages[0]["message"]["metrics"]
    (sink,) = producer.get("/status")["sinks"]
    assert (sink["name"], sink["type"], sink["state"]) == ("bus", "bus", "ok")
    assert sink["delivered_samples"] > 0

    # A consumer that comes back is found again by the producer.
    consumer.stop()
    consumer.start()
    began_ms = time.time() * 1000
    eventually(
        lambda: any(
            at_ms > began_ms for at_ms, _ in consumer.samples('cpu_usage_percent{host="the-producer"}')
        )
    )
