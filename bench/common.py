"""What the end-to-end benchmarks share: targets, peers, CPU and memory of a process, one table form."""

from __future__ import annotations

import asyncio
import multiprocessing
import platform
import statistics
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil

from metricsmith.testing.programs import AgentProgram
from metricsmith.testing.services import Server, free_port, prometheus, victoria_metrics

VARIANTS = 8
EMPTY_AGENT = 'server: {{listen: "127.0.0.1:{port}"}}\nstorage: {{path: "{data}"}}\n'
"""The least configuration of metricsmith, in the form that AgentProgram fills in."""


@dataclass(frozen=True)
class Usage:
    """CPU seconds so far and resident bytes of a process."""

    cpu_s: float
    resident_bytes: int


def usage(pid: int) -> Usage:
    """Return what a process has used."""
    process = psutil.Process(pid)
    times = process.cpu_times()
    return Usage(times.user + times.system, process.memory_info().rss)


def exposition(series: int, variant: int) -> bytes:
    """Return a document of counters and gauges of one target; values differ by variant."""
    chance = np.random.default_rng(variant)
    lines = []
    for metric in range(series // 10):
        kind = "counter" if metric % 2 else "gauge"
        name = f"app_subsystem_metric_{metric:03d}{'_total' if metric % 2 else ''}"
        lines.append(f"# HELP {name} A metric of the benchmark.\n# TYPE {name} {kind}\n")
        for label in range(10):
            value = variant * 1000 + metric * 10 + label if metric % 2 else round(chance.uniform(0, 1000), 3)
            lines.append(f'{name}{{method="GET",route="/api/v{label}/items",zone="z{label % 3}"}} {value}\n')
    return "".join(lines).encode()


def _serve(port: int, series: int) -> None:
    bodies = [exposition(series, v) for v in range(VARIANTS)]
    answers = [
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: %d\r\n\r\n" % len(b)
        + b
        for b in bodies
    ]

    class Protocol(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport, self.asked, self.pending = transport, 0, b""

        def data_received(self, data: bytes) -> None:
            self.pending += data
            while (end := self.pending.find(b"\r\n\r\n")) >= 0:
                self.pending = self.pending[end + 4 :]
                self.transport.write(answers[self.asked % VARIANTS])  # type: ignore[attr-defined]
                self.asked += 1

    async def main() -> None:
        server = await asyncio.get_running_loop().create_server(Protocol, "127.0.0.1", port)
        await server.serve_forever()

    asyncio.run(main())


@contextmanager
def targets(series: int) -> Iterator[int]:
    """Serve /metrics documents of `series` series, any number of targets behind one port; yield the port."""
    port = free_port()
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=(port, series), daemon=True)
    process.start()
    wait_until_served(port)
    try:
        yield port
    finally:
        process.terminate()
        process.join()


def wait_until_served(port: int) -> None:
    """Return when a server answers on a port."""
    for _ in range(200):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5).read()
            return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError(f"nobody serves on port {port}")


def counter(url: str, name: str) -> float:
    """Return the sum of a counter on a server's own /metrics page."""
    with urllib.request.urlopen(f"{url}/metrics", timeout=30) as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.split("{")[0].split(" ")[0] == name)


def prometheus_config(port: int, count: int, interval: str) -> str:
    """Return a scrape configuration for `count` targets behind one port, told apart by path."""
    jobs = "".join(
        f"- job_name: t{i}\n  metrics_path: /t{i}\n  static_configs: [{{targets: ['127.0.0.1:{port}']}}]\n"
        for i in range(count)
    )
    return f"global: {{scrape_interval: {interval}, scrape_timeout: {interval}}}\nscrape_configs:\n{jobs}"


def metricsmith_config(port: int, count: int, interval: str) -> str:
    """Return the same for metricsmith, in the form that AgentProgram fills in."""
    sources = "".join(
        f"- {{{{type: scrape, name: t{i}, interval: {interval}, timeout: {interval}, "
        f'targets: ["http://127.0.0.1:{port}/t{i}"]}}}}\n'
        for i in range(count)
    )
    return f"{EMPTY_AGENT}sources:\n{sources}"


@contextmanager
def agent(folder: Path, config: str) -> Iterator[Server]:
    """Run metricsmith as a program of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    program = AgentProgram(folder, config)
    program.start()
    assert program.process is not None
    try:
        yield Server(program.url, program.process, folder / "log")
    finally:
        program.stop()


def contenders(folder: Path) -> dict[str, Callable[[], object]]:
    """Return how to start each empty server, by name."""
    return {
        "metricsmith": lambda: agent(folder / "metricsmith", EMPTY_AGENT),
        "prometheus": lambda: prometheus(folder / "prometheus"),
        "victoria-metrics": lambda: victoria_metrics(folder / "victoria-metrics", "-retentionPeriod=1"),
    }


@contextmanager
def workspace() -> Iterator[Path]:
    """Yield a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="metricsmith-bench-") as name:
        yield Path(name)


def best_of(times: int, action: Callable[[], object]) -> tuple[float, float]:
    """Return the least and the median seconds of some runs."""
    spent = []
    for _ in range(times):
        started = time.perf_counter()
        action()
        spent.append(time.perf_counter() - started)
    return min(spent), statistics.median(spent)


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a Markdown table, as docs/benchmarks.md has them."""
    print(f"\n### {title}\n")
    print(f"{platform.machine()}, {psutil.cpu_count()} cores, Python {platform.python_version()}\n")
    print(f"| {' | '.join(columns)} |\n|{' --- |' * len(columns)}")
    for row in rows:
        print(f"| {' | '.join(f'{c:.3g}' if isinstance(c, float) else str(c) for c in row)} |")
