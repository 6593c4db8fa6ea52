"""An agent with collectors of its user's: kept, queried, shown among the targets, reloaded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from metricsmith.testing.programs import AgentProgram, eventually

Make = Callable[..., AgentProgram]
SECTION = """
sources:
  - {{type: python, name: mine, directory: FOLDER, interval: 100ms, timeout: 1m, refresh: 100ms}}
"""
GOOD = """
from metricsmith.collector import collector, counter
@collector()
def orders():
    yield counter("shop_orders_total", 7, {"shop": "north"}, help="Orders.")
"""
BAD = """
import time
from metricsmith.collector import collector
@collector(timeout="50ms")
def hangs(): time.sleep(1000)
@collector()
def raises(): raise ValueError("no")
"""


def test_collectors_are_kept_shown_and_read_again(agent_program: Make, tmp_path: Path) -> None:
    folder = tmp_path / "collectors.d"
    folder.mkdir()
    (folder / "good.py").write_text(GOOD)
    (folder / "bad.py").write_text(BAD)
    agent = agent_program(SECTION.replace("FOLDER", str(folder)))
    agent.start()
    eventually(lambda: agent.query('shop_orders_total{job="mine", shop="north"} == 7'))
    eventually(lambda: len(agent.query("collector_up == 0")) == 2)
    eventually(lambda: agent.own("metricsmith_collectors_hung", source="mine") == 1)
    assert agent.get("/api/v1/metadata")["data"]["shop_orders_total"][0] == {
        "type": "counter", "help": "Orders.", "unit": "",
    }  # fmt: skip
    targets = {t["scrapeUrl"]: t for t in agent.get("/api/v1/targets")["data"]["activeTargets"]}
    assert targets["python:good.orders"]["health"] == "up"
    assert "ValueError: no" in targets["python:bad.raises"]["lastError"]
    assert targets["python:bad.hangs"]["health"] == "down"
    status = agent.get("/status")
    assert (status["targets"]["up"], status["targets"]["down"]) == (1, 2)
    assert {each["target"] for each in status["failing"]} == {"python:bad.raises", "python:bad.hangs"}

    (folder / "good.py").write_text("def broken(:\n")
    eventually(lambda: "good.py:1: invalid syntax" in agent.log.text())
    assert agent.query("shop_orders_total")
    (folder / "good.py").write_text(GOOD.replace("shop_orders", "shop_sales"))
    eventually(lambda: agent.query("shop_sales_total") and not agent.query("shop_orders_total"))
    assert agent.stop() == 0, "a thread that hangs does not keep the agent from ending"
