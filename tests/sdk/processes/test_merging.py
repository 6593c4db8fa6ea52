"""What several processes tell becomes one: what is added up, gauges by their mode, other versions, limits."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import count
from typing import Any

import prometheus_client
import pytest
from prometheus_client import multiprocess, values

from metricsmith.model.state import MemoryState
from metricsmith.sdk import Counter, Enum, Gauge, Histogram, Info, Instrument, Registry, Summary
from metricsmith.sdk.gauge import MODES
from metricsmith.sdk.processes import sessions as sessions_module
from metricsmith.sdk.processes import totals as totals_module
from metricsmith.sdk.processes.cells import Cells
from metricsmith.sdk.processes.push import Encoder, Push
from metricsmith.sdk.processes.sessions import FORGET_S, Sessions, Speaker
from metricsmith.testing.clock import FakeClock

_numbers = count(1)


class Process:
    """A process with a connection that does not break."""

    def __init__(self, sessions: Sessions, pid: int = 0, service: str = "shop") -> None:
        self.registry = Registry()
        self.cells, self._encoder = Cells(self.registry), Encoder()
        self._sessions, self._speaker, self._number = sessions, Speaker(), 0
        session = f"s{next(_numbers)}"
        hello = {"hello": 1, "session": session, "pid": pid, "service": service, "instance": "h"}
        sessions.hear(self._speaker, hello)

    def push(self) -> None:
        self._number += 1
        message = self._encoder.message(Push(self._number, self.cells.changes()))
        self._sessions.hear(self._speaker, json.loads(json.dumps(message)))
        self._sessions.keep()

    def end(self) -> None:
        self._sessions.leave(self._speaker)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def sessions(clock: FakeClock) -> Sessions:
    return Sessions(clock)


def read(sessions: Sessions, name: str) -> dict[tuple[tuple[str, str], ...], float]:
    """Return the samples of a name, by labels."""
    samples = [s for reading in sessions.read() for s in reading.samples if s.name == name]
    found = {tuple(sorted(s.labels.items())): s.value for s in samples}
    assert len(found) == len(samples)
    return found


@pytest.mark.parametrize(
    ("mode", "living", "one_ended", "forgotten"),
    [
        ("all", {"1": 3, "2": 8}, {"1": 3, "2": 8}, {"2": 8}),
        ("liveall", {"1": 3, "2": 8}, {"2": 8}, {"2": 8}),
        ("sum", 11, 11, 11),
        ("livesum", 11, 8, 8),
        ("max", 8, 8, 8),
        ("livemax", 8, 8, 8),
        ("min", 3, 3, 3),
        ("livemin", 3, 8, 8),
        ("mostrecent", 3, 3, 3),
        ("livemostrecent", 3, 8, 8),
    ],
)
def test_gauges(
    mode: Any, living: object, one_ended: object, forgotten: object, sessions: Sessions, clock: FakeClock
) -> None:
    one, two = Process(sessions, 1), Process(sessions, 2)
    for process, value in ((two, 8), (one, 3)):
        Gauge("depth", "Depth.", ["queue"], registry=process.registry, multiprocess_mode=mode).labels(
            "a"
        ).set(value)
        process.push()

    def shown() -> object:
        found = read(sessions, "depth")
        by_pid = {dict(labels).get("pid"): value for labels, value in found.items()}
        assert all(dict(labels)["queue"] == "a" for labels in found)
        return by_pid.get(None, by_pid)

    assert shown() == living
    one.end()
    assert shown() == one_ended
    clock.advance(FORGET_S)
    sessions.forget_old()
    assert shown() == forgotten


def test_all_modes_are_covered() -> None:
    covered = next(mark for mark in test_gauges.pytestmark if mark.name == "parametrize").args[1]
    assert {case[0] for case in covered} == MODES


def test_gauges_without_processes_leave_nothing(sessions: Sessions) -> None:
    for pid in range(50):
        process = Process(sessions, pid)
        Gauge("depth", "Depth.", registry=process.registry, multiprocess_mode="liveall").set(1)
        process.push()
        process.end()
    assert list(sessions.totals.gauges()) == []
    assert sessions.totals._cells == 0


def test_counters_histograms_and_summaries_are_added_up(sessions: Sessions) -> None:
    processes = [Process(sessions) for _ in range(4)]
    together = Registry()
    metrics = [_metrics(each.registry) for each in processes]
    reference = _metrics(together)
    for round in range(3):
        for at, (process, own) in enumerate(zip(processes, metrics, strict=True)):
            for counter, histogram, summary in (own, reference):
                counter.labels("card" if at % 2 else "cash").inc(at + 1)
                histogram.observe(0.1 * at + round)
                summary.observe(1 + at * 100 + round)
            process.push()
        processes[round].end()  # what has ended goes on counting in the totals
        processes[round] = Process(sessions)
        metrics[round] = _metrics(processes[round].registry)
    wanted = {(s.name, *sorted(s.labels.items())): s.value for r in together.read() for s in r.samples}
    got = {(s.name, *sorted(s.labels.items())): s.value for r in sessions.read() for s in r.samples}
    assert got == pytest.approx(wanted)


def _metrics(registry: Registry) -> tuple[Counter, Histogram, Summary]:
    return (
        Counter("orders_total", "Orders.", ["payment"], registry=registry),
        Histogram("seconds", "Time.", registry=registry),
        Summary("sizes", "Sizes.", registry=registry),
    )


def test_counters_are_those_of_prometheus_clients_multiprocess_mode(
    sessions: Sessions, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same events give the same samples, with files there and with pushes here."""
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    for pid in (11, 12):
        process = Process(sessions, pid)
        kind = values.MultiProcessValue(lambda pid=pid: pid)
        monkeypatch.setattr(values, "ValueClass", kind)
        monkeypatch.setattr("prometheus_client.metrics.values.ValueClass", kind)
        for library, registry in (
            (prometheus_client, prometheus_client.CollectorRegistry()),
            (None, process.registry),
        ):
            make = _theirs if library else _ours
            jobs, seconds, busy, each = make(registry)
            jobs.labels("a").inc(pid)
            seconds.observe(0.3)
            busy.set(pid)
            each.set(pid)
        process.push()
    combined = prometheus_client.CollectorRegistry()
    multiprocess.MultiProcessCollector(combined)  # type: ignore[no-untyped-call]
    wanted = {(s.name, *sorted(s.labels.items())): s.value for m in combined.collect() for s in m.samples}
    got = {(s.name, *sorted(s.labels.items())): s.value for r in sessions.read() for s in r.samples}
    assert len(wanted) > 15
    assert got == wanted


