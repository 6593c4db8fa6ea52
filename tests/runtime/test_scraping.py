"""What a target exposes is kept and answered, and what it no longer exposes ends."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable

from prometheus_client.parser import text_string_to_metric_families

from metricsmith.testing.programs import AgentProgram, eventually
from metricsmith.testing.services import Server
from metricsmith.testing.targets import Target

Make = Callable[..., AgentProgram]


def test_scraped_values_are_answered_and_survive_an_orderly_stop(agent_program: Make, target: Target) -> None:
    target.text = '# TYPE jobs_total counter\njobs_total{queue="a b"} 7\n'
    agent = agent_program(f"sources:\n{target.source()}")
    agent.start()
    eventually(lambda: len(agent.samples("jobs_total")) >= 3)
    before = agent.samples("jobs_total")
    (found,) = agent.query("jobs_total", before[-1][0] / 1000)  # then it was up, whatever came of later ones
    instance = f"127.0.0.1:{target.port}"
    assert found["metric"] == {"__name__": "jobs_total", "instance": instance, "job": "shop", "queue": "a b"}
    assert found["value"][1] == "7"
    assert agent.query('up{job="shop"} == 1', before[-1][0] / 1000)
    assert agent.stop() == 0
    agent.start()
    assert agent.samples("jobs_total")[: len(before)] == before


def test_series_end_with_what_they_describe(agent_program: Make, target: Target) -> None:
    target.text = "a 1\nb 2\n"
    agent = agent_program(f"sources:\n{target.source()}")
    agent.start()
    eventually(lambda: agent.query("a") and agent.query("b"))
    target.text = "a 1\n"
    eventually(lambda: agent.query("a") and not agent.query("b"))
    target.text = "this is not exposition {\n"
    eventually(lambda: agent.value('up{job="shop"}') == 0)
    assert agent.query("a") == []


def test_node_exporter_is_answered_series_by_series(agent_program: Make, node_exporter: Server) -> None:
    source = f'{{{{type: scrape, name: node, interval: 1s, targets: ["{node_exporter.url}"]}}}}'
    agent = agent_program(f"sources:\n- {source}\n")
    agent.start()
    eventually(lambda: agent.query('up{job="node"} == 1'))
    with urllib.request.urlopen(f"{node_exporter.url}/metrics") as answer:
        families = list(text_string_to_metric_families(answer.read().decode()))
    kept = {}
    good_s = max(time_ms for time_ms, up in agent.samples('up{job="node"}') if up) / 1000
    for series in agent.query('{job="node"}', good_s):
        labels = {k: v for k, v in series["metric"].items() if k not in ("job", "instance")}
        kept[json.dumps(labels, sort_keys=True)] = float(series["value"][1])
    exposed = [s for family in families for s in family.samples]
    steady = ("node_uname_info", "node_memory_MemTotal", "node_boot_time")
    compared = 0
    for sample in exposed:
        labels = {"__name__": sample.name} | {k: v for k, v in sample.labels.items() if v}
        key = json.dumps(labels, sort_keys=True)
        assert key in kept, f"{sample} was not kept"
        if sample.name.startswith(steady):
            assert kept[key] == sample.value
            compared += 1
    assert compared >= len(steady)
