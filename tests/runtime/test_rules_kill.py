"""kill -9 in each state of an alert: times stay, nothing is told twice, nothing ends falsely."""

from __future__ import annotations

import http.server
import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from metricsmith.testing.programs import AgentProgram, eventually

Make = Callable[..., AgentProgram]
CONFIG = "rules: {{files: [rules.yml]}}\n"
RULES = """
groups:
  - name: shop
    interval: 100ms
    rules:
      - alert: Deep
        expr: depth > 5
        for: %s
        keep_firing_for: %s
        no_data: %s
"""


def write_rules(agent: AgentProgram, wait: str = "0s", keep: str = "0s", no_data: str = "keep") -> None:
    (agent.folder / "rules.yml").write_text(RULES % (wait, keep, no_data))


def start(agent: AgentProgram, wait: str = "0s", keep: str = "0s", no_data: str = "keep") -> None:
    write_rules(agent, wait, keep, no_data)
    agent.start()


def reload(agent: AgentProgram, wait: str = "0s", keep: str = "0s") -> None:
    """Give the rule other times, so that none has to pass: no machine is too slow for an hour."""
    write_rules(agent, wait, keep)
    assert agent.post("/-/reload", None).status == 200


def alert(agent: AgentProgram, state: str) -> Any:
    """Return the one alert once it is in a state."""

    def found() -> Any:
        alerts = agent.get("/api/v1/alerts")["data"]["alerts"]
        return next((a for a in alerts if a["state"] == state), None)

    return eventually(found)


def evaluated(agent: AgentProgram) -> None:
    """Return when the rules have been evaluated since the start."""
    eventually(lambda: agent.own("metricsmith_rule_group_iterations_total") > 1)


def kept(agent: AgentProgram) -> None:
    """Return when what was seen through the API has been committed: rounds commit one after the other."""
    before = agent.own("metricsmith_rule_group_iterations_total")
    eventually(lambda: agent.own("metricsmith_rule_group_iterations_total") > before + 1)


def test_pending(agent_program: Make) -> None:
    agent = agent_program(CONFIG)
    start(agent, wait="1h")
    agent.push({"depth": 9})
    began = alert(agent, "pending")["activeAt"]
    kept(agent)
    agent.kill()
    agent.start()
    evaluated(agent)
    after = alert(agent, "pending")["activeAt"]
    assert began < after, "the time in which nobody evaluated counts"
    reload(agent, wait="100ms")
    assert alert(agent, "firing")["activeAt"] == after


@pytest.mark.parametrize("no_data", ["keep", "resolve"])
def test_firing(agent_program: Make, no_data: str) -> None:
    agent = agent_program(CONFIG)
    start(agent, no_data=no_data)
    agent.push({"depth": 9})
    began = alert(agent, "firing")
    kept(agent)
    for _ in range(2):
        agent.kill()
        agent.start()
        evaluated(agent)
        assert alert(agent, "firing")["activeAt"] == began["activeAt"]
    agent.push({"depth": 1})
    eventually(lambda: not agent.get("/api/v1/alerts")["data"]["alerts"])


def test_keep_firing(agent_program: Make) -> None:
    agent = agent_program(CONFIG)
    start(agent, keep="1h")
    agent.push({"depth": 9})
    began = alert(agent, "firing")["activeAt"]
    agent.push({"depth": 1})

    def since() -> str:
        return alert(agent, "firing").get("keepFiringSince", "")

    ended = eventually(since)
    kept(agent)
    agent.kill()
    agent.start()
    evaluated(agent)
    assert alert(agent, "firing")["activeAt"] == began
    assert since() > ended, "the time in which nobody evaluated counts"
    reload(agent, keep="100ms")
    eventually(lambda: not agent.get("/api/v1/alerts")["data"]["alerts"])


def test_inactive(agent_program: Make) -> None:
    agent = agent_program(CONFIG)
    start(agent)
    agent.push({"depth": 1})
    evaluated(agent)
    agent.kill()
    agent.start()
    evaluated(agent)
    assert agent.get("/api/v1/alerts")["data"]["alerts"] == []


class Hook(http.server.ThreadingHTTPServer):
    """A webhook that answers 503 until it is `open`."""

    def __init__(self) -> None:
        self.open = False
        self.refused, self.taken = 0, list[str]()
        hook = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                is_open = hook.open  # a test that sees what was taken closes it before the answer
                if is_open:
                    hook.taken.append(body)
                else:
                    hook.refused += 1
                self.send_response(200 if is_open else 503)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None: ...

        super().__init__(("127.0.0.1", 0), Handler)


@pytest.fixture
def hook() -> Iterator[Hook]:
    server = Hook()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_resolved_and_not_yet_told(agent_program: Make, hook: Hook) -> None:
    address = f"http://127.0.0.1:{hook.server_port}/hook"
    agent = agent_program(f"{CONFIG}alerts: {{{{webhook_url: '{address}', send_resolved: true}}}}\n")
    start(agent)
    hook.open = True
    agent.push({"depth": 9})
    eventually(lambda: hook.taken)
    hook.open = False
    agent.push({"depth": 1})
    eventually(lambda: hook.refused)
    eventually(lambda: agent.get("/api/v1/alerts")["data"]["alerts"] == [])
    agent.kill()
    hook.open = True
    agent.start()
    eventually(lambda: len(hook.taken) > 1)
    evaluated(agent)
    fired, ended = (json.loads(body) for body in hook.taken)
    assert "resolved" not in json.dumps(fired) and "resolved" in json.dumps(ended)


def test_after_a_long_stop_sources_deliver_first(agent_program: Make) -> None:
    agent = agent_program("service: {{interval: 1h}}\nrules: {{files: [rules.yml], grace: 2s}}\n")
    start(agent)
    assert agent.push({"depth": 9}, int(time.time() - 600) * 1000).status == 201
    agent.kill()
    agent.start()
    agent.push({"depth": 9})
    assert alert(agent, "firing")
    began = agent.own("metricsmith_start_time_seconds")
    (first,) = agent.query("min_over_time(ALERTS_FOR_STATE[1m])")
    assert float(first["value"][1]) >= int(began + 2)
