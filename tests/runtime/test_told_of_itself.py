"""What a running agent tells of its targets, settings and state, in Prometheus' words."""

from __future__ import annotations

import gzip
import http.client
from collections.abc import Callable
from typing import Any

import yaml

from metricsmith.testing.programs import AgentProgram, eventually
from metricsmith.testing.targets import Target

Make = Callable[..., AgentProgram]
SOURCE = """
sources:
  - type: scrape
    name: shop
    interval: 200ms
    targets: ["%s?token=HUSH", "http://127.0.0.1:1/metrics", "http://127.0.0.1:2/unwanted"]
    relabel_configs: [{{action: drop, source_labels: [__metrics_path__], regex: /unwanted}}]
    authorization: {{credentials: HUSH}}
"""


def test_targets_and_settings_are_told_and_secrets_are_not(agent_program: Make, target: Target) -> None:
    target.text = "# HELP jobs_total Jobs.\n# TYPE jobs_total counter\njobs_total 7\n"
    agent = agent_program(SOURCE % target.url)
    agent.start()

    def scraped() -> Any:
        targets = agent.get("/api/v1/targets")["data"]
        told = {(t["health"], t["lastError"]) for t in targets["activeTargets"]}
        return targets if told == {("up", ""), ("down", "cannot connect: Connection refused")} else None

    targets = eventually(scraped)
    by_health = {t["health"]: t for t in targets["activeTargets"]}
    assert by_health["up"]["scrapeUrl"] == target.url
    assert by_health["up"]["discoveredLabels"]["__param_token"] == "<secret>"
    assert targets["droppedTargets"][0]["discoveredLabels"]["__address__"] == "127.0.0.1:2"
    assert targets["droppedTargetCounts"] == {"shop": 1}
    assert agent.get("/api/v1/scrape_pools")["data"] == {"scrapePools": ["shop"]}
    told = eventually(lambda: agent.get("/api/v1/targets/metadata", metric="jobs_total")["data"])
    labels = {"instance": f"127.0.0.1:{target.port}", "job": "shop"}
    assert told == [{"target": labels, "type": "counter", "help": "Jobs.", "unit": ""}]

    config = agent.get("/api/v1/status/config")["data"]["yaml"]
    assert yaml.safe_load(config)["sources"][0]["interval"] == "200ms"
    flags = agent.get("/api/v1/status/flags")["data"]
    assert flags["sources[0].authorization.credentials"] == "<secret>"
    assert flags["storage.path"] == str(agent.data)
    assert "HUSH" not in config + repr(flags) + repr(targets)
    assert agent.get("/api/v1/status/walreplay")["data"]["state"] == "done"
    assert agent.get("/api/v1/status/tsdb")["data"]["headStats"]["numSeries"] > 5
    federated = f'jobs_total{{instance="127.0.0.1:{target.port}",job="shop"}} 7 '
    eventually(lambda: federated in agent.ask("/federate?match[]=jobs_total").text)


def test_a_reload_that_fails_is_a_notification_until_one_succeeds(agent_program: Make) -> None:
    agent = agent_program()
    agent.start()
    good = agent.config_file.read_text()
    assert agent.get("/api/v1/notifications")["data"] == []
    agent.config_file.write_text(good + "nonsense: 1\n")
    assert agent.post("/-/reload", None).status == 400
    (told,) = agent.get("/api/v1/notifications")["data"]
    assert told["text"] == "Configuration reload has failed."
    assert agent.get("/api/v1/status/runtimeinfo")["data"]["reloadConfigSuccess"] is False
    agent.config_file.write_text(good)
    assert agent.post("/-/reload", None).status == 200
    assert agent.get("/api/v1/notifications")["data"] == []


def test_large_answers_are_compressed_over_http_and_head_has_no_body(agent_program: Make) -> None:
    agent = agent_program()
    agent.start()
    connection = http.client.HTTPConnection(agent.url.removeprefix("http://"), timeout=60)
    sizes = []
    for method in ("GET", "HEAD", "GET"):
        connection.request(method, "/openapi.json", headers={"Accept-Encoding": "gzip"})
        answer = connection.getresponse()
        body = answer.read()
        assert (answer.status, answer.getheader("content-encoding")) == (200, "gzip")
        sizes.append(int(answer.getheader("content-length") or 0))
        assert body == b"" if method == "HEAD" else b'"openapi"' in gzip.decompress(body)
    connection.close()
    assert len(set(sizes)) == 1
