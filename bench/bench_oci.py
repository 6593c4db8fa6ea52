"""Claim: 2,500 streams a second, the limit of a tenancy, cost less than a quarter of a core.

The whole way, as in an agent: journal, delivery, JSON, signature, HTTP. The service's double runs in a
process of its own and checks everything, its limit of 50 calls a second too. The peer sends the same points
the way the SDK documents, as objects of its model, 50 to a call.

    .venv/bin/python bench/bench_oci.py
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import oci

from common import table, workspace
from metricsmith.contracts import Context
from metricsmith.delivery.line import Limits, Line
from metricsmith.delivery.quarantine import Quarantine
from metricsmith.journal import Journal, JournalConfig
from metricsmith.model.batch import Batch, Layout
from metricsmith.model.clock import SystemClock
from metricsmith.model.labels import encode_labels
from metricsmith.model.series import SeriesTable
from metricsmith.model.telemetry import Telemetry
from metricsmith.sinks.oci.settings import OciConfig
from metricsmith.sinks.oci.sink import OciSink
from metricsmith.testing.oci_server import OciServer
from metricsmith.testing.oci_signature import ApiKey

STREAMS = 2500
COMPARTMENT = "ocid1.compartment.oc1..example"


def _labels(number: int) -> dict[str, str]:
    route = f"/api/v{number % 50}/items"
    return {
        "__name__": f"app_metric_{number // 100}",
        "instance": f"10.0.0.{number % 10}:9100",
        "job": "shop",
        "method": "GET",
        "route": route,
    }


def _serve(folder: Path, pipe: Any) -> None:
    key = ApiKey.make()
    key.write_config(folder)
    with OciServer(key) as server:
        pipe.send(server.url)
        while pipe.recv() == "count":
            with server.changed:
                pipe.send((len(server.points), len(set(server.points)), server.calls, list(server.problems)))
                server.points.clear()


@contextmanager
def service(folder: Path) -> Iterator[tuple[str, Any]]:
    """Run the double in a process of its own; yield its address, and a pipe that tells what it got."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=(folder, theirs))
    process.start()
    try:
        yield ours.recv(), ours
    finally:
        ours.send("end")
        process.join()


async def ours(folder: Path, url: str, seconds: int) -> tuple[float, float]:
    """Write a scrape of all series each second; return seconds and CPU seconds until all is delivered."""
    clock, table_of_series = SystemClock(), SeriesTable()
    context = Context("oci", table_of_series, Telemetry(), clock)
    journal = Journal(folder / "journal", table_of_series, context.telemetry, clock, JournalConfig())
    config = OciConfig(
        namespace="shop", compartment_id=COMPARTMENT, config_file=str(folder / "config"), endpoint=url
    )
    quarantine = Quarantine(folder / "quarantine", table_of_series, clock)
    sink, reader = OciSink(config, context), journal.reader("oci")
    line = Line("oci", sink, reader, lambda: journal.next_sequence, context, Limits(5000, 0, 4), quarantine)
    line.start()
    layout = Layout(table_of_series.intern_many(encode_labels(_labels(n)) for n in range(STREAMS)), "shop")
    chance = np.random.default_rng(1)
    began, cpu = time.monotonic(), time.process_time()
    for second in range(seconds):
        await asyncio.sleep(max(0, began + second - time.monotonic()))
        await journal.append(Batch(layout, clock.now_ms(), chance.uniform(0, 100, STREAMS).round(3)))
    while line.status().behind:  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(0.01)
    spent = time.monotonic() - began, time.process_time() - cpu
    assert line.status().delivered_samples == seconds * STREAMS, line.status()
    await line.stop()
    await journal.close()
    return spent


def peer(folder: Path, url: str, calls: int) -> float:
    """Send calls of 50 points one after another, as the SDK's examples do; return CPU seconds."""
    client = oci.monitoring.MonitoringClient(
        oci.config.from_file(str(folder / "config")), service_endpoint=url
    )
    models = oci.monitoring.models
    began, cpu = time.monotonic(), time.process_time()
    for call in range(calls):
        time.sleep(max(0.0, began + call / 45 - time.monotonic()))
        now = datetime.now(UTC)
        metrics = []
        for number in range(call % 50 * 50, call % 50 * 50 + 50):
            labels = _labels(number)
            metrics.append(
                models.MetricDataDetails(
                    namespace="shop",
                    compartment_id=COMPARTMENT,
                    name=labels.pop("__name__"),
                    dimensions=labels,
                    datapoints=[models.Datapoint(timestamp=now, value=float(number))],
                )
            )
        client.post_metric_data(models.PostMetricDataDetails(metric_data=metrics))
    return time.process_time() - cpu


def main() -> None:
    """Print streams a second and the share of a core, beside the SDK's own objects."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=15)
    seconds = parser.parse_args().seconds
    with workspace() as folder, service(folder) as (url, pipe):
        took_s, cpu_s = asyncio.run(ours(folder, url, seconds))
        pipe.send("count")
        got, distinct, calls, problems = pipe.recv()
        assert got == distinct == seconds * STREAMS, (got, distinct, problems[:5])
        peer_calls = 10 * 45
        peer_ms = peer(folder, url, peer_calls) / peer_calls * 1000
    ms = cpu_s / calls * 1000
    table(
        f"OCI Monitoring: {STREAMS:,} streams every second for {seconds} s, {len(problems)} calls refused",
        ("who", "points/s", "calls/s", "share of a core", "ms of CPU a call", "ratio"),
        [
            (
                "metricsmith, journal to answer",
                seconds * STREAMS / took_s,
                calls / took_s,
                cpu_s / took_s,
                ms,
                ms / peer_ms,
            ),
            ("the SDK's objects, the call alone", "–", 50, peer_ms * 50 / 1000, peer_ms, 1.0),
        ],
    )


if __name__ == "__main__":
    main()
