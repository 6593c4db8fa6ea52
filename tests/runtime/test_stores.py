"""Agents whose samples another program keeps: documented settings work, nothing is lost while it is away.

Commands and outputs of docs/storage.md are of what is tested here.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from metricsmith.testing import services
from metricsmith.testing.programs import AgentProgram, eventually
from metricsmith.testing.terminal import alike, shown_on

DOCS = Path(__file__).parents[2] / "docs"

Make = Callable[..., AgentProgram]
BASE = 'server: {{listen: "127.0.0.1:{port}"}}\n'
FAST = "performance: {{flush_interval: 20ms}}\n"


def documented(seed: str, kind: str) -> dict[str, str]:
    """Return the storage section of the document's chapter about a type."""
    begin = seed.index(f'storage:\n  type: "{kind}"\n')
    section: dict[str, str] = yaml.safe_load(seed[begin : seed.index("```", begin)])["storage"]
    return section


@pytest.mark.parametrize("kind", ["influxdb", "prometheus", "file"])
def test_documented_storage_answers(
    kind: str, seed_002: str, agent_program: Make, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    settings = documented(seed_002, kind)
    if kind == "file":
        settings["path"] = str(tmp_path / "metrics")
    else:
        settings |= {"url": request.getfixturevalue(kind).url, "path": str(tmp_path / "data")}
    if kind == "prometheus":
        settings["scrape_interval"] = "100ms"
    agent = agent_program(yaml.safe_dump({"storage": settings}) + FAST, base=BASE)
    agent.start()
    now_ms = time.time_ns() // 1_000_000 // 1000 * 1000
    for i in range(3):
        assert agent.push({"stores_depth": 40.0 + i}, now_ms - 2000 + 1000 * i).status == 201
    eventually(lambda: [series["value"][1] for series in agent.query("stores_depth")] == ["42"])
    labels = agent.query("stores_depth")[0]["metric"]
    assert labels.get("job") == ("plantd" if kind == "prometheus" else None)
    found = agent.get("/api/v1/metrics", service="pusher", metric="stores_depth")["metrics"]
    assert [message["metrics"]["stores_depth"] for message in found] == [42.0, 41.0, 40.0]
    status = agent.get("/storage/status")
    assert (status["type"], status["status"], status["writing"]["name"]) == (kind, "connected", "storage")
    assert [sink["name"] for sink in agent.get("/status")["sinks"]] == ["storage"]
    assert agent.stop() == 0
    assert "Traceback" not in agent.log.text()


ALERTING = """
storage: {{type: prometheus, url: "http://127.0.0.1:%d", path: "{data}", scrape_interval: 100ms}}
rules: {{query_offset: 200ms, interval: 200ms}}
alerts: {{rules: [{{name: deep, metric: stores_away, operator: ">", threshold: 5, duration: 0s}}]}}
"""


def test_server_killed_and_back(agent_program: Make, tmp_path: Path) -> None:
    port, now_ms = services.free_port(), time.time_ns() // 1_000_000
    agent = agent_program(ALERTING % port, base=BASE)

    def firing() -> bool:
        found = agent.get("/api/v1/alerts")["data"]["alerts"]
        return [alert["state"] for alert in found] == ["firing"]

    with services.prometheus(tmp_path / "server", port=port) as server:
        agent.start()
        for i in range(10):
            assert agent.push({"stores_away": 10.0 + i}, now_ms - 60_000 + 100 * i).status == 201
        eventually(firing)
        server.process.kill()
        server.process.wait()
    for i in range(10, 200):
        assert agent.push({"stores_away": 10.0 + i}, now_ms - 60_000 + 100 * i).status == 201
    refused = agent.ask("/api/v1/query?query=stores_away")
    assert (refused.status, "Connection refused" in refused.text) == (503, True)
    rounds = agent.own("metricsmith_rule_evaluation_failures_total")
    eventually(lambda: agent.own("metricsmith_rule_evaluation_failures_total") > rounds + 2)
    assert firing()  # nobody could look: that ends no alert
    eventually(lambda: agent.get("/status")["storage_status"] == "error")
    agent.kill()  # and what waits outlives us
    agent.start()
    assert agent.push({"stores_away": 210.0}, now_ms - 60_000 + 100 * 200).status == 201
    with services.prometheus(tmp_path / "server", port=port):
        wanted = [(now_ms - 60_000 + 100 * i, 10.0 + i) for i in range(201)]
        eventually(lambda: agent.get("/storage/status")["writing"]["behind_batches"] == 0)
        assert agent.samples("stores_away") == wanted
        eventually(firing)
        eventually(lambda: agent.get("/status")["storage_status"] == "connected")
        assert agent.stop() == 0


def test_server_without_receiver_names_what_to_set(agent_program: Make, tmp_path: Path) -> None:
    with services.prometheus(tmp_path / "server", receiver=False) as server:
        agent = agent_program(ALERTING % int(server.url.rpartition(":")[2]), base=BASE)
        agent.start()
        agent.push({"stores_away": 1.0})
        status = eventually(lambda: (found := agent.get("/storage/status"))["status"] == "error" and found)
        assert "--web.enable-remote-write-receiver" in status["detail"]
        shown = shown_on(DOCS / "storage.md", "curl http://127.0.0.1:9480/storage/status")
        assert alike(shown, agent.ask("/storage/status").text)
        (warning,) = agent.get("/status")["warnings"]
        assert "--web.enable-remote-write-receiver" in warning and "storage.push: false" in warning
        assert agent.stop() == 0


SCRAPED = """
storage: {{type: prometheus, url: "http://127.0.0.1:1", path: "{data}", push: false, metrics_path: /plant}}
server: {{listen: "127.0.0.1:{port}", metrics: {{collected: true, prefix: plant_}}}}
"""


def test_server_that_scrapes_instead(agent_program: Make) -> None:
    agent = agent_program(SCRAPED, base="")
    agent.start()
    assert agent.push({"stores_level": 3.0}).status == 201
    for path in ("/plant", "/metrics"):  # the server is away: what passes is shown all the same
        page = agent.ask(path).text
        assert 'plant_stores_level{service="pusher"} 3' in page.splitlines()
        assert page.count("metricsmith_build_info{") == 1
    status = agent.get("/storage/status")
    assert (status["status"], "writing" in status) == ("error", False)
    assert agent.get("/status")["sinks"] == []
    assert agent.stop() == 0


PUSHED = 'storage: {{type: prometheus, url: "%s", path: "{data}", scrape_interval: 100ms}}\n'


def test_what_the_embedded_store_had_not_on_disk_goes_to_the_next_one(
    agent_program: Make, prometheus: services.Server
) -> None:
    agent = agent_program()
    agent.start()
    now_ms = time.time_ns() // 1_000_000
    assert agent.push({"stores_moved": 1.0}, now_ms - 5000).status == 201
    agent.kill()
    agent.config = BASE + PUSHED % prometheus.url
    agent.start()
    assert agent.push({"stores_moved": 2.0}, now_ms).status == 201
    wanted = [(now_ms - 5000, 1.0), (now_ms, 2.0)]
    eventually(lambda: agent.samples("stores_moved") == wanted)
    assert agent.stop() == 0


BACKFILLED = """
groups:
- name: back
  rules:
  - {record: "stores_back:double", expr: 2 * stores_back}
  - {record: "stores_back:sum", expr: "sum(stores_back)"}
"""


def test_history_of_rules_is_readable_when_it_is_told_to_be(
    agent_program: Make, prometheus: services.Server
) -> None:
    agent = agent_program(PUSHED % prometheus.url, base=BASE)
    agent.start()
    now_ms = time.time_ns() // 60_000_000_000 * 60_000
    for i in range(6):
        agent.push({"stores_back": float(i)}, now_ms - 60_000 * (5 - i))
    eventually(lambda: len(agent.samples("stores_back")) == 6)
    request = {"file": "back.yml", "rules": BACKFILLED, "group": "back", "interval_ms": 60_000}
    span = {"start_ms": now_ms - 300_000, "end_ms": now_ms}
    answer = agent.post("/api/v1/rules/backfill", request | span)
    assert answer.status == 200, answer.text
    found = agent.query('{__name__=~"stores_back:.+"}[4h]')
    assert sorted(len(series["values"]) for series in found) == [5, 5], answer.text
    assert agent.stop() == 0


RECORDING = """
storage: {{type: file, path: "{data}"}}
rules: {{files: ['{data}/../rules.yml'], interval: 100ms%s}}
"""


@pytest.mark.parametrize(("chosen", "least_s"), [("", 4.0), (", query_offset: 500ms", 0.5)])
def test_rules_look_back_until_samples_are_written(chosen: str, least_s: float, agent_program: Make) -> None:
    agent = agent_program(RECORDING % chosen + FAST, base=BASE)
    (agent.folder / "rules.yml").write_text(
        "groups: [{name: a, rules: [{record: stores_one, expr: vector(1)}]}]"
    )
    started_s = time.time()
    agent.start()
    newest = eventually(lambda: max((time_ms for time_ms, _ in agent.samples("stores_one")), default=0))
    assert newest / 1000 <= time.time() - least_s
    assert newest / 1000 >= started_s - least_s - 0.1
    assert agent.stop() == 0
