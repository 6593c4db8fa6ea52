"""Claim: line protocol is taken in at least as fast as by Debian's InfluxDB, of 1 and of 10 fields a line.

Each contender gets the same bodies over one connection, in one run; bodies are made before the clock starts.
VictoriaMetrics stands beside, for scale.
"""

from __future__ import annotations

import http.client
import time
import urllib.parse
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np

from common import EMPTY_AGENT, agent, table, usage, workspace
from metricsmith.testing.services import Server, influxdb, victoria_metrics

LINES = 5000
FORMS = {"1 field a line": (1, 100), "10 fields a line": (10, 30)}


def bodies(fields: int, count: int) -> list[bytes]:
    """Return documents as an agent sends them: the same series each time, with other numbers."""
    chance = np.random.default_rng(5)
    start_ns = (int(time.time()) - 10 * count) * 10**9
    found = []
    for body in range(count):
        values = chance.uniform(0, 100, (LINES, fields)).round(3).tolist()
        lines = [
            f"cpu,cpu=cpu{i % 8},host=host-{i // 8:05d},zone=z{i % 7} "
            f"{','.join(f'usage_field{k}={v}' for k, v in enumerate(values[i]))} {start_ns + body * 10**10}"
            for i in range(LINES)
        ]
        found.append("\n".join(lines).encode())
    return found


def send(url: str, requests: Iterable[bytes]) -> float:
    """Post bodies one after another over one connection; return the seconds it took."""
    connection = http.client.HTTPConnection(urllib.parse.urlsplit(url).netloc, timeout=120)
    started = time.perf_counter()
    for body in requests:
        connection.request("POST", "/write?db=bench", body)
        answer = connection.getresponse()
        text = answer.read()
        if answer.status != 204:
            raise RuntimeError(f"{url}: {answer.status} {text[:300]!r}")
    spent = time.perf_counter() - started
    connection.close()
    return spent


def create_database(url: str) -> None:
    """Create the database of the benchmark, where that is known."""
    connection = http.client.HTTPConnection(urllib.parse.urlsplit(url).netloc, timeout=20)
    connection.request("POST", "/query?q=CREATE+DATABASE+bench")
    connection.getresponse().read()
    connection.close()


def contenders(folder: Path) -> dict[str, Callable[[], AbstractContextManager[Server]]]:
    """Return how to start each empty server, by name."""
    return {
        "metricsmith": lambda: agent(folder / "metricsmith", EMPTY_AGENT),
        "influxdb": lambda: influxdb(folder / "influxdb"),
        "victoria-metrics": lambda: victoria_metrics(folder / "victoria-metrics", "-retentionPeriod=1"),
    }


def main() -> None:
    """Print samples per second, CPU seconds per million samples, and ratios to InfluxDB."""
    for form, (fields, count) in FORMS.items():
        rows, requests = {}, bodies(fields, count)
        millions = LINES * fields * count / 1e6
        with workspace() as folder:
            for name, start in contenders(folder).items():
                with start() as server:
                    create_database(server.url)
                    before = usage(server.pid)
                    spent = send(server.url, requests)
                    cpu = usage(server.pid).cpu_s - before.cpu_s
                    rows[name] = (millions / spent, cpu / millions)
        peer = rows["influxdb"]
        table(
            f"Line protocol in: {form}, {count} documents, {millions:g} million samples",
            ("who", "million samples/s", "CPU s per million", "speed ratio", "CPU ratio"),
            [(n, speed, cpu, speed / peer[0], cpu / peer[1]) for n, (speed, cpu) in rows.items()],
        )


if __name__ == "__main__":
    main()
