"""A destination is away until the journal reaches its bound: the agent goes on, and counts what is lost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from metricsmith.testing.far_end import FarEnd
from metricsmith.testing.programs import AgentProgram, eventually
from metricsmith.testing.services import free_port

BOUND, WIDE = 128 << 10, 100
CONFIG = """
journal: {{{{segment_size: 8192, max_size: 128KB, sync: never}}}}
sinks:
- type: remote_write
  name: far
  url: {url}/write1
  version: "1.0"
  flush_interval: 50ms
  processors: [{{{{type: filter, keep: ['{{{{n!=""}}}}']}}}}]
"""
BASE = 'server: {{listen: "127.0.0.1:{port}"}}\nstorage: {{path: "{data}", head_bytes: 100KB}}\n'


async def test_the_agent_goes_on_within_the_bound(agent_program: Callable[..., AgentProgram]) -> None:
    far = FarEnd(free_port(), lambda: int(time.time() * 1000))
    agent = agent_program(CONFIG.format(url=far.url), base=BASE)

    def sink() -> dict[str, Any]:
        (found,) = agent.get("/api/v1/sinks")["data"]
        return dict(found)

    def write(count: int) -> int:
        written = 0
        for number in range(count):
            metrics = {f"m{i}": i * 1.1 + number for i in range(WIDE)}
            message = {"service": "s", "metrics": metrics, "tags": {"n": "1"}}
            written += WIDE * (agent.post("/api/v1/metrics", message).status == 201)
        return written

    def fill() -> int:
        agent.start()
        written = 0
        while sink()["dropped_samples"] == 0:
            written += write(20)
        eventually(lambda: agent.get("/storage/status")["journal_bytes"] <= BOUND)
        return written

    written = await asyncio.to_thread(fill)

    def expired() -> float:
        return agent.own("metricsmith_sink_dropped_samples_total", sink="far", reason="expired")

    # Asked one after the other, and the agent's own metrics may push out more in between.
    eventually(lambda: 0 < expired() == sink()["dropped_samples"])
    assert expired() < written
    await far.start()
    until = time.monotonic() + 60
    while (now := await asyncio.to_thread(sink))["behind_batches"]:
        assert time.monotonic() < until, now
        await asyncio.sleep(0.05)
    assert len(far.taken) <= written <= len(far.taken) + now["dropped_samples"]
    await asyncio.to_thread(agent.stop)
    await far.stop()
