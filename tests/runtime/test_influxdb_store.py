"""An agent that keeps its samples in InfluxDB: the storage sections of the documents, as they stand there."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from metricsmith.testing import services
from metricsmith.testing.programs import AgentProgram, eventually

Make = Callable[..., AgentProgram]
BASE = """server: {{listen: "127.0.0.1:{port}"}}
storage:
  path: "{data}"
  type: "influxdb"
  url: "URL"
  database: "plantd_metrics"
  username: "plantd"
  password: "password"
  retention: "30d"
"""
SECONDS = '  precision: "s"\n'


def _get(agent: AgentProgram, path: str, **query: Any) -> Any:
    with urllib.request.urlopen(f"{agent.url}{path}?{urllib.parse.urlencode(query)}", timeout=60) as answer:
        return json.load(answer)


def _post(agent: AgentProgram, service: str, at_s: float, **metrics: float) -> None:
    stamp = datetime.fromtimestamp(at_s, UTC).isoformat()
    body = {"service": service, "timestamp": stamp, "metrics": metrics, "tags": {"environment": "test"}}
    request = urllib.request.Request(
        f"{agent.url}/api/v1/metrics", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    urllib.request.urlopen(request, timeout=60).close()


def _value(agent: AgentProgram, query: str) -> float | None:
    found = _get(agent, "/api/v1/query", query=query)["data"]["result"]
    return float(found[0]["value"][1]) if found else None


@pytest.mark.parametrize("more", ["", SECONDS])
def test_the_documents_storage_answers(agent_program: Make, influxdb: services.Server, more: str) -> None:
    agent = agent_program(base=BASE.replace("URL", influxdb.url) + more)
    agent.start()
    service, now_s = f"system{len(more)}", time.time()
    for step in range(10):
        _post(agent, service, now_s - 60 + step * 6, cpu_usage_percent=40 + step, memory_usage_percent=70)
    eventually(lambda: _value(agent, f'count_over_time(cpu_usage_percent{{service="{service}"}}[1h])') == 10)
    assert _value(agent, f'max_over_time(cpu_usage_percent{{service="{service}"}}[1h])') == 49
    listed = _get(agent, "/api/v1/metrics", metric="cpu_usage_percent", service=service)["metrics"]
    assert [each["metrics"]["cpu_usage_percent"] for each in listed] == [49 - step for step in range(10)]
    assert listed[0]["tags"] == {"environment": "test"}
    buckets = _get(
        agent, "/api/v1/metrics/aggregate", metric="memory_usage", service=service, interval="5m", func="avg"
    )
    assert "70" in json.dumps(buckets)
    status = _get(agent, "/storage/status")
    assert {name: status[name] for name in ("type", "status", "database", "retention")} == {
        "type": "influxdb",
        "status": "connected",
        "database": "plantd_metrics",
        "retention": "30d",
    }
    assert status["disk_usage"]
    form = urllib.parse.urlencode(
        {
            "q": f"SELECT mean(cpu_usage_percent) FROM {service}_metrics"
            " WHERE time >= now() - 1h GROUP BY time(1m)",
            "db": "plantd_metrics",
        }
    )
    with urllib.request.urlopen(f"{influxdb.url}/query?{form}", timeout=60) as answer:
        rows = json.load(answer)["results"][0]["series"][0]["values"]
    assert any(mean is not None for _, mean in rows)
    assert agent.stop() == 0


def test_a_server_that_is_away_gets_everything_when_it_is_back(agent_program: Make, tmp_path: Path) -> None:
    port, folder = services.free_port(), tmp_path / "influx"
    agent = agent_program(base=BASE.replace("URL", f"http://127.0.0.1:{port}") + '  precision: "ms"\n')
    agent.start()
    now_s = time.time()

    def post(first: int, last: int) -> None:
        for at in range(first, last):
            _post(agent, "web", now_s - 100 + at, hits=at)

    post(0, 20)
    with pytest.raises(urllib.error.HTTPError) as caught:
        _get(agent, "/api/v1/query", query="hits")
    with caught.value as error:
        assert error.code == 503
        assert "Connection refused" in error.read().decode()
    assert _get(agent, "/storage/status")["status"] == "error"
    with services.influxdb(folder, port):
        eventually(lambda: _value(agent, "count_over_time(hits[1h])") == 20, 60)
        post(20, 30)
        eventually(lambda: _value(agent, "count_over_time(hits[1h])") == 30)
    post(30, 40)
    agent.kill()
    agent.start()
    post(40, 50)
    with services.influxdb(folder, port):
        eventually(lambda: _value(agent, "count_over_time(hits[1h])") == 50, 60)
        assert _value(agent, "sum_over_time(hits[1h])") == sum(range(50))