def _ours(registry: Registry) -> tuple[Any, ...]:
    return (
        Counter("jobs_total", "Jobs.", ["kind"], registry=registry),
        Histogram("seconds", "Time.", registry=registry),
        Gauge("busy", "Busy.", registry=registry, multiprocess_mode="livesum"),
        Gauge("each", "Each.", registry=registry),
    )


def _theirs(registry: Any) -> tuple[Any, ...]:
    return (
        prometheus_client.Counter("jobs_total", "Jobs.", ["kind"], registry=registry),
        prometheus_client.Histogram("seconds", "Time.", registry=registry),
        prometheus_client.Gauge("busy", "Busy.", registry=registry, multiprocess_mode="livesum"),
        prometheus_client.Gauge("each", "Each.", registry=registry),
    )


def test_facts_and_states(sessions: Sessions) -> None:
    old, new = Process(sessions, 1), Process(sessions, 2)
    for process, version in ((old, "1"), (new, "2")):
        info = Info("build", "Build.", registry=process.registry)
        info.info({"version": version})
        Enum("state", "State.", states=["idle", "busy"], registry=process.registry).state("busy")
        process.push()
    assert read(sessions, "build_info") == {(("version", "1"),): 1, (("version", "2"),): 1}
    assert read(sessions, "state")[("pid", "1"), ("state", "busy")] == 1
    old.end()
    info.info({"version": "3"})
    new.push()
    assert read(sessions, "build_info") == {(("version", "3"),): 1}
    assert {dict(labels)["pid"] for labels in read(sessions, "state")} == {"2"}


def test_collectors_of_another_kind(sessions: Sessions) -> None:
    """Counters are added up, and those that begin anew counted from there; what is now is told by process."""
    total = 0
    for pid in (1, 2):
        process = Process(sessions, pid)
        theirs = prometheus_client.CollectorRegistry()
        jobs = prometheus_client.Counter("jobs", "Jobs.", ["kind"], registry=theirs)
        prometheus_client.Gauge("depth", "Depth.", registry=theirs).set(pid)
        prometheus_client.Histogram("seconds", "Time.", registry=theirs).observe(0.1)
        process.registry.register(theirs)
        for amount in (5, 3):
            jobs.labels("a").inc(amount)
            process.push()
            total += amount
        jobs.labels("a").reset()
        jobs.labels("a").inc(2)
        process.push()
        total += 2
    assert read(sessions, "jobs_total") == {(("kind", "a"),): total}
    assert read(sessions, "depth") == {(("pid", "1"),): 1, (("pid", "2"),): 2}
    assert read(sessions, "seconds_bucket")[("le", "+Inf"),] == 2


def test_a_label_set_goes_when_no_process_has_it(sessions: Sessions) -> None:
    one, two = Process(sessions), Process(sessions)
    counters = [Counter("jobs_total", "Jobs.", ["kind"], registry=each.registry) for each in (one, two)]
    held = counters[0].labels("a")
    for process, counter in zip((one, two), counters, strict=True):
        counter.labels("a").inc(3)
        process.push()
    counters[0].remove("a")
    one.push()
    assert read(sessions, "jobs_total") == {(("kind", "a"),): 6}
    counters[1].remove("a")
    two.push()
    assert read(sessions, "jobs_total") == {}
    counters[0].labels("a").inc(1)  # another child of the same name
    held.inc(100)  # is in no metric any more
    one.push()
    assert read(sessions, "jobs_total") == {(("kind", "a"),): 1}


