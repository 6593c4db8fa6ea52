"""Children of all kinds are counted, once, and what their parent had counted is not theirs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

Value = Callable[..., float | None]
Run = Callable[[str], str]

# Imported by each child that is spawned; forked ones have what the parent had.
BEGIN = """
import multiprocessing, os, signal, sys, threading, time
from metricsmith.sdk import Counter, Gauge, Histogram, Summary, processes
from metricsmith.sdk.processes.sharing import Sharing

# A busy machine may need longer than an application waits.
Sharing.stop.__defaults__ = Sharing.flush.__defaults__ = (60.0,)

JOBS = Counter("jobs_total", "Jobs.", ["kind"])
SECONDS = Histogram("job_seconds", "Time.", buckets=(1, 2))
SIZES = Summary("job_size", "Sizes.")
BUSY = Gauge("busy", "Busy.", multiprocess_mode="livesum")
LAST = Gauge("last", "Last.", multiprocess_mode="mostrecent")
JOBS.labels("a").inc({inherited})
LAST.set(7)
processes.share(interval_s=60)

def work(number=0):
    JOBS.labels("a").inc()
    SECONDS.observe(1.5)
    SIZES.observe(10)
    BUSY.inc()
"""


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing(method: str, run: Run, value: Value) -> None:
    run(
        BEGIN.format(inherited=0)
        + f"""
if __name__ == "__main__":
    context = multiprocessing.get_context("{method}")
    children = [context.Process(target=work) for _ in range(3)]
    for child in children:
        child.start()
    for child in children:
        child.join()
    with context.Pool(2) as pool:
        pool.map(work, range(10))
        pool.close()
        pool.join()
    work()
"""
    )
    assert value("jobs_total", kind="a") == 14
    assert value("job_seconds_bucket", le="2.0") == 14
    assert value("job_seconds_bucket", le="1.0") == 0
    assert value("job_seconds_sum") == 21
    assert value("job_size_count") == 14
    assert value("job_size", quantile="0.5") == pytest.approx(10, rel=0.02)
    assert value("busy") is None  # nobody lives
    assert value("last") == 7


def test_a_forked_child_begins_with_nothing(run: Run, value: Value) -> None:
    """What was counted before the fork is the parent's, who tells it; so are gauges that it has set."""
    run(
        BEGIN.format(inherited=100)
        + """
JOBS.labels("a").inc(10)
SECONDS.observe(0.5)

def descend(generations):
    child = os.fork()
    if child == 0:
        JOBS.labels("a").inc()
        if generations:
            descend(generations - 1)
        sys.exit(0)
    os.waitpid(child, 0)

descend(2)
"""
    )
    assert value("jobs_total", kind="a") == 113
    assert value("job_seconds_count") == 1


def test_what_was_pushed_stays_after_a_kill(run: Run, value: Value) -> None:
    out = run(
        BEGIN.format(inherited=0)
        + """
child = os.fork()
if child == 0:
    work()
    assert processes.flush()
    work()
    os.kill(os.getpid(), signal.SIGKILL)
os.waitpid(child, 0)
print(processes.flush())
"""
    )
    assert out == "True\n"
    assert value("jobs_total", kind="a") == 1


def test_forks_while_threads_count_and_flush(run: Run, value: Value) -> None:
    """Locks that a thread held at the fork are not held for ever in the child."""
    out = run(
        BEGIN.format(inherited=0)
        + """
ended = threading.Event()
def count():
    while not ended.is_set():
        JOBS.labels("a").inc()
        processes.flush()
threads = [threading.Thread(target=count) for _ in range(3)]
for thread in threads:
    thread.start()
for _ in range(20):
    child = os.fork()
    if child == 0:
        JOBS.labels("b").inc()
        assert processes.flush()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
ended.set()
for thread in threads:
    thread.join()
print(int(JOBS.labels("a")._value))
"""
    )
    assert value("jobs_total", kind="b") == 20
    assert value("jobs_total", kind="a") == int(out)


def test_import_after_the_fork(run: Run, value: Value) -> None:
    run(
        """
import os
children = []
for number in range(3):
    child = os.fork()
    if child == 0:
        from metricsmith.sdk import Counter, processes
        processes.share(interval_s=60)
        Counter("jobs_total", "Jobs.").inc(number)
        raise SystemExit
    children.append(child)
for child in children:
    os.waitpid(child, 0)
"""
    )
    assert value("jobs_total") == 3


def test_nobody_collects(run: Run, address: str) -> None:
    """The application runs, ends in time and leaves nothing on the disk."""
    out = run(
        """
import time
from metricsmith.sdk import Counter, processes
began = time.monotonic()
processes.share(interval_s=0.05)
jobs = Counter("jobs_total", "Jobs.")
for _ in range(1000):
    jobs.inc()
print(processes.flush(1000), time.monotonic() - began < 500)
"""
    )
    assert out == "False True\n"
    assert not Path(address).parent.exists()


def test_collectors_in_a_forked_child(run: Run, value: Value) -> None:
    """What the parent's prometheus_client has counted is the parent's, too."""
    run(
        BEGIN.format(inherited=0)
        + """
import prometheus_client
theirs = prometheus_client.Counter("theirs", "Theirs.")
theirs.inc(10)
for _ in range(5):
    child = os.fork()
    if child == 0:
        theirs.inc()
        sys.exit(0)
    os.waitpid(child, 0)
"""
    )
    assert value("theirs_total") == 15


def test_a_collector_that_waits_for_a_lock_of_the_parent(run: Run, value: Value) -> None:
    """The child goes on and ends, though nothing of it can be told."""
    out = run(
        BEGIN.format(inherited=0)
        + """
held = threading.Lock()
class Stuck:
    def read(self):
        with held:
            return ()
from metricsmith.sdk import REGISTRY
assert processes.flush()
REGISTRY.register(Stuck())
taken, ended = threading.Event(), threading.Event()
def hold():
    with held:
        taken.set()
        ended.wait()
threading.Thread(target=hold).start()
taken.wait()
child = os.fork()
if child == 0:
    work()
    Sharing.stop.__defaults__ = (0.1,)
    os._exit(0) if processes.flush(0.1) else sys.exit(7)
print(os.WEXITSTATUS(os.waitpid(child, 0)[1]))
ended.set()
"""
    )
    assert out == "7\n"
    assert value("jobs_total", kind="a") == 0
