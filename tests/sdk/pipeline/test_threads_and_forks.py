"""Many threads record at once, and processes fork in the middle of it."""

from __future__ import annotations

import subprocess
import sys
import threading

from metricsmith.sdk import Registry, generate_latest
from metricsmith.sdk.pipeline import MetricsReporter

FORKS = """
import os, sys, threading, urllib.request
from metricsmith.sdk import REGISTRY, generate_latest
from metricsmith.sdk.pipeline import MetricsReporter
reporter = MetricsReporter()
reporter.initialise()
page, going = reporter.export.addresses["metrics"] + "/metrics", True
def work():
    number = 0
    while going:
        number += 1
        reporter.record_batch_processed(f"p{number % 500}", 1, 0, 1)
        reporter.record_batch_failed("p", f"code-{number % 500}")
def read():
    while going:
        urllib.request.urlopen(page).read()
threads = [threading.Thread(target=each) for each in (work, work, read)]
for thread in threads:
    thread.start()
statuses = []
for _ in range(6):
    child = os.fork()
    if child == 0:
        for number in range(200):
            reporter.record_batch_processed(f"child-{number}", 1, 0, 1)
            reporter.record_batch_failed("", "problem")
        assert b"child-199" in generate_latest(REGISTRY)
        os._exit(0)
    statuses.append(os.waitpid(child, 0)[1])
going = False
for thread in threads:
    thread.join()
reporter.shut_down()
print(set(statuses))
"""


def test_counts_of_many_threads_are_whole(reporter: MetricsReporter, registry: Registry) -> None:
    def work() -> None:
        for _ in range(3000):
            reporter.record_batch_processed("p", 2, 1, 5)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        generate_latest(registry)
    for name, wanted in (
        ("batches_processed", 12_000),
        ("records_processed", 24_000),
        ("records_failed", 12_000),
    ):
        assert registry.get_sample_value(f"dataflow_{name}_total", {"pipeline_id": "p"}) == wanted
    count = registry.get_sample_value("dataflow_batch_processing_time_ms_count", {"pipeline_id": "p"})
    assert count == 12_000


def test_children_that_are_forked_meanwhile_record_and_do_not_hang() -> None:
    environment = {"METRICSMITH_PROMETHEUS_PORT": "0", "METRICSMITH_STATUS_PAGE_ENABLED": "no"}
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORKS]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100, check=False)
    assert (done.returncode, done.stdout) == (0, "{0}\n"), done.stderr