@pytest.mark.parametrize(
    ("old", "new", "sample"),
    [
        (
            lambda r: _observed(Histogram("x", "X.", buckets=(1, 2), registry=r)),
            lambda r: _observed(Histogram("x", "X.", buckets=(1, 5), registry=r)),
            "x_count",
        ),
        (
            lambda r: Counter("x", "X.", registry=r).inc(),
            lambda r: Gauge("x", "X.", registry=r, multiprocess_mode="sum").inc(),
            "x",
        ),
    ],
)
def test_a_later_version_of_a_metric_takes_its_place(
    old: Callable[[Registry], object], new: Callable[[Registry], object], sample: str, sessions: Sessions
) -> None:
    """Buckets that differ cannot be added up, and two types are not one metric."""
    first, later = Process(sessions), Process(sessions)
    new(later.registry)
    old(first.registry)
    first.push()
    later.push()
    assert read(sessions, sample) == {(): 1}
    another = Process(sessions)
    new(another.registry)
    another.push()
    first.push()
    assert read(sessions, sample) == {(): 2}
    assert sessions.totals.conflicts == 1
    assert len([r for r in sessions.read() if r.name == "x"]) == 1


def _observed(histogram: Histogram) -> Instrument:
    histogram.observe(0.5)
    return histogram


def test_applications_are_told_apart(clock: FakeClock) -> None:
    sessions = Sessions(clock, by_service=True)
    for service in ("shop", "mail"):
        process = Process(sessions, service=service)
        Counter("jobs_total", "Jobs.", registry=process.registry).inc()
        process.push()
    assert read(sessions, "jobs_total") == {
        (("instance", "h"), ("job", service)): 1 for service in ("mail", "shop")
    }


def test_label_sets_are_limited_over_all_processes(
    sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(totals_module, "MAX_LABEL_SETS", 10)
    for at in range(5):
        process = Process(sessions)
        counter = Counter("jobs_total", "Jobs.", ["user"], registry=process.registry)
        for user in range(5):
            counter.labels(f"{at}-{user}").inc()
        process.push()
    found = read(sessions, "jobs_total")
    assert sum(found.values()) == 25
    assert found[("user", "__overflow__"),] == 15
    assert sessions.totals.folded == 15


def test_sessions_are_limited(sessions: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions_module, "MAX_SESSIONS", 10)
    for _ in range(50):
        process = Process(sessions)
        Counter("jobs_total", "Jobs.", registry=process.registry).inc()
        process.push()
        process.end()
    assert len(sessions._sessions) <= 11
    assert read(sessions, "jobs_total") == {(): 50}


def test_an_application_that_does_not_come_back_is_forgotten(clock: FakeClock) -> None:
    kept = MemoryState()
    sessions = Sessions(clock, kept, by_service=True, expiry_s=3600)
    gone, stays = Process(sessions, service="gone"), Process(sessions, service="stays")
    for process in (gone, stays):
        Counter("jobs_total", "Jobs.", registry=process.registry).inc()
        process.push()
    gone.end()
    for _ in range(70):
        clock.advance(60)
        sessions.forget_old()
    sessions.keep()
    assert [dict(labels)["job"] for labels in read(sessions, "jobs_total")] == ["stays"]
    assert [key.partition("/")[0] for key, _ in kept.items()] == ["cell", "session", "value"]
    stays.push()
    again = Process(sessions, service="gone")
    Counter("jobs_total", "Jobs.", registry=again.registry).inc(5)
    again.push()
    assert read(sessions, "jobs_total")[("instance", "h"), ("job", "gone")] == 5


def test_a_label_set_that_expired_and_comes_back(clock: FakeClock) -> None:
    """It goes on where it was in its process, which has told of that already."""
    sessions = Sessions(clock)
    one, two = Process(sessions), Process(sessions)
    one.registry.policy.clock, one.registry.policy.label_set_ttl_s = clock, 60
    counters = [Counter("jobs_total", "Jobs.", ["kind"], registry=each.registry) for each in (one, two)]
    held = counters[0].labels("a")
    held.inc(5)
    counters[1].labels("a").inc(1)
    for process in (one, two):
        process.push()
    for _ in range(9):
        clock.advance(10)
        one.push()
    assert counters[0]._children == {}
    assert read(sessions, "jobs_total") == {(("kind", "a"),): 6}
    held.inc(2)
    one.push()
    assert read(sessions, "jobs_total") == {(("kind", "a"),): 8}


@pytest.mark.parametrize("metric", [Histogram, Summary])
def test_an_infinite_observation_spoils_the_sum_only(
    metric: type[Histogram | Summary], sessions: Sessions
) -> None:
    process = Process(sessions)
    sizes = metric("size", "Sizes.", registry=process.registry)
    sizes.observe(2)
    process.push()
    sizes.observe(float("inf"))
    process.push()
    sizes.observe(3)
    process.push()
    assert read(sessions, "size_count") == {(): 3}
    assert read(sessions, "size_sum") == {(): 2}
    assert process.cells.not_finite == 2
