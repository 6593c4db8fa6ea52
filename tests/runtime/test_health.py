"""Probes are told what is wrong; what mends by itself makes the agent not ready, but does not kill it.

What docs/operate.md shows of /ready and /health is of what is tested here.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from metricsmith.delivery.status import SinkStatus
from metricsmith.model.health import Check
from metricsmith.runtime import health
from metricsmith.runtime.health import FRESH_S, LONGEST_TICK_S, StoreProbe, housekeeping_check, sink_checks
from metricsmith.store_contracts import StoreStatus
from metricsmith.testing.clock import FakeClock
from metricsmith.testing.programs import AgentProgram, eventually
from metricsmith.testing.services import free_port
from metricsmith.testing.terminal import alike, shown_on

DOCS = Path(__file__).parents[2] / "docs"

SINK = """
sinks:
- type: remote_write
  name: far
  url: "http://127.0.0.1:{port}/w"
  flush_interval: 50ms
  allowed_lag: 1s
- {{{{type: remote_write, name: patient, url: "http://127.0.0.1:9/w"}}}}
"""


def _status(status: str = "connected", detail: str = "") -> StoreStatus:
    return StoreStatus("prometheus", status, "", 0, None, 0, 0, 0, None, detail)


class Store:
    """A store that says how it is when it is let."""

    def __init__(self) -> None:
        self.answer, self.asked = _status(), 0
        self.let = threading.Event()
        self.let.set()

    def status(self) -> StoreStatus:
        self.asked += 1
        assert self.let.wait(30)
        return self.answer


async def test_a_store_is_asked_seldom_however_often_we_are() -> None:
    store, clock = Store(), FakeClock()
    probe = StoreProbe(store.status, clock)
    for _ in range(20):
        assert (await probe.check()).ok
    assert store.asked == 1
    store.answer = _status("error", "connection refused")
    clock.advance(FRESH_S)
    for _ in range(20):
        assert await probe.check() == Check("storage", False, "connection refused")
    assert store.asked == 2


async def test_a_store_that_hangs_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "PATIENCE_S", 0.01)
    store, clock = Store(), FakeClock()
    probe = StoreProbe(store.status, clock)
    store.let.clear()
    found = await asyncio.gather(*(probe.check() for _ in range(5)))
    assert {(each.ok, each.reason) for each in found} == {(False, "the store has not answered yet")}
    clock.advance(1000)
    assert not (await probe.check()).ok
    assert store.asked == 1
    store.let.set()
    for _ in range(3000):
        if (await probe.check()).ok:
            break
    else:
        pytest.fail("its answer was not heard")


async def test_all_who_ask_at_once_get_the_answer() -> None:
    store = Store()
    store.let.clear()
    probe = StoreProbe(store.status, FakeClock())
    asked = [asyncio.create_task(probe.check()) for _ in range(5)]
    await asyncio.sleep(0)  # all wait for the one answer
    store.let.set()
    assert [check.ok for check in await asyncio.gather(*asked)] == [True] * 5
    assert store.asked == 1


async def test_a_store_that_breaks_is_told_of() -> None:
    def broken() -> StoreStatus:
        raise RuntimeError("boom")

    check = await StoreProbe(broken, FakeClock()).check()
    assert (check.ok, check.live, check.reason) == (False, True, "RuntimeError: boom")


def _sink(state: str, lag_ms: int, allowed_ms: int | None) -> SinkStatus:
    return SinkStatus("s", "oci", state, 7, lag_ms=lag_ms, allowed_lag_ms=allowed_ms, last_error="away")


@pytest.mark.parametrize(
    ("sink", "ok", "live"),
    [
        (_sink("ok", 0, None), True, True),
        (_sink("retrying", 10**9, None), True, True),
        (_sink("retrying", 60_000, 60_000), True, True),
        (_sink("retrying", 60_001, 60_000), False, True),
        (_sink("ok", 60_001, 60_000), False, True),
        (_sink("stopped", 0, None), False, False),
    ],
)
def test_a_sink_may_be_as_far_behind_as_is_allowed(sink: SinkStatus, ok: bool, live: bool) -> None:
    (check,) = sink_checks([sink])
    assert (check.name, check.ok, check.live) == ("sink s", ok, live)
    assert ok or not live or check.reason == "samples have waited 1m, longer than allowed_lag 1m (away)"


def test_a_sink_that_was_removed_makes_nothing_unready() -> None:
    assert list(sink_checks([_sink("removed", 10**9, None)])) == []


@pytest.mark.parametrize(("silent_s", "ok"), [(0, True), (LONGEST_TICK_S, True), (LONGEST_TICK_S + 1, False)])
def test_housekeeping_that_stands_still_needs_a_restart(silent_s: float, ok: bool) -> None:
    check = housekeeping_check(silent_s)
    assert (check.ok, check.live) == (ok, ok)


def test_a_destination_that_is_away_shows_until_it_is_back(
    agent_program: Callable[..., AgentProgram],
) -> None:
    port = free_port()
    agent = agent_program(SINK.format(port=port))
    agent.start()
    assert agent.ask("/ready").status == 200
    agent.push({"x": 1.0})
    eventually(lambda: "Connection refused" in agent.ask("/ready").text)
    assert agent.ask("/ready").status == 503
    assert alike(shown_on(DOCS / "operate.md", "curl http://127.0.0.1:9480/ready"), agent.ask("/ready").text)
    told = agent.get("/health")
    assert (told["status"], told["ready"]) == ("unhealthy", False)
    wrong = [each for each in told["checks"] if not each["ok"]]
    assert [each["name"] for each in wrong] == ["sink far"]
    assert "longer than allowed_lag 1s (cannot connect: Connection refused)" in wrong[0]["reason"]
    assert {"journal", "storage", "sink patient", "housekeeping"} < {each["name"] for each in told["checks"]}
    assert "sink far: samples have waited" in agent.ask("/-/ready").text

    def shown() -> list[Any]:
        told = [each for each in agent.get("/status")["sinks"] if each["name"] == "far"]
        return [each for each in told if (each["state"], each["circuit"]) == ("retrying", "open")]

    (sink,) = eventually(shown)
    assert sink["lag_seconds"] > 1
    with serving(port):
        eventually(lambda: agent.ask("/ready").status == 200)
    assert agent.get("/health") == {
        "status": "healthy",
        "ready": True,
        "checks": [{"name": each["name"], "ok": True} for each in told["checks"]],
    }


def test_a_store_that_is_away_shows_and_is_no_reason_for_a_restart(
    agent_program: Callable[..., AgentProgram],
) -> None:
    base = (
        'server: {{listen: "127.0.0.1:{port}"}}\n'
        'storage: {{path: "{data}", type: prometheus, url: "http://127.0.0.1:9"}}\n'
    )
    agent = agent_program(base=base)
    agent.start()
    answer = agent.ask("/ready")
    (wrong,) = [each for each in json.loads(answer.text)["checks"] if not each["ok"]]
    assert (answer.status, wrong["name"]) == (503, "storage") and "refused" in wrong["reason"].lower()
    assert agent.ask("/health").status == agent.ask("/-/healthy").status == 200


@contextmanager
def serving(port: int) -> Iterator[None]:
    """Take whatever is posted to a port."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield
    server.shutdown()
    thread.join()
    server.server_close()
