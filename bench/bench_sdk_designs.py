"""Claim: an SDK beside prometheus_client, without a lock, is the cheapest of the designs that count right.

Measured for docs/decisions/0009-sdk-beside-prometheus-client.md: `inc()` and `labels(a, b).inc()` of each
design, with one thread, in one run. Run: .venv/bin/python bench/bench_sdk_designs.py
"""

from __future__ import annotations

import time
from _thread import allocate_lock, get_ident
from collections import defaultdict
from collections.abc import Callable
from itertools import count
from threading import RLock

import prometheus_client as peer
from prometheus_client import values

import metricsmith.sdk as ours

CALLS, ROUNDS = 100_000, 7


class Child:
    """Checks the amount as all do; the designs differ in how they add."""

    def __init__(self) -> None:
        self._value, self._lock, self._again = 0.0, allocate_lock(), RLock()
        self._pending: list[float] = []
        self._append, self._cells, self._ticks = self._pending.append, defaultdict(float), count()

    def locked(self, amount: float = 1) -> None:
        """A lock, as prometheus_client has."""
        if amount < 0:
            raise ValueError
        with self._lock:
            self._value += amount

    def reentrant(self, amount: float = 1) -> None:
        """A lock that a signal handler can take again."""
        if amount < 0:
            raise ValueError
        with self._again:
            self._value += amount

    def appended(self, amount: float = 1) -> None:
        """A list that is added up when it is long."""
        if amount < 0:
            raise ValueError
        self._append(amount)
        if len(self._pending) > 256:
            with self._lock:
                ready = self._pending[:256]
                del self._pending[:256]
                self._value += sum(ready)

    def per_thread(self, amount: float = 1) -> None:
        """A cell for each thread, added up at readings."""
        if amount < 0:
            raise ValueError
        self._cells[get_ident()] += amount

    def ticked(self, amount: float = 1) -> None:
        """`itertools.count`, for whole numbers one by one only."""
        next(self._ticks)


class Unlocked:
    """What prometheus_client would use as a value if it lay below, without a lock."""

    _multiprocess = False

    def __init__(self, *args: object, **kwargs: object) -> None:
        self._value = 0.0

    def inc(self, amount: float) -> None:
        """Add."""
        self._value += amount

    def get(self) -> float:
        """Return the sum."""
        return self._value


def best(run: Callable[[], None]) -> float:
    """Return the CPU time of a call in nanoseconds, of the fastest round."""
    times = []
    for _ in range(ROUNDS):
        start = time.process_time_ns()
        for _ in range(CALLS):
            run()
        times.append((time.process_time_ns() - start) / CALLS)
    return min(times)


def counters(library: object) -> tuple[Callable[[], None], Callable[[], None]]:
    """Return the two calls of a library, its labelled counter looked up each time."""
    counter = library.Counter("c", "C.", registry=None)  # type: ignore[attr-defined]
    labelled = library.Counter("l", "L.", ["a", "b"], registry=None)  # type: ignore[attr-defined]
    return counter.inc, lambda: labelled.labels("GET", "/items").inc()


def main() -> None:
    """Print a line for each design."""
    child = Child()
    designs: dict[str, tuple[Callable[[], None], ...]] = {"prometheus_client as it is": counters(peer)}
    values.ValueClass, original = Unlocked, values.ValueClass
    designs["below: its metrics, values without a lock"] = counters(peer)
    values.ValueClass = original
    designs["beside: a lock"] = (child.locked,)
    designs["beside: a reentrant lock"] = (child.reentrant,)
    designs["beside: a list, added up when long"] = (child.appended,)
    designs["beside: a cell per thread"] = (child.per_thread,)
    designs["beside: itertools.count, ones only"] = (child.ticked,)
    designs["beside: one step of the interpreter (ours)"] = counters(ours)
    print(f"{'ns per call':46} inc()  labels().inc()")
    for name, calls in designs.items():
        print(f"{name:46} {'  '.join(f'{best(call):5.0f}' for call in calls)}")


if __name__ == "__main__":
    main()
