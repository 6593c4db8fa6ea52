"""An agent that is killed again and again ships all that it accepted, to every kind of HTTP destination."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path

from metricsmith.testing.far_end import TONGUES, FarEnd, Fault, answers_500, dies_before_answering
from metricsmith.testing.programs import AgentProgram
from metricsmith.testing.services import free_port

Make = Callable[..., AgentProgram]
SERIES, ROUNDS, KILLS = 3, 20, 2
ONLY = [{"type": "filter", "keep": ['{n!=""}']}]
FAULTS: dict[str, Fault | None] = {
    "remote_write 1": answers_500,
    "remote_write 2": dies_before_answering,
    "influxdb": None,
    "otlp": dies_before_answering,
    "newrelic": answers_500,
    "oci": None,
}
AWAY = "influxdb"
"""Begins to listen when all is over."""


def _now_ms() -> int:
    return int(time.time() * 1000)


def _sinks(far: dict[str, FarEnd], folder: Path) -> str:
    parts = []
    for name, end in far.items():
        tongue = TONGUES[name]
        common = {"type": tongue.sink, "name": name, "flush_interval": "50ms", "processors": ONLY}
        parts.append(common | tongue.at(end.url, folder))
    text = json.dumps(parts).replace("{", "{{").replace("}", "}}")
    return f"sinks: {text}\n"


async def test_what_was_accepted_arrives_everywhere_and_in_order(agent_program: Make, tmp_path: Path) -> None:
    far = {name: FarEnd(free_port(), _now_ms) for name in TONGUES}
    for name, end in far.items():
        end.fault = FAULTS[name]
        if name != AWAY:
            await end.start()
    agent = agent_program(_sinks(far, tmp_path))
    await asyncio.to_thread(agent.start)
    sent, begin_ms = set(), _now_ms() - 60_000

    def write(number: int) -> None:
        for series in range(SERIES):
            at_ms = begin_ms + number * 1000
            stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at_ms // 1000))
            message = {"service": "s", "timestamp": stamp, "metrics": {"m": 1.0}, "tags": {"n": str(series)}}
            assert agent.post("/api/v1/metrics", message).status == 201
            sent.add((str(series), at_ms // 1000 * 1000))

    for number in range(ROUNDS):
        await asyncio.to_thread(write, number)
        if (number + 1) % (ROUNDS // KILLS) == 0:
            await asyncio.to_thread(agent.kill)
            if number == ROUNDS - 1:
                await far[AWAY].start()
            await asyncio.to_thread(agent.start)
    until = time.monotonic() + 60
    while any(set(end.taken) != sent for end in far.values()):
        assert time.monotonic() < until, {name: len(sent - set(end.taken)) for name, end in far.items()}
        await asyncio.sleep(0.05)
    for end in far.values():
        first = list(dict.fromkeys(end.taken))
        for series in range(SERIES):
            times = [at_ms for name, at_ms in first if name == str(series)]
            assert times == sorted(times)
    assert await asyncio.to_thread(agent.stop) == 0
    for end in far.values():
        await end.stop()
