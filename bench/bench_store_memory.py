"""Claim: an active series takes at most 0.6 times Prometheus' memory; a start after a kill takes no longer.

Both get the same samples by remote write, as they come from many scrapes: one sample of each series in a
message, a round every 15 s of sample time. Then they are killed (`kill -9`) and started again, until a
query finds all series. `bench_store_memory.py [SERIES ...]`, by default 100,000 and 1,000,000.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path

import psutil

from common import EMPTY_AGENT, table, usage, workspace
from common_write import bodies, get, labels, send
from metricsmith.testing import services
from metricsmith.testing.programs import AgentProgram
from metricsmith.testing.services import Server, prometheus

ROUNDS, STEP_MS = 5, 15_000
SETTLE_S, LOOKS = 6, 3
Start = Callable[[], AbstractContextManager[Server]]


def main(sizes: list[int]) -> None:
    """Print bytes per series and seconds to start for each number of series."""
    for series in sizes:
        with workspace() as folder:
            starts: dict[str, Start] = {
                "prometheus": partial(prometheus, folder / "prometheus"),
                "metricsmith": partial(_agent, folder / "metricsmith"),
            }
            found = {name: _measured(start, series) for name, start in starts.items()}
        peer = found["prometheus"]
        table(
            f"{series} active series, {ROUNDS} samples each",
            ("who", "MB before", "MB with them", "bytes a series", "seconds to start after a kill", "CPU s",
             "MB after it", "× memory", "× start", "× CPU"),
            [(name, *values, values[2] / peer[2], values[3] / peer[3], values[4] / peer[4])
             for name, values in found.items()],
        )  # fmt: skip


def _measured(start: Start, series: int) -> tuple[float, float, float, float, float, float]:
    """Return MB before and after, bytes per series, seconds and CPU seconds to start, and MB after that."""
    start_ms = int(time.time()) * 1000 - ROUNDS * STEP_MS
    with start() as server:
        empty = _resident(server)
        send(server.url, bodies(labels(series), start_ms, STEP_MS, ROUNDS, 1))
        full = _resident(server)
        server.process.kill()
        server.process.wait()
    began = time.perf_counter()
    with start() as server:
        while (count := _count(server.url)) < series:
            if time.perf_counter() - began > 120:
                raise RuntimeError(f"{count} series after two minutes, wanted {series}")
            time.sleep(0.1)
        spent, cpu = time.perf_counter() - began, usage(server.pid).cpu_s
        after = _resident(server)
    return empty / 2**20, full / 2**20, (full - empty) / series, spent, cpu, after / 2**20


def _count(url: str) -> float:
    answer = json.loads(get(url, "/api/v1/query", query="count(last_over_time(bench_requests_total[1h]))"))
    return sum(float(each["value"][1]) for each in answer["data"]["result"])


def _resident(server: Server) -> float:
    """Return resident bytes, the mean of some looks after some rest."""
    time.sleep(SETTLE_S)
    seen = []
    for _ in range(LOOKS):
        seen.append(usage(server.pid).resident_bytes)
        time.sleep(1)
    return sum(seen) / len(seen)


@contextmanager
def _agent(folder: Path) -> Iterator[Server]:
    """Run metricsmith until it is ready; it may be killed meanwhile."""
    folder.mkdir(parents=True, exist_ok=True)
    program = AgentProgram(folder, EMPTY_AGENT)
    program.launch()
    assert program.process is not None
    try:
        while not _ready(program):
            time.sleep(0.05)
        yield Server(program.url, program.process, folder / "log")
    finally:
        if psutil.pid_exists(program.process.pid) and program.process.poll() is None:
            program.stop()
        else:
            program.wait()


def _ready(program: AgentProgram) -> bool:
    try:
        return program.ask("/-/ready").status == 200
    except OSError:
        return False


if __name__ == "__main__":
    services.START_LIMIT_S = 120.0  # a million series take their time
    main([int(each) for each in sys.argv[1:]] or [100_000, 1_000_000])
