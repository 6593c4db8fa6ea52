"""Each change counts once, whatever breaks between a worker and the collecting process."""

from __future__ import annotations

import itertools
import socket
from dataclasses import dataclass, field
from unittest.mock import patch

import hypothesis.strategies as st
import pytest
from hypothesis import given

from metricsmith.model.state import MemoryState
from metricsmith.sdk import Counter, Histogram, Registry, Summary
from metricsmith.sdk.clock import SYSTEM_CLOCK
from metricsmith.sdk.processes.frames import FrameReader, encode_frame
from metricsmith.sdk.processes.sessions import Sessions, Speaker
from metricsmith.sdk.processes.sharing import Sharing

FAULTS = ("lost", "unanswered", "crash", "away")


@dataclass
class Receiver:
    """Sessions without sockets; `faults` are what happens to the next messages."""

    kept: MemoryState | None
    sessions: Sessions = field(init=False)
    faults: list[str] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.restart()

    def connect(self, address: str, timeout_s: float) -> Link:
        if self.faults and self.faults[0] == "away":
            self.faults.pop(0)
            raise ConnectionRefusedError
        self.links.append(Link(self))
        return self.links[-1]

    def restart(self) -> None:
        self.links.clear()
        self.sessions = Sessions(SYSTEM_CLOCK, self.kept)
        self.sessions.restore()

    def total(self, name: str, **labels: str) -> float | None:
        found = [
            s.value for r in self.sessions.read() for s in r.samples if s.name == name and s.labels == labels
        ]
        assert len(found) <= 1
        return found[0] if found else None


