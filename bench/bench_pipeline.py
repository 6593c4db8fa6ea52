"""Claim: at 1,000 batches/s of 20 pipelines the reporter adds at most 2 % CPU, 20 MB and 5 KB/s.

The same program, in turn, each time a process of its own: with METRICSMITH_ENABLED=no; scraped with gzip
every 2.5 s, six times as often as usual; and pushing by remote write every 2.5 s, four times as often as
usual. Every batch is applied to a state and reported with three calls; every fiftieth fails, times out and is
retried besides. Bytes are those of one export, over 15 s (scraped) and 10 s (pushed). The import of numpy,
once, is not in the CPU.
Run: .venv/bin/python bench/bench_pipeline.py
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

BATCHES_PER_S, PIPELINES, RUN_S, ROUNDS = 1000, 20, 5.0, 3
EXPORT_EVERY_S, SCRAPED_S, PUSHED_S = 2.5, 15.0, 10.0
CALLS = 200_000
GZIP = {"Accept-Encoding": "gzip"}


def program() -> None:
    """Work batches at an even rate; print what that took."""
    from metricsmith.sdk.pipeline import MetricsReporter, PipelineMetrics
    from metricsmith.sdk.runtime_metrics.memory import process_status

    reporter = MetricsReporter()
    reporter.initialise()
    names = [f"pipeline-{number}" for number in range(PIPELINES)]
    for name in names:
        reporter.record_state_transition(name, "configured", "running")
    while reporter.export is not None and reporter.settings.push_url and not reporter.export.outboxes:
        time.sleep(0.01)  # numpy is being imported
    states = dict.fromkeys(names, PipelineMetrics())
    print("ready", flush=True)
    began, used, done = time.monotonic(), time.process_time(), 0
    while (now := time.monotonic()) < began + RUN_S:
        while done < (now - began) * BATCHES_PER_S:
            name = names[done % PIPELINES]
            took_ms = float(done % 300)
            states[name] = states[name].increment_batch(995, 5, took_ms)
            reporter.record_batch_processed(name, 995, 5, took_ms)
            reporter.update_pipeline_metrics(name, states[name])
            reporter.record_checkpoint_update(name, done * 1000)
            if done % 50 == 0:
                reporter.record_batch_failed(name, "SCHEMA")
                reporter.record_retry_scheduled(name, "SCHEMA", 1)
                reporter.record_batch_timeout(name, f"batch-{done}")
            done += 1
        time.sleep(0.005)
    cpu = (time.process_time() - used) / (time.monotonic() - began) * 100
    resident = process_status()["VmHWM"] / 1e6  # not ru_maxrss: that begins with what the parent had
    calls = time.process_time()
    for _ in range(CALLS):
        reporter.record_batch_processed("p", 995, 5, 1.0)
    per_call_ns = (time.process_time() - calls) / CALLS * 1e9
    print(json.dumps({"cpu": cpu, "mb": resident, "call_ns": per_call_ns}), flush=True)
    reporter.shut_down()


def measure(way: str, port: int, peer: Peer) -> dict[str, float]:
    """Run the program; return what it prints, and the bytes of an export."""
    environment = os.environ | {
        "METRICSMITH_ENABLED": "no" if way == "off" else "yes",
        "METRICSMITH_PROMETHEUS_PORT": str(port),
        "METRICSMITH_STATUS_PAGE_PORT": "0",
        "METRICSMITH_TICK_INTERVAL": "2500ms",
        "METRICSMITH_PUSH_URL": peer.url if way == "pushed" else "",
    }
    command = [sys.executable, __file__, "program"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        sent = 0
        for _ in range(int(RUN_S / EXPORT_EVERY_S) if way == "scraped" else 0):
            time.sleep(EXPORT_EVERY_S * 0.9)
            request = urllib.request.Request(f"http://127.0.0.1:{port}/metrics", headers=GZIP)
            with urllib.request.urlopen(request) as answer:
                sent = len(answer.read())
        found: dict[str, float] = json.loads(process.stdout.readline())
    per_s = {"off": 0.0, "scraped": sent / SCRAPED_S, "pushed": peer.last_bytes / PUSHED_S}
    return found | {"kb_per_s": per_s[way] / 1000}


class Peer:
    """Takes what is pushed."""

    def __init__(self, url: str) -> None:
        self.url, self.last_bytes = url, 0


@contextmanager
def peer() -> Iterator[Peer]:
    """Run a server that takes everything."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            found.last_bytes = len(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Handler)
    found = Peer(f"http://127.0.0.1:{server.server_port}/api/v1/write")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield found
    server.shutdown()
    server.server_close()


def main() -> None:
    """Measure in turn and print what is added."""
    from common import table  # only here: the program's memory is to be its own
    from metricsmith.testing.services import free_port

    runs: dict[str, list[dict[str, float]]] = {"off": [], "scraped": [], "pushed": []}
    with peer() as taking:
        for _ in range(ROUNDS):
            for way, found in runs.items():
                found.append(measure(way, free_port(), taking))
    off, scraped, pushed = (
        {key: statistics.median(run[key] for run in found) for key in found[0]} for found in runs.values()
    )
    rows = [
        (what, off[key], scraped[key] - off[key], pushed[key] - off[key], most)
        for what, key, most in (
            ("CPU, % of a core", "cpu", 2),
            ("memory, MB", "mb", 20),
            ("KB/s", "kb_per_s", 5),
        )
    ]
    columns = ("what", "enabled=no", "scraped adds", "pushing adds", "at most")
    table(f"{BATCHES_PER_S} batches/s of {PIPELINES} pipelines", columns, rows)
    calls = f"{off['call_ns']:.0f} ns with enabled=no, {scraped['call_ns']:.0f} ns with yes"
    print(f"\nA call that records a batch takes {calls}.")


if __name__ == "__main__":
    program() if "program" in sys.argv else main()
