"""No update is lost under threads: by the byte code of this interpreter, and by counting."""

from __future__ import annotations

import dis
import gc
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator

import pytest

from metricsmith.sdk import Counter, Gauge, Histogram, Policy, Registry, SampledHistogram, Summary
from metricsmith.sdk.atomic import GIL, METHODS, locked
from metricsmith.sdk.sketch import Sketch
from metricsmith.testing.clock import FakeClock

THREADS, CALLS = 8, 20_000
HARMLESS = {
    *("LOAD_FAST", "LOAD_FAST_BORROW", "LOAD_FAST_LOAD_FAST", "LOAD_FAST_BORROW_LOAD_FAST_BORROW"),
    *("LOAD_CONST", "LOAD_SMALL_INT", "COPY", "SWAP", "BINARY_OP", "BINARY_SUBSCR", "LOAD_ATTR", "CACHE"),
}
"""What may stand between reading a value and writing it: CPython looks for other threads in none of these."""
LOADS = {"LOAD_ATTR", "BINARY_SUBSCR"}
STORES = {"STORE_ATTR", "STORE_SUBSCR"}


def updates(code: object) -> Iterator[list[str]]:
    """Yield the operations from the reading of a value to its being written, for each `+=` and `-=`."""
    instructions = list(dis.get_instructions(code))  # type: ignore[arg-type]
    for at, instruction in enumerate(instructions):
        if instruction.opname == "BINARY_OP" and instruction.argrepr in ("+=", "-="):
            start = at
            while (
                instructions[start].opname not in ("LOAD_ATTR", "BINARY_SUBSCR")
                and "[]" not in instructions[start].argrepr
            ):
                start -= 1
            end = at
            while instructions[end].opname not in (*STORES, "STORE_FAST"):
                end += 1
            if instructions[end].opname in STORES:
                yield [i.opname for i in instructions[start:end]]


@pytest.mark.skipif(not GIL, reason="without a GIL a lock is taken")
@pytest.mark.parametrize("method", [*METHODS, Sketch.add], ids=lambda m: m.__qualname__)
def test_between_reading_and_writing_a_value_no_thread_is_let_in(method: Callable[..., object]) -> None:
    found = list(updates(method))
    assert found, "no update in this method: why is it marked?"
    for operations in found:
        assert set(operations) <= HARMLESS


@pytest.mark.skipif(not GIL, reason="without a GIL a lock is taken")
@pytest.mark.parametrize(
    ("method", "first", "last"),
    [(SampledHistogram.observe, "_drawn", "_gap"), (SampledHistogram._snapshot, "_counts", "_sum")],
)
def test_a_look_of_a_sampled_histogram_is_one_step(
    method: Callable[..., object], first: str, last: str
) -> None:
    instructions = [(i.opname, i.argrepr) for i in dis.get_instructions(method)]
    named = [name for _, name in instructions]
    within = {name for name, _ in instructions[named.index(first) : len(named) - named[::-1].index(last)]}
    assert "BINARY_OP" in within
    assert not {name for name in within if name.startswith(("CALL", "PRECALL", "JUMP_BACKWARD", "RESUME"))}


def test_the_reader_of_byte_code_sees_what_is_wrong() -> None:
    def wrong(self: Counter) -> None:
        self._value += abs(1)

    assert not set(next(updates(wrong))) <= HARMLESS