class Link:
    """The worker's end of a connection, whose other end is the receiver itself."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver, self._speaker = receiver, Speaker()
        self._frames, self._answer = FrameReader(), b""

    def settimeout(self, seconds: float) -> None: ...

    def setblocking(self, flag: bool) -> None: ...

    def sendall(self, data: bytes) -> None:
        receiver = self._receiver
        if self not in receiver.links:
            raise BrokenPipeError
        fault = receiver.faults.pop(0) if receiver.faults else ""
        if fault == "lost":
            self.close()
            raise ConnectionResetError
        for message in self._frames.feed(data):
            applied = receiver.sessions.hear(self._speaker, message)
        if fault == "crash":  # what it has applied is nowhere
            receiver.restart()
            raise ConnectionResetError
        receiver.sessions.keep()
        if fault == "unanswered":
            self.close()
        elif applied is not None:
            self._answer = encode_frame({"applied": applied})

    def recv(self, size: int, flags: int = 0) -> bytes:
        if self not in self._receiver.links:
            return b""
        if flags & socket.MSG_PEEK:
            raise BlockingIOError
        return self._answer

    def close(self) -> None:
        if self in self._receiver.links:
            self._receiver.links.remove(self)
            self._receiver.sessions.leave(self._speaker)


class Worker:
    """A process: a registry of its own, and what it has counted."""

    def __init__(self) -> None:
        registry = Registry()
        self.jobs = Counter("jobs_total", "Jobs.", registry=registry)
        self.seconds = Histogram("seconds", "Time.", buckets=(1, 2), registry=registry)
        self.sizes = Summary("sizes", "Sizes.", registry=registry)
        self.sharing = Sharing(registry, "/nowhere", interval_s=1, service="", instance="")
        self.counted = self.tried = self.sure = 0

    def push(self) -> None:
        self.tried = self.counted
        if self.sharing.flush():
            self.sure = self.counted

    def count(self, amount: int) -> None:
        for _ in range(amount):
            self.jobs.inc()
            self.seconds.observe(1.5)
            self.sizes.observe(3)
        self.counted += amount


@pytest.mark.parametrize("first", ["lost", "unanswered", "crash"])
def test_one_or_two_faults_at_any_message(first: str) -> None:
    messages = range(7)
    second = [("", 0), *itertools.product(("lost", "unanswered", "crash"), messages)]
    for at, (other, other_at) in itertools.product(messages, second):
        receiver, worker = Receiver(MemoryState()), Worker()
        receiver.faults = [""] * len(messages)
        receiver.faults[at] = first
        if other:
            receiver.faults[other_at] = other
        with patch("metricsmith.sdk.processes.sharing.connect", receiver.connect):
            for _ in range(6):
                worker.count(1)
                worker.push()
            receiver.faults.clear()
            worker.push()
            assert worker.sure == 6
        assert receiver.total("jobs_total") == 6, (first, at, other, other_at)
        assert receiver.total("seconds_sum") == 9


steps = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.one_of(
            st.integers(1, 5), st.just("push"), st.just("kill"), st.just("restart"), st.sampled_from(FAULTS)
        ),
    ),
    max_size=40,
)


@given(steps)
def test_totals_over_faults_kills_and_restarts(steps: list[tuple[int, int | str]]) -> None:
    receiver = Receiver(MemoryState())
    workers = [Worker() for _ in range(3)]
    least = most = 0
    with patch("metricsmith.sdk.processes.sharing.connect", receiver.connect):
        for at, step in steps:
            worker = workers[at]
            if isinstance(step, int):
                worker.count(step)
            elif step == "push":
                worker.push()
            elif step == "kill":
                least, most = least + worker.sure, most + worker.tried
                workers[at] = Worker()
            elif step == "restart":
                receiver.restart()
            else:
                receiver.faults.append(step)
        receiver.faults.clear()
        for worker in workers:
            assert worker.sharing.flush()
            assert worker.sharing.flush()
            least, most = least + worker.counted, most + worker.counted
        total = receiver.total("jobs_total")
        assert least <= total <= most
        for name, labels in (("seconds_count", {}), ("seconds_bucket", {"le": "2.0"}), ("sizes_count", {})):
            assert receiver.total(name, **labels) == total
        assert receiver.total("seconds_sum") == 1.5 * total
        assert receiver.total("seconds_bucket", le="1.0") == 0


def test_totals_that_are_not_kept_begin_at_zero() -> None:
    """A collecting process that comes back tells what was counted since: readers see counters restart."""
    receiver, worker = Receiver(None), Worker()
    with patch("metricsmith.sdk.processes.sharing.connect", receiver.connect):
        worker.count(5)
        worker.push()
        receiver.restart()
        worker.push()
        assert receiver.total("jobs_total") == 0
        worker.count(2)
        receiver.faults = ["away", "lost", "crash"]
        for _ in range(4):
            worker.push()
        assert receiver.total("jobs_total") == 2


def test_a_worker_without_a_receiver_keeps_one_push() -> None:
    """Memory does not grow with the time that nobody collects, and nothing is lost."""
    receiver, worker = Receiver(None), Worker()
    with patch("metricsmith.sdk.processes.sharing.connect", receiver.connect):
        worker.push()
        for _ in range(100):
            receiver.faults = ["lost"]
            worker.count(1)
            worker.push()
            assert len(worker.sharing._waiting) <= 1
        worker.push()
        assert receiver.total("jobs_total") == 100


@pytest.mark.parametrize("fault", ["lost", "unanswered", "crash"])
@pytest.mark.parametrize("at", range(4))
def test_what_needs_several_frames(fault: str, at: int) -> None:
    """Some of them arrive, then something breaks; in the next connection the others follow."""
    receiver, registry = Receiver(MemoryState()), Registry()
    jobs = Counter("jobs_total", "Jobs.", ["kind"], registry=registry)
    for number in range(2500):
        jobs.labels(str(number)).inc(number)
    sharing = Sharing(registry, "/nowhere", interval_s=1, service="", instance="")
    with patch("metricsmith.sdk.processes.sharing.connect", receiver.connect):
        receiver.faults = [*[""] * at, fault]
        sharing.flush()
        jobs.labels("7").inc()
        assert sharing.flush()
        assert not receiver.faults
    values = [s.value for r in receiver.sessions.read() for s in r.samples if s.name == "jobs_total"]
    assert (len(values), sum(values)) == (2500, sum(range(2500)) + 1)
