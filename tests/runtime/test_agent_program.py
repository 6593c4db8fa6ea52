"""The whole agent as a user runs it: scrape, keep, query, reload, stop, die and come back."""

from __future__ import annotations

import json
import random
import signal
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from metricsmith.testing.programs import AgentProgram, Target
from metricsmith.testing.services import Server

EMPTY = 'server: {{listen: "127.0.0.1:{port}"}}\nstorage: {{path: "{data}"}}\n'
SCRAPE = EMPTY + (
    "sources:\n- {{type: scrape, name: shop, interval: 200ms, timeout: 200ms, "
    'targets: ["http://127.0.0.1:TARGET/metrics"]}}\n'
)
Make = Callable[[str], AgentProgram]


def scraping(target: Target) -> str:
    return SCRAPE.replace("TARGET", str(target.port))


def test_scraped_values_are_answered_and_survive_an_orderly_stop(agent_program: Make, target: Target) -> None:
    target.text = '# TYPE jobs_total counter\njobs_total{queue="a b"} 7\n'
    agent = agent_program(scraping(target))
    agent.start()
    target.wait_for_scrapes(3)
    before = agent.query("jobs_total")
    assert before[0]["metric"] == {
        "__name__": "jobs_total",
        "instance": f"127.0.0.1:{target.port}",
        "job": "shop",
        "queue": "a b",
    }
    assert before[0]["value"][1] == "7"
    assert agent.query("up")[0]["value"][1] == "1"
    counted = agent.query("count_over_time(jobs_total[1h])")[0]
    assert agent.stop() == 0
    agent.start()
    assert int(agent.query("count_over_time(jobs_total[1h])")[0]["value"][1]) >= int(counted["value"][1])


def test_target_that_goes_away_is_down_and_its_series_end(agent_program: Make, target: Target) -> None:
    target.text = "a 1\nb 2\n"
    agent = agent_program(scraping(target))
    agent.start()
    target.wait_for_scrapes(2)
    target.text = "a 1\n"
    target.wait_for_scrapes(2)
    assert agent.query("b") == []
    assert len(agent.query("a")) == 1
    target.text = "this is not exposition {\n"
    target.wait_for_scrapes(2)
    assert agent.query('up{job="shop"}')[0]["value"][1] == "0"
    assert agent.query("a") == []


def _push_until_killed(agent: AgentProgram, accepted: list[int], stop: threading.Event) -> None:
    number = accepted[-1] + 1 if accepted else 0
    while not stop.is_set():
        samples = {f"m{i}": float(number) for i in range(5)}
        body = {"service": "pusher", "timestamp": _timestamp(number), "metrics": samples}
        try:
            agent.post("/api/v1/metrics", body)
        except (OSError, urllib.error.URLError):
            return
        accepted.append(number)
        number += 1


def _timestamp(number: int) -> str:
    # One sample per 10 ms, an hour of room, ending well before now.
    import datetime

    start = datetime.datetime.now(datetime.UTC).replace(minute=0, second=0, microsecond=0)
    moment = start - datetime.timedelta(hours=2) + datetime.timedelta(milliseconds=10 * number)
    return moment.isoformat()


@pytest.mark.parametrize("kills", [4, pytest.param(200, marks=pytest.mark.soak)])
def test_kill_at_any_moment_keeps_every_accepted_sample(agent_program: Make, kills: int) -> None:
    chance = random.Random(7)
    agent = agent_program(EMPTY)
    accepted: list[int] = []
    for _ in range(kills):
        agent.start()
        stop = threading.Event()
        pusher = threading.Thread(target=_push_until_killed, args=(agent, accepted, stop))
        goal = len(accepted) + chance.randint(1, 60)
        pusher.start()
        while len(accepted) < goal and pusher.is_alive():
            pusher.join(0.001)
        agent.kill()
        stop.set()
        pusher.join()
    agent.start()
    for name in ("m0", "m4"):
        found = agent.get("/api/v1/query", query=f"{name}[4h]")["data"]["result"]
        values = [int(float(v)) for _, v in found[0]["values"]]
        assert values == sorted(set(values)), "a sample was doubled"
        missing = set(accepted) - set(values)
        assert not missing, f"{len(missing)} of {len(accepted)} accepted samples were lost"


def test_reload_changes_only_what_changed_and_a_bad_file_changes_nothing(
    agent_program: Make, target: Target
) -> None:
    target.text = "a 1\n"
    agent = agent_program(EMPTY)
    agent.start()
    agent.write_config(scraping(target))
    agent.post("/-/reload", None)
    target.wait_for_scrapes(2)
    assert len(agent.query("a")) == 1
    agent.write_config(scraping(target) + "nonsense: 1\n")
    with pytest.raises(urllib.error.HTTPError) as refused:
        agent.post("/-/reload", None)
    assert "nonsense: unknown key" in refused.value.read().decode()
    refused.value.close()
    target.wait_for_scrapes(2)
    agent.write_config(EMPTY)
    assert agent.process is not None
    agent.process.send_signal(signal.SIGHUP)
    while agent.query("a"):
        pass  # the marker arrives with the reload; the loop ends with it


def test_node_exporter_is_answered_series_by_series(agent_program: Make, node_exporter: Server) -> None:
    from prometheus_client.parser import text_string_to_metric_families

    config = (
        EMPTY
        + f'sources:\n- {{{{type: scrape, name: node, interval: 1s, targets: ["{node_exporter.url}"]}}}}\n'
    )
    agent = agent_program(config)
    agent.start()
    while not agent.query('up{job="node"} == 1'):
        pass
    with urllib.request.urlopen(f"{node_exporter.url}/metrics") as answer:
        families = list(text_string_to_metric_families(answer.read().decode()))
    kept = {
        json.dumps({k: v for k, v in s["metric"].items() if k not in ("job", "instance")}, sort_keys=True): s
        for s in agent.query('{job="node"}')
    }
    exposed = [s for family in families for s in family.samples]
    for sample in exposed:
        key = json.dumps(
            {"__name__": sample.name, **{k: v for k, v in sample.labels.items() if v}}, sort_keys=True
        )
        assert key in kept, f"{sample} was not kept"
    steady = [
        s for s in exposed if s.name.startswith(("node_uname_info", "node_memory_MemTotal", "node_boot_time"))
    ]
    assert steady
    for sample in steady:
        key = json.dumps({"__name__": sample.name, **sample.labels}, sort_keys=True)
        assert float(kept[key]["value"][1]) == sample.value


def test_address_in_use_and_second_agent_on_the_data_are_one_clear_line(
    agent_program: Make, tmp_path: Path
) -> None:
    import subprocess
    import sys

    agent = agent_program(EMPTY)
    agent.start()
    for port, wanted in ((agent.port, "data"), (0, "data")):
        second = tmp_path / "second.yaml"
        second.write_text(EMPTY.format(port=port, data=agent.folder / "data"))
        done = subprocess.run(
            [sys.executable, "-m", "metricsmith", "run", "-c", str(second)],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 1
        assert done.stderr.startswith("error: "), done.stderr
        assert wanted in done.stderr
        assert "Traceback" not in done.stderr
