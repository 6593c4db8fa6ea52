"""Metrics of prometheus_client appear in our registry and ours in its; one that fails hurts no other."""

from __future__ import annotations

import os
import signal
import threading
import warnings
from collections.abc import Iterator
from typing import Any

import prometheus_client as peer
import pytest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from metricsmith.sdk import REGISTRY, Counter, Gauge, Histogram, Reading, Registry, Sample, generate_latest
from metricsmith.sdk.foreign import to_metric


class Queue:
    """A collector as prometheus_client's documentation has it."""

    def collect(self) -> Iterator[Any]:
        family = GaugeMetricFamily("queue_depth", "Depth.", labels=["queue"])
        family.add_metric(["mail"], 3)
        yield family
        yield CounterMetricFamily("taken", "Taken.", value=7)


class Native:
    """A collector without prometheus_client."""

    def read(self) -> list[Reading]:
        return [Reading("native", "gauge", "Native.", "", [Sample("native", {}, 1.0)])]


def test_collectors_of_both_kinds_appear() -> None:
    registry = Registry(auto_describe=True)
    registry.register(Queue())
    registry.register(Native())
    with pytest.raises(ValueError, match="native"):
        registry.register(Native())
    peer.Counter("theirs", "Theirs.", registry=registry).inc(2)
    Counter("ours", "Ours.", registry=registry).inc(3)
    text = generate_latest(registry).decode()
    assert {
        'queue_depth{queue="mail"} 3.0',
        "taken_total 7.0",
        "native 1.0",
        "theirs_total 2.0",
        "ours_total 3.0",
    } <= set(text.splitlines())
    assert "_created" not in text


def test_ours_appear_in_theirs() -> None:
    theirs = peer.CollectorRegistry(auto_describe=True)
    Histogram("h", "H.", ["a"], registry=theirs).labels("1").observe(0.2, {"trace_id": "t"})
    text = peer.openmetrics.exposition.generate_latest(theirs).decode()
    assert 'h_bucket{a="1",le="0.25"} 1.0 # {trace_id="t"} 0.2 ' in text
    with pytest.raises(ValueError, match="Duplicated"):
        peer.Counter("h_count", "Taken.", registry=theirs)


def test_either_registry_is_a_collector_of_the_other() -> None:
    ours, theirs = Registry(), peer.CollectorRegistry()
    Counter("ours", "Ours.", registry=ours).inc()
    peer.Counter("theirs", "Theirs.", registry=theirs).inc()
    ours.register(theirs)
    theirs.register(ours)
    for text in (generate_latest(ours), peer.generate_latest(theirs)):
        lines = text.decode().splitlines()
        assert (lines.count("ours_total 1.0"), lines.count("theirs_total 1.0")) == (1, 1)


def test_the_default_registry_has_what_prometheus_client_has() -> None:
    theirs = peer.Counter("sdk_test_theirs", "Theirs.")
    try:
        assert b"\nsdk_test_theirs_total 0.0\n" in generate_latest(REGISTRY)
        REGISTRY.joins_prometheus_client = False
        assert b"sdk_test_theirs" not in generate_latest(REGISTRY)
    finally:
        REGISTRY.joins_prometheus_client = True
        peer.REGISTRY.unregister(theirs)


def test_their_default_registry_takes_ours_and_each_name_stays_there_once() -> None:
    theirs = peer.CollectorRegistry(auto_describe=True)
    peer.ProcessCollector(registry=theirs)
    peer.Counter("theirs", "Theirs.", registry=theirs)
    ours = Registry()
    ours.register(peer.ProcessCollector(registry=None))
    ours.register(theirs)
    Counter("ours", "Ours.", registry=ours)
    theirs.register(ours)
    with pytest.raises(ValueError, match="Duplicated"):
        peer.Counter("ours", "Again.", registry=theirs)
    for text in (generate_latest(ours), peer.generate_latest(theirs)):
        names = [line.split()[2] for line in text.decode().splitlines() if line.startswith("# TYPE")]
        assert len(names) == len(set(names))
        assert {"ours_total", "theirs_total", "process_cpu_seconds_total"} <= set(names)


def test_a_name_is_there_once() -> None:
    registry = Registry(auto_describe=True)
    counter = Counter("c_total", "C.", registry=registry)
    for kind, name in ((Gauge, "c"), (Gauge, "c_total"), (peer.Gauge, "c_total"), (Histogram, "c")):
        with pytest.raises(ValueError, match="Duplicated timeseries"):
            kind(name, "Again.", registry=registry)
    registry.register(Queue())
    with pytest.raises(ValueError):
        Gauge("queue_depth", "Again.", registry=registry)
    registry.unregister(counter)
    Gauge("c", "Now free.", registry=registry)


def test_two_collectors_that_tell_the_same_give_a_document_that_can_be_read() -> None:
    registry = Registry()
    registry.register(Queue())
    registry.register(Queue())
    assert generate_latest(registry).decode().count("# TYPE queue_depth gauge") == 1


