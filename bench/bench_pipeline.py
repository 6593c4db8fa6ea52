"""Claim: at 1,000 batches/s of 20 pipelines the reporter adds at most 2 % CPU, 20 MB and 5 KB/s.

The same program with METRICSMITH_ENABLED=yes and =no, in turn, each a process of its own: every batch is
applied to a state and reported with three calls; every fiftieth fails, times out and is retried besides. With
`yes` it is scraped with gzip every 3 s, five times as often as usual; bytes are those of a scrape, over 15 s.
Run: .venv/bin/python bench/bench_pipeline.py
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
import urllib.request

BATCHES_PER_S, PIPELINES, RUN_S, ROUNDS = 1000, 20, 6.0, 3
SCRAPES, SCRAPE_EVERY_S, USUAL_S = 2, 3.0, 15.0
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
    calls = time.perf_counter()
    if not reporter.settings.enabled:
        for _ in range(CALLS):
            reporter.record_batch_processed("p", 995, 5, 1.0)
    per_call_ns = (time.perf_counter() - calls) / CALLS * 1e9
    print(json.dumps({"cpu": cpu, "mb": resident, "batches": done, "call_ns": per_call_ns}), flush=True)
    reporter.shut_down()


def measure(enabled: str) -> dict[str, float]:
    """Run the program; return what it prints, and the bytes of a scrape."""
    from metricsmith.testing.services import free_port

    port = free_port()
    environment = os.environ | {
        "METRICSMITH_ENABLED": enabled,
        "METRICSMITH_PROMETHEUS_PORT": str(port),
        "METRICSMITH_STATUS_PAGE_PORT": "0",
    }
    command = [sys.executable, __file__, "program"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        sent = 0
        for _ in range(SCRAPES if enabled == "yes" else 0):
            time.sleep(SCRAPE_EVERY_S * 0.9)
            request = urllib.request.Request(f"http://127.0.0.1:{port}/metrics", headers=GZIP)
            with urllib.request.urlopen(request) as answer:
                sent = len(answer.read())
        found: dict[str, float] = json.loads(process.stdout.readline())
    return found | {"bytes": float(sent)}


def main() -> None:
    """Measure in turn and print the difference."""
    from common import table  # only here: the program's memory is to be its own

    runs: dict[str, list[dict[str, float]]] = {"yes": [], "no": []}
    for _ in range(ROUNDS):
        for enabled, found in runs.items():
            found.append(measure(enabled))
    middle = {
        enabled: {key: statistics.median(run[key] for run in found) for key in found[0]}
        for enabled, found in runs.items()
    }
    yes, no = middle["yes"], middle["no"]
    network = yes["bytes"] / USUAL_S / 1000
    rows = [
        ("CPU, % of a core", no["cpu"], yes["cpu"], yes["cpu"] - no["cpu"], 2),
        ("memory, MB", no["mb"], yes["mb"], yes["mb"] - no["mb"], 20),
        ("network, KB/s", 0, network, network, 5),
    ]
    columns = ("what", "enabled=no", "enabled=yes", "added", "at most")
    table(f"{BATCHES_PER_S} batches/s of {PIPELINES} pipelines", columns, rows)
    print(f"\nA call with enabled=no takes {no['call_ns']:.0f} ns.")


if __name__ == "__main__":
    program() if "program" in sys.argv else main()
