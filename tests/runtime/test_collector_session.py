"""Collectors outside an agent: what is read is what prometheus_client itself would expose."""

from __future__ import annotations

import asyncio
import math
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from metricsmith.errors import SourceError
from metricsmith.runtime.collectors import open_session, process_units, with_report
from metricsmith.sources.python.settings import PythonConfig

CONFIG = PythonConfig()
ALL_KINDS = """
from prometheus_client import CollectorRegistry, Counter, Enum, Gauge, Histogram, Info, Summary
from prometheus_client.core import (
    CounterMetricFamily, GaugeHistogramMetricFamily, GaugeMetricFamily, HistogramMetricFamily,
    InfoMetricFamily, StateSetMetricFamily, SummaryMetricFamily, UntypedMetricFamily,
)

registry = CollectorRegistry()
Counter("orders", 'Orders "taken"\\nhere', ["shop"], registry=registry).labels('n"1\\\\').inc(3)
Gauge("heat_celsius", "Heat", registry=registry).set(-2.5)
h = Histogram("wait_seconds", "Wait", ["queue"], buckets=[0.1, 1], registry=registry)
for value in (0.05, 0.5, 5): h.labels("mail").observe(value)
Summary("size_bytes", "Size", registry=registry).observe(10)
Info("build", "Build", registry=registry).info({"version": "1"})
Enum("phase", "Phase", states=["on", "off"], registry=registry).state("off")

class Custom:
    def collect(self):
        yield UntypedMetricFamily("odd", "Odd", value=float("inf"))
        family = GaugeMetricFamily("queue", "Queue", labels=["a", "b"])
        for n in range(5): family.add_metric([str(n), "x" * n], n)
        yield family
        yield CounterMetricFamily("sent", "Sent", value=5)
        yield HistogramMetricFamily("h", "H", buckets=[("1", 2), ("+Inf", 3)], sum_value=4)
        yield SummaryMetricFamily("s", "S", count_value=2, sum_value=3)

registry.register(Custom())
"""


def read(path: Path, process: bool = False) -> Any:
    async def once() -> Any:
        session = await open_session(str(path), CONFIG, process)
        try:
            return await session.read()
        finally:
            session.close()

    return asyncio.run(once())


def parsed(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], tuple[str, str, str]]:
    """Series to value, type and help; a label with an empty value is none."""
    return {
        (sample.name, frozenset(pair for pair in sample.labels.items() if pair[1])): (
            repr(float(sample.value)),
            family.type,
            family.documentation,
        )
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_custom_collectors_and_instruments_come_out_as_from_prometheus_client(tmp_path: Path) -> None:
    path = tmp_path / "kinds.py"
    path.write_text(ALL_KINDS)
    namespace: dict[str, Any] = {}
    exec(ALL_KINDS, namespace)
    theirs = parsed(generate_latest(namespace["registry"]).decode())
    ours = parsed(read(path).exposition().decode())
    assert len(theirs) >= 25
    assert ours == theirs


labels = st.dictionaries(st.sampled_from(["a", "b", "le_", "z"]), st.text(max_size=6), max_size=3)
values = st.floats(allow_nan=False) | st.integers(-(2**60), 2**60)


@given(st.dictionaries(labels.map(lambda d: frozenset(d.items())), values, min_size=1, max_size=8))
def test_any_values_and_labels_come_out_as_from_prometheus_client(
    tmp_path_factory: pytest.TempPathFactory, given_values: dict[frozenset[tuple[str, str]], float]
) -> None:
    samples = [(dict(sorted(pairs)), value) for pairs, value in given_values.items()]
    text = (
        f"from prometheus_client import Metric\ninf = float('inf')\nsamples = {samples!r}\n"
        "class C:\n def collect(self):\n  m = Metric('m', 'h', 'gauge')\n"
        "  for labels, value in samples: m.add_sample('m', labels, value)\n  yield m\n"
    )
    path = tmp_path_factory.mktemp("any") / "any.py"
    path.write_text(text)
    namespace: dict[str, Any] = {}
    exec(text, namespace)
    registry = CollectorRegistry()
    registry.register(namespace["C"]())

    def numbers(text: str) -> dict[Any, float]:
        return {series: float(value) for series, (value, _, _) in parsed(text).items()}

    theirs = numbers(generate_latest(registry).decode())
    if len(theirs) == len(samples):  # else two are the same but for empty labels: the first of ours is kept
        assert numbers(read(path).exposition().decode()) == theirs


def test_process_metrics_and_reports_are_those_of_prometheus_client(tmp_path: Path) -> None:
    path = tmp_path / "one.py"
    path.write_text("def one(): return 1\nCOLLECTORS = [one]\n")
    reading = with_report(read(path, process=True))
    names = {name for (name, _), _, _ in reading.rows()}
    (unit,) = process_units()
    expected = {sample.name for family in unit.call() for sample in family.samples}
    assert expected <= names
    assert {"one", "collector_up", "collector_duration_seconds", "collector_samples"} <= names
    assert all(math.isfinite(value) for _, value, _ in reading.rows())
    assert not any(name.startswith(("process_", "python_")) for line in reading.advice() for name in [line])


async def test_who_asks_while_it_is_read_gets_the_same_reading(tmp_path: Path, monkeypatch: Any) -> None:
    release = threading.Event()
    monkeypatch.setattr("builtins.wait_here", lambda: release.wait(20), raising=False)
    path = tmp_path / "slow.py"
    path.write_text("def slow():\n    wait_here()\n    return 1\nCOLLECTORS = [slow]\n")
    session = await open_session(str(path), CONFIG)
    asking = [asyncio.create_task(session.read()) for _ in range(3)]
    await asyncio.sleep(0)
    asking[0].cancel()  # one of them goes away
    await asyncio.sleep(0)
    release.set()
    _, second, third = await asyncio.gather(*asking, return_exceptions=True)
    assert second is third and not second.failures
    assert await session.read() is not second
    session.close()


async def test_what_is_no_collector_is_told() -> None:
    with pytest.raises(SourceError, match="no_such_module"):
        await open_session("no_such_module:Name", CONFIG)