def test_collectors_that_tell_parts_of_one_family_are_merged() -> None:
    class Database:
        def __init__(self, name: str, *more: str) -> None:
            self.names = [name, *more]

        def collect(self) -> Iterator[Any]:
            for name in self.names:
                family = GaugeMetricFamily("up", "Up.", labels=["db"])
                family.add_metric([name], len(name))
                yield family

    registry = Registry()
    for database in (Database("a"), Database("bb", "ccc"), Database("a")):
        registry.register(database)
    registry.register(Queue())
    Gauge("queue_depth", "Ours.", registry=registry)
    lines = [
        line
        for line in generate_latest(registry).decode().splitlines()
        if line.startswith(("up", "# TYPE up"))
    ]
    assert [(f.kind, f.metric) for f in registry.findings()] == [("name_taken", "queue_depth")]
    assert lines == ["# TYPE up gauge", 'up{db="a"} 1.0', 'up{db="bb"} 2.0', 'up{db="ccc"} 3.0']


def test_what_fails_is_left_out_and_told() -> None:
    class Broken:
        def collect(self) -> Iterator[Any]:
            yield GaugeMetricFamily("half", "Half.", value=1)
            raise RuntimeError("no connection")

    registry = Registry()
    registry.register(Broken())
    gauge = Gauge("depth", "Depth.", ["queue"], registry=registry)
    gauge.labels("mail").set_function(lambda: 1 / 0)
    gauge.labels("print").set_function(lambda: 4)
    Counter("fine", "Fine.", registry=registry)
    for _ in range(2):
        lines = generate_latest(registry).decode().splitlines()
    assert {'depth{queue="print"} 4.0', "fine_total 0.0"} <= set(lines)
    assert 'metricsmith_sdk_findings_total{metric="Broken",kind="collector_failed"} 2.0' in lines
    assert 'metricsmith_sdk_findings_total{metric="depth",kind="function_failed"} 2.0' in lines
    assert not [line for line in lines if line.startswith(("half", 'depth{queue="mail"'))]
    assert registry.get_sample_value("depth", {"queue": "mail"}) is None
    assert "no connection" in registry.findings()[0].text


def test_only_some_names() -> None:
    registry = Registry(auto_describe=True)
    registry.register(Queue())
    Counter("c", "C.", ["a"], registry=registry).labels("1").inc()
    Gauge("asked", "Asked.", registry=registry).set_function(lambda: pytest.fail("was not wanted"))
    part = registry.restricted_registry(["c_total", "taken_total", "nothing"])
    assert {(s.name, s.value) for r in part.read() for s in r.samples} == {("c_total", 1), ("taken_total", 7)}
    assert b'c_total{a="1"} 1.0' in generate_latest(part)
    assert {m.name for m in part.collect()} == {"c", "taken"}


def test_target_info() -> None:
    registry = Registry(target_info={"service_name": "shop"})
    assert b'# TYPE target info\ntarget_info{service_name="shop"} 1.0\n' in generate_latest(
        registry, openmetrics=True
    )
    assert registry.get_target_info() == {"service_name": "shop"}
    registry.set_target_info(None)
    assert generate_latest(registry) == b""
    Gauge("target_info", "Taken.", registry=registry)
    with pytest.raises(ValueError):
        registry.set_target_info({"a": "b"})


def test_half_a_character_does_not_cost_the_document() -> None:
    registry = Registry()
    Counter("files", "Files.", ["name"], registry=registry).labels("a\udc80").inc()
    assert generate_latest(registry).splitlines()[-1] == b'files_total{name="a?"} 1.0'


def test_after_a_fork_while_another_thread_made_a_label_set_the_child_counts_on() -> None:
    registry = Registry()
    counter = Counter("c", "C.", ["n"], registry=registry)
    counter.labels("parent").inc()
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with counter._family.lock, registry.lock:
            held.set()
            done.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(60)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of just this
        pid = os.fork()
    if pid == 0:
        signal.alarm(20)
        counter.labels("child").inc()
        os._exit(int(registry.get_sample_value("c_total", {"n": "child"}) != 1))
    done.set()
    thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


BAD: list[list[Any]] = [
    [GaugeMetricFamily("bad", "Not a number.", value="a lot")],  # type: ignore[arg-type]
    [Reading("bad", "unheard-of", "A type.", "", [])],
    [Reading("bad", "gauge", "No labels.", "", [Sample("bad", None, 1.0)])],  # type: ignore[arg-type]
    [("bad",)],
]


@pytest.mark.parametrize("told", BAD)
def test_a_collector_that_tells_nonsense_is_left_out(told: list[Any]) -> None:
    class Teller:
        pass

    setattr(Teller, "read" if isinstance(told[0], tuple) else "collect", lambda self: told)
    registry = Registry()
    Counter("ours", "Ours.", registry=registry).inc()
    registry.register(Teller())
    for openmetrics in (False, True):
        assert b"ours_total 1.0\n" in generate_latest(registry, openmetrics=openmetrics)
    assert [r.name for r in registry.read() if not r.name.startswith("metricsmith_")] == ["ours"]
    assert [(f.kind, f.metric) for f in registry.findings()] == [("collector_failed", "Teller")]


def test_label_values_and_help_that_are_no_text_are_written_as_text() -> None:
    class Teller:
        def read(self) -> list[Reading]:
            samples = [Sample("n", {"code": [500]}, True)]  # type: ignore[dict-item]
            return [Reading("n", "gauge", None, None, samples)] * 2  # type: ignore[arg-type]

    registry = Registry()
    registry.register(Teller())
    Gauge("g", None, registry=registry)  # type: ignore[arg-type]
    text = generate_latest(registry)
    assert b"# HELP g None\n" in text and b'n{code="[500]"} 1.0\n' in text
    assert [r.name for r in map(to_metric, registry.read())] == ["g", "n"]
