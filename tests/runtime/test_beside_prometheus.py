"""A real Prometheus ships to the agent, and its own tools read from it: both say the same."""

from __future__ import annotations

import json
import operator
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from metricsmith.testing import services
from metricsmith.testing.programs import AgentProgram, eventually
from metricsmith.testing.targets import Target, running_target

Make = Callable[..., AgentProgram]
Series = dict[str, dict[float, str]]

CONFIG = """
global: {{scrape_interval: 1s, scrape_timeout: 1s}}
scrape_configs:
- {{job_name: node, static_configs: [{{targets: ["{node}"]}}]}}
- {{job_name: shop, static_configs: [{{targets: ["{shop}"]}}]}}
remote_write:
- {{url: "{agent}/api/v1/write", queue_config: {{batch_send_deadline: 100ms}}}}
"""
# No -0: Prometheus' remote write leaves out a value that equals zero, and its sign with it.
ODD = r"""# TYPE odd gauge
odd{kind="nan"} NaN
odd{kind="inf"} +Inf
odd{kind="tiny"} 5e-324
odd{kind="text\"\\\n☃"} -1.7976931348623157e308
"""


def answer(url: str, path: str, **parameters: str) -> Any:
    with urllib.request.urlopen(f"{url}{path}?{urllib.parse.urlencode(parameters)}", timeout=30) as got:
        return json.loads(got.read())["data"]


def raw(url: str, selector: str, end: float, window: str) -> Series:
    """All samples of a selector, by series."""
    found = answer(url, "/api/v1/query", query=f"{selector}[{window}]", time=str(end))["result"]
    return {json.dumps(s["metric"], sort_keys=True): dict(s["values"]) for s in found}


def newest(url: str, selector: str) -> float:
    """Time of the newest sample; 0 when there is none."""
    found = answer(url, "/api/v1/query", query=f"max(timestamp({selector}))")["result"]
    return float(found[0]["value"][1]) if found else 0.0


def test_prometheus_writes_all_it_scrapes_and_both_answer_alike(
    agent_program: Make, node_exporter: services.Server, tmp_path: Path
) -> None:
    agent = agent_program()
    agent.start()
    with running_target() as shop:
        shop.text = ODD
        config = CONFIG.format(
            node=node_exporter.url.removeprefix("http://"), shop=f"127.0.0.1:{shop.port}", agent=agent.url
        )
        with services.prometheus(tmp_path / "prometheus", config) as peer:
            eventually(lambda: len(answer(agent.url, "/api/v1/query", query="up[1m]")["result"]) == 2)
            eventually(lambda: min(len(s["values"]) for s in agent.query("up[1m]")) >= 3)
            compare_all(agent.url, peer.url, '{job=~"node|shop"}')
            compare_staleness(agent, peer.url, shop)
        compare_names(agent)


def compare_all(ours: str, theirs: str, selector: str) -> None:
    """Every sample that ours has reached by now is the peer's: same series, same time, same value."""
    end = min(newest(ours, "up"), newest(theirs, "up")) - 1

    def both() -> list[Series]:
        return [raw(url, selector, end, "10m") for url in (ours, theirs)]

    with suppress(AssertionError):  # what is under way to either may come; the next lines show a difference
        eventually(lambda: operator.eq(*both()))
    mine, wanted = both()
    assert len(wanted) > 300
    assert mine == wanted
    for expression in (
        "sum by (job) (up)",
        "count by (__name__) ({job='node'})",
        "odd",
        "scrape_samples_scraped",
    ):
        parameters = {"query": expression, "start": str(end - 3), "end": str(end), "step": "1"}
        our_answer, their_answer = (
            {
                json.dumps(s["metric"], sort_keys=True): s["values"]
                for s in answer(url, "/api/v1/query_range", **parameters)["result"]
            }
            for url in (ours, theirs)
        )
        assert our_answer == their_answer, expression


def compare_staleness(agent: AgentProgram, theirs: str, shop: Target) -> None:
    """A target that goes away ends its series at both, at once and not after the look-back."""

    def gone(handler: Any, _closing: Any) -> None:
        handler.send_error(500)

    shop.behave = gone
    eventually(lambda: agent.query('up{job="shop"} == 0'))
    end = newest(agent.url, "up")
    for url in (agent.url, theirs):  # samples of one scrape may come in several writes
        ended = eventually(
            lambda url=url: answer(url, "/api/v1/query", query="odd", time=str(end))["result"] == []
        )
        assert ended
    assert raw(agent.url, "odd", end, "10m") == raw(theirs, "odd", end, "10m")


def compare_names(agent: AgentProgram) -> None:
    """What was shipped survives a restart of ours."""
    before = agent.get("/api/v1/labels")["data"]
    assert {"job", "instance", "kind", "cpu"} <= set(before)
    assert agent.stop() == 0
    agent.start()
    assert agent.get("/api/v1/labels")["data"] == before


def ask(promtool: Path, agent: AgentProgram, *command: str) -> list[str]:
    """Return the lines of `promtool query`, options before the address as it wants them."""
    kind, *arguments = command
    options = [a for a in arguments if a.startswith("--")]
    rest = [a for a in arguments if not a.startswith("--")]
    done = subprocess.run(
        [promtool, "query", kind, *options, agent.url, *rest],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout.splitlines()


def test_promtool_reads_from_the_running_agent(agent_program: Make, promtool: Path) -> None:
    agent = agent_program()
    agent.start()
    for queue, value in (("a", 1), ("b", 2)):
        message = {"service": "shop", "metrics": {"jobs": value}, "tags": {"queue": queue}}
        assert agent.post("/api/v1/metrics", message).status == 201
    lines = ask(promtool, agent, "instant", "jobs")
    assert [line.partition(" @[")[0] for line in lines] == [
        f'jobs{{queue="{queue}", service="shop"}} => {value}' for queue, value in (("a", 1), ("b", 2))
    ]
    now = agent.value("vector(time())")
    window = (f"--start={now - 60:.0f}", f"--end={now + 1:.0f}")
    lines = ask(promtool, agent, "range", *window, "--step=1s", "sum(jobs)")
    assert lines[0] == "{} =>"
    assert lines[-1].startswith("3 @[")
    lines = ask(promtool, agent, "series", '--match=jobs{queue="b"}', *window)
    assert lines == ['{__name__="jobs", queue="b", service="shop"}']
    assert ask(promtool, agent, "labels", *window, "queue") == ["a", "b"]
