"""An agent that reads its machine and runs integrations: all can be queried, and all ends with it."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

from metricsmith.testing.programs import AgentProgram, eventually

Make = Callable[..., AgentProgram]
SECTION = """
sources:
  - {{type: host, interval: 100ms}}
  - {{type: exec, min_interval: 100ms, files: FILES}}
"""


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_what_they_say_can_be_queried_and_nothing_outlives_the_agent(
    agent_program: Make, tmp_path: Path
) -> None:
    document = {"protocol_version": "4", "integration": {"name": "shop", "version": "1"}, "data": [{
        "common": {"attributes": {"zone": "a"}},
        "metrics": [{"name": "shop.orders", "type": "count", "value": 2},
                    {"name": "shop.heat", "type": "gauge", "value": 7}],
        "events": [{"summary": "opened"}],
    }]}  # fmt: skip
    said, pid_file = tmp_path / "said", tmp_path / "pid"
    said.write_text(json.dumps(document))
    long_running = f"echo $$ > {pid_file}; cat {said}; echo; echo 'here I am' >&2; exec sleep 1000"
    entries = [
        {"name": "shop", "exec": ["cat", str(said)], "interval": "100ms"},
        {"name": "long", "exec": ["sh", "-c", long_running], "interval": "100ms"},
        {"name": "bad", "exec": ["sh", "-c", "exit 7"], "interval": "100ms"},
    ]
    (tmp_path / "integrations.yml").write_text(json.dumps({"integrations": entries}))
    agent = agent_program(SECTION.replace("FILES", str(tmp_path / "*.yml")))
    agent.start()
    agent.log.wait_for("here I am")
    eventually(lambda: agent.query('shop_orders_total{integration="shop"} >= 6'))
    eventually(lambda: agent.query('integration_up{integration="bad"} == 0'))
    eventually(lambda: agent.query('shop_heat{integration="long", zone="a"} == 7'))
    eventually(lambda: agent.query("cpu_usage_percent"))
    for name in ("memory_usage_percent", "disk_usage_percent", "load_average_15m", "process_count"):
        assert agent.query(name)[0]["metric"]["service"] == "system"
    metadata = agent.get("/api/v1/metadata")["data"]
    assert metadata["shop_orders_total"][0]["type"] == "counter"
    assert metadata["network_rx_bytes"][0]["type"] == "counter"
    targets = {t["labels"]["integration"]: t for t in agent.get("/api/v1/targets")["data"]["activeTargets"]}
    assert targets["shop"]["health"] == "up"
    assert targets["bad"]["lastError"] == "exit code: 7"
    eventually(lambda: agent.own("metricsmith_events_accepted_total", source="exec") >= 3)
    pid = int(pid_file.read_text())
    assert lives(pid)
    agent.kill()
    os.kill(pid, signal.SIGKILL)  # nobody was there to end it, and it never writes
    agent.start()
    assert agent.query('shop_orders_total{integration="shop"}[1h]'), (
        "events in the journal do not disturb recovery"
    )
    eventually(lambda: lives(int(pid_file.read_text() or 0)) and pid_file.read_text() != f"{pid}\n")
    pid = int(pid_file.read_text())
    assert agent.stop() == 0
    assert not lives(pid)
    assert "Traceback" not in agent.log.text()
