"""The shipped examples, each run as it is but for addresses and intervals, and what then arrives."""

from __future__ import annotations

import json
import re
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from metricsmith.config.load import load_text
from metricsmith.testing.newrelic_server import NewRelicServer, newrelic_server
from metricsmith.testing.programs import AgentProgram, eventually
from metricsmith.testing.services import Server
from metricsmith.testing.targets import Target

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))
FAST = """\
server: {listen: "127.0.0.1:@port"}
storage: {path: "@data"}
performance: {flush_interval: 100ms}
rules: {interval: 500ms}
"""
ENVIRONMENT = {"NEW_RELIC_LICENSE_KEY": "a-licence-key"}
PAGE = """# TYPE orders_created_total counter
orders_created_total 7
# TYPE orders_failed_total counter
orders_failed_total{reason="payment_declined"} 500
# TYPE simulated_latency_ms gauge
simulated_latency_ms 12.5
"""
Start = Callable[[str, Mapping[str, str]], AgentProgram]


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_it_loads_and_is_where_people_look(file: Path) -> None:
    text = file.read_text()
    (sink,) = load_text(text, file.name, ENVIRONMENT).of("sinks")
    page, *_ = re.findall(r"docs/[a-z-]+\.md", text)
    assert (ROOT / page).is_file() and f"type: {sink.type}" in (ROOT / page).read_text()
    assert f"](examples/{file.name})" in (ROOT / "README.md").read_text()
    assert f"metricsmith run -c examples/{file.name}" in text
    assert page == "docs/files.md" or f"metricsmith sink test {sink.name}" in text or file.stem == "oci"


@pytest.fixture
def start(tmp_path: Path, target: Target) -> Iterator[Start]:
    """Start an agent with an example, some of whose texts are replaced."""
    programs: list[AgentProgram] = []
    target.text = PAGE

    def go(name: str, replaced: Mapping[str, str]) -> AgentProgram:
        text = FAST + re.sub(r"interval: (15|30)s", "interval: 300ms", (ROOT / "examples" / name).read_text())
        for documented, here in {"http://localhost:3000/metrics": target.url, **replaced}.items():
            assert documented in text, "the example is as documented"
            text = text.replace(documented, here)
        braces = (
            text.replace("{", "{{").replace("}", "}}").replace("@port", "{port}").replace("@data", "{data}")
        )
        programs.append(AgentProgram(tmp_path, braces, environment=ENVIRONMENT))
        programs[-1].start()
        return programs[-1]

    yield go
    for program in programs:
        assert program.stop() == 0


def _json(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=60) as answer:
        return json.loads(answer.read())


@pytest.fixture
def far() -> Iterator[NewRelicServer]:
    with newrelic_server(key=ENVIRONMENT["NEW_RELIC_LICENSE_KEY"], account=1_234_567) as server:
        yield server


def test_newrelic(start: Start, far: NewRelicServer) -> None:
    addresses = f"region: us\n    endpoint: {far.metrics_url}\n    event_endpoint: {far.events_url}\n    #"
    start("newrelic.yaml", {"region: us ": addresses, "duration: 5m": "duration: 0s"})
    (latency, *_) = eventually(lambda: far.named("simulated_latency_ms"))
    assert (latency.type, latency.value, latency.attributes["env"]) == ("gauge", 12.5, "production")
    grown = eventually(lambda: far.named("orders_created_total"))
    assert {(p.type, p.value) for p in grown} == {("count", 0.0)}
    assert eventually(lambda: far.named("memory_usage_percent"))
    (alert, *_) = eventually(lambda: far.events)
    assert (alert["alertname"], alert["state"], alert["category"]) == ("orders_fail", "firing", "alert")
    assert far.dropped == []


def test_prometheus(start: Start, prometheus: Server) -> None:
    start("prometheus.yaml", {"http://localhost:9090": prometheus.url})
    query = urllib.parse.quote('orders_failed_total{site="plant-7"}')
    (found,) = eventually(lambda: _json(f"{prometheus.url}/api/v1/query?query={query}")["data"]["result"])
    assert found["value"][1] == "500" and found["metric"]["reason"] == "payment_declined"


def test_otlp(start: Start, agent_program: Callable[..., AgentProgram]) -> None:
    receiver = agent_program()
    receiver.start()
    start("otlp.yaml", {"http://localhost:4318": receiver.url})
    (found,) = eventually(lambda: receiver.query("simulated_latency_ms"))
    assert found["value"][1] == "12.5"


def test_influxdb(start: Start, influxdb: Server) -> None:
    start(
        "influxdb.yaml",
        {"http://localhost:8086": influxdb.url, "database: shop_metrics": "database: examples"},
    )
    query = urllib.parse.quote("SELECT last(orders_created_total) FROM shop_metrics")
    (found,) = eventually(
        lambda: _json(f"{influxdb.url}/query?db=examples&q={query}")["results"][0].get("series")
    )
    assert found["values"][0][1] == 7


def test_files(start: Start, tmp_path: Path) -> None:
    folder = tmp_path / "files"
    start("files.yaml", {"/tmp/shop-files\n": f"{folder}\n"})

    def lines() -> list[dict[str, Any]]:
        texts = [file.read_text() for file in folder.glob("*.current.json")]
        return [json.loads(line) for text in texts for line in text.splitlines()]

    found = eventually(lambda: [line for line in lines() if line["name"] == "simulated_latency_ms"])
    assert {line["value"] for line in found} == {12.5}
