"""Claim: remote read gives samples out no slower than Prometheus; chunks at millions of samples a second.

Prometheus keeps samples in those very chunks and copies them, so its figure for chunks is that of a copy; we
encode them for the answer. Each contender gets the same samples and the same requests, in one run.
"""

from __future__ import annotations

import http.client
import time
import urllib.parse
from functools import partial

from common import EMPTY_AGENT, agent, best_of, prometheus, table, usage, workspace
from common_write import HEADERS, bodies, labels, send
from metricsmith.testing.remote_read import read_request

SERIES, STEPS, STEP_MS, RUNS = 1000, 1440, 15_000, 5
FORMS = {"samples": (), "streamed chunks": (1,)}


def main() -> None:
    """Print million samples per second, bytes a sample, CPU, and ratios to Prometheus."""
    end_ms = int(time.time()) * 1000 // STEP_MS * STEP_MS
    start_ms = end_ms - STEPS * STEP_MS
    written = list(bodies(labels(SERIES), start_ms, STEP_MS, STEPS, 120))
    millions = SERIES * STEPS / 1e6
    rows: dict[str, dict[str, tuple[float, float, float]]] = {form: {} for form in FORMS}
    with workspace() as folder:
        starts = {
            "metricsmith": agent(folder / "metricsmith", EMPTY_AGENT),
            "prometheus": prometheus(folder / "prometheus"),
        }
        for name, start in starts.items():
            with start as server:
                send(server.url, written)
                for form, accepted in FORMS.items():
                    request = read_request([("__name__", "=~", "bench.*")], 0, end_ms, accepted)
                    size = read(server.url, request)
                    before = usage(server.pid).cpu_s
                    least, _ = best_of(RUNS, partial(read, server.url, request))
                    cpu = (usage(server.pid).cpu_s - before) / RUNS
                    rows[form][name] = (millions / least, size / millions / 1e6, cpu / millions)
    for form, found in rows.items():
        peer = found["prometheus"]
        table(
            f"Remote read: {form}, {SERIES} series × {STEPS} samples",
            ("who", "million samples/s", "bytes a sample", "CPU s per million", "speed ratio", "CPU ratio"),
            [
                (name, speed, size, cpu, speed / peer[0], cpu / peer[2])
                for name, (speed, size, cpu) in found.items()
            ],
        )


def read(url: str, request: bytes) -> int:
    """Return the size of an answer."""
    connection = http.client.HTTPConnection(urllib.parse.urlsplit(url).netloc, timeout=120)
    connection.request("POST", "/api/v1/read", request, HEADERS)
    with connection.getresponse() as answer:
        size = len(answer.read())
        assert answer.status == 200, answer.status
    connection.close()
    return size


if __name__ == "__main__":
    main()