@pytest.fixture
def eager_switching() -> Iterator[None]:
    """Let CPython switch threads whenever it may."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def in_threads(run: Callable[[], None]) -> None:
    threads = [threading.Thread(target=run) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@pytest.mark.usefixtures("eager_switching")
def test_eight_threads_count_right() -> None:
    registry = Registry()
    counter = Counter("c", "C.", registry=registry)
    labelled = Counter("l", "L.", ["who"], registry=registry)
    gauge = Gauge("g", "G.", registry=registry)
    histogram = Histogram("h", "H.", buckets=[1, 2], registry=registry)
    sampled = SampledHistogram("sh", "H.", buckets=[1, 2], registry=registry)
    summary = Summary("s", "S.", registry=registry)

    def work() -> None:
        for number in range(CALLS):
            counter.inc()
            labelled.labels(number % 3).inc(2)
            gauge.inc(3)
            gauge.dec()
            histogram.observe(number % 3)
            sampled.observe(number % 3)
            with sampled.time():
                pass
            summary.observe(1.0)

    in_threads(work)
    total = THREADS * CALLS
    got = {
        name: registry.get_sample_value(name) for name in ("c_total", "g", "h_count", "sh_count", "s_count")
    }
    assert got == {
        "c_total": total,
        "g": 2 * total,
        "h_count": total,
        "sh_count": 2 * total,
        "s_count": total,
    }
    assert sum(s.value for s in labelled.read().samples) == 2 * total
    assert sum(summary._window.current.positive.values()) == total


@pytest.mark.usefixtures("eager_switching")
def test_threads_that_meet_new_label_sets_share_them() -> None:
    for _ in range(300):
        counter = Counter("c", "C.", ["n"], registry=None, max_label_sets=1)
        start = threading.Barrier(THREADS)

        def work(counter: Counter = counter, start: threading.Barrier = start) -> None:
            start.wait()
            counter.labels("the only one").inc()

        in_threads(work)
        assert [(s.labels["n"], s.value) for s in counter.read().samples] == [("the only one", THREADS)]


@pytest.mark.usefixtures("eager_switching")
def test_the_lock_of_interpreters_without_a_gil_keeps_updates_that_can_be_split() -> None:
    class Split:
        _lock, value = threading.RLock(), 0

        @locked
        def add(self) -> None:
            self.value = int(str(self.value)) + 1

    split = Split()
    in_threads(lambda: [split.add() for _ in range(2000)] and None)
    assert split.value == THREADS * 2000


@pytest.mark.usefixtures("eager_switching")
def test_children_that_expire_while_they_are_used_lose_nothing() -> None:
    clock = FakeClock()
    registry = Registry(policy=Policy(clock=clock, label_set_ttl_s=1e-6))
    counter = Counter("c", "C.", ["n"], registry=registry)
    held = [counter.labels(number) for number in range(4)]
    done = threading.Event()

    def sweep() -> None:
        while not done.is_set():
            clock.advance(1)
            counter.read()

    sweeper = threading.Thread(target=sweep)
    sweeper.start()
    in_threads(lambda: [child.inc() for _ in range(2000) for child in held] and None)
    done.set()
    sweeper.join()
    for child in held:
        child.inc(0)
    assert [s.value for s in counter.read().samples] == [THREADS * 2000] * 4
    assert counter._family.expiry is not None
    assert counter._family.expiry.expired > 0


WITHOUT_GIL = """
import signal, sys, threading
sys._is_gil_enabled = lambda: False
from metricsmith.sdk import *
from metricsmith.sdk.atomic import GIL
assert not GIL
kinds = Counter("c", "C.", ["a"]), Gauge("g", "G.", ["a"])
seen = Histogram("h", "H.", ["a"]), Summary("s", "S.", ["a"]), SampledHistogram("p", "P.", ["a"])
def work():
    for _ in range(2000):
        for metric in kinds: metric.labels("x").inc()
        for metric in seen: metric.labels("x").observe(1.0)
signal.signal(signal.SIGALRM, lambda *a: [m.labels("x").inc() for m in kinds])
signal.setitimer(signal.ITIMER_REAL, 1e-3, 1e-3)
sys.setswitchinterval(1e-6)
threads = [threading.Thread(target=work) for _ in range(4)]
for t in threads: t.start()
work()
for t in threads: t.join()
signal.setitimer(signal.ITIMER_REAL, 0)
counts = [REGISTRY.get_sample_value(n, {"a": "x"}) for n in ("h_count", "s_count", "p_count")]
assert counts == [10_000] * 3, counts
assert REGISTRY.get_sample_value("c_total", {"a": "x"}) == REGISTRY.get_sample_value("g", {"a": "x"}) > 10_000
"""


def test_with_locks_threads_and_signal_handlers_count_right_and_do_not_hang() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_GIL], capture_output=True, text=True, check=False, timeout=100
    )
    assert done.returncode == 0, done.stderr


def test_an_update_within_the_garbage_collector_neither_hangs_nor_is_lost() -> None:
    counter = Counter("c", "C.", ["n"], registry=None)
    seen = 0

    def collected(phase: str, info: dict[str, int]) -> None:
        nonlocal seen
        seen += 1
        counter.labels(f"gc{seen % 7}").inc()

    threshold = gc.get_threshold()
    gc.freeze()  # what the test run has loaded need not be looked at each time
    gc.callbacks.append(collected)
    gc.set_threshold(5)
    try:
        for number in range(2000):
            counter.labels(f"n{number % 100}").inc()
            counter.read()
    finally:
        gc.callbacks.remove(collected)
        gc.set_threshold(*threshold)
        gc.unfreeze()
    assert seen > 100
    values = {s.labels["n"]: s.value for s in counter.read().samples}
    assert sum(v for n, v in values.items() if n.startswith("n")) == 2000
    assert sum(v for n, v in values.items() if n.startswith("gc")) == seen
