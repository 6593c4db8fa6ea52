"""Claim: what is scraped is shipped by remote write for less CPU per sample than by vmagent.

All contenders scrape the same targets at the same time, each with a VictoriaMetrics of its own to ship to, so
that what else the machine does is the same for all. What shipping costs is what a contender needs more than
when it drops or only keeps what it scrapes. Ours keeps the samples besides, vmagent only while they are on
their way. Then our delivery alone: a full journal is read, encoded and posted.
`bench_remote_write_out.py [SECONDS]` scrapes for that long at an interval of one second.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import numpy as np
import psutil
from numpy.typing import NDArray

from common import agent, counter, metricsmith_config, prometheus_config, table, targets, usage, workspace
from metricsmith.contracts import Context
from metricsmith.delivery.line import Limits, Line
from metricsmith.delivery.quarantine import Quarantine
from metricsmith.journal import Journal, JournalConfig
from metricsmith.model.batch import Batch, Layout
from metricsmith.model.clock import SystemClock
from metricsmith.model.labels import encode_labels
from metricsmith.model.series import SeriesTable
from metricsmith.model.telemetry import Telemetry
from metricsmith.sinks.remote_write import RemoteWriteSink
from metricsmith.testing.services import Server, victoria_metrics, vmagent

TARGETS, SERIES, WARM_UP_S = 20, 1000, 8
ROWS, BYTES = "vm_rows_inserted_total", "vm_tcplistener_read_bytes_total"
PEER, PEER_IDLE = "vmagent", "vmagent that drops all"
OURS, OURS_IDLE = "metricsmith", "metricsmith without a sink"
COUNTERS = {
    PEER_IDLE: "vmagent_remotewrite_relabel_metrics_dropped_total",
    OURS_IDLE: "metricsmith_samples_accepted_total",
}
"""Of those who ship nothing, which a destination could count."""
ROUNDS = 150
PUSH = """
sinks:
- {{{{type: remote_write, name: far, url: "{url}"}}}}
"""


def scraped(folder: Path, port: int, seconds: float) -> dict[str, tuple[float, float, float]]:
    """Return CPU seconds of each contender and of its destination per million samples, and bytes a sample."""
    scrape = prometheus_config(port, TARGETS, "1s")
    dropping = folder / "drop.yml"
    dropping.write_text("- {action: drop, source_labels: [__name__], regex: '.+'}\n")
    config = metricsmith_config(port, TARGETS, "1s")
    starts: dict[str, Callable[[Path, str], AbstractContextManager[Server]]] = {
        PEER: lambda own, url: vmagent(own, url, scrape),
        PEER_IDLE: lambda own, url: vmagent(own, url, scrape, f"-remoteWrite.urlRelabelConfig={dropping}"),
        OURS: lambda own, url: agent(own, config + PUSH.format(url=url)),
        OURS_IDLE: lambda own, url: agent(own, config),
    }
    with ExitStack() as all_run:
        running: dict[str, tuple[Server, Server]] = {}
        for number, (name, start) in enumerate(starts.items()):
            own = folder / str(number)
            far = all_run.enter_context(victoria_metrics(own / "far"))
            running[name] = all_run.enter_context(start(own, f"{far.url}/api/v1/write")), far
        time.sleep(WARM_UP_S)
        before = {name: _look(name, *pair) for name, pair in running.items()}
        time.sleep(seconds)
        spent = {name: _look(name, *pair) - before[name] for name, pair in running.items()}
    wanted = 0.8 * seconds * TARGETS * SERIES / 1e6
    for name, (_, _, millions, _) in spent.items():
        if millions < wanted:
            raise RuntimeError(f"{name} took only {millions:.2f} million samples, not {wanted:.2f}")
    return {
        name: (cpu / millions, far_cpu / millions, read / millions / 1e6)
        for name, (cpu, far_cpu, millions, read) in spent.items()
    }


def _look(name: str, server: Server, far: Server) -> NDArray[np.float64]:
    counted = server if name in COUNTERS else far
    millions = counter(counted.url, COUNTERS.get(name, ROWS)) / 1e6
    return np.array([usage(server.pid).cpu_s, usage(far.pid).cpu_s, millions, counter(far.url, BYTES)])


async def delivered(folder: Path, version: str, rounds: int) -> tuple[float, float, float]:
    """Ship a full journal; return samples per second, CPU seconds per million samples, and bytes a sample."""
    series, telemetry, clock = SeriesTable(), Telemetry(), SystemClock()
    journal = Journal(folder / "journal", series, telemetry, clock, JournalConfig(sync="never"))
    reader = journal.reader("far")
    now_ms = clock.now_ms() - rounds * 1000
    layouts = [Layout(series.intern_many(_keys(n)), f"t{n}") for n in range(TARGETS)]
    chance = np.random.default_rng(1)
    for step in range(rounds):
        for layout in layouts:
            values = chance.integers(0, 1000, SERIES) + step * 1000.0
            await journal.append(Batch(layout, now_ms + 1000 * step, values))
    with victoria_metrics(folder / "far") as far:
        context = Context("far", series, telemetry, clock)
        config = RemoteWriteSink.Config(url=f"{far.url}/api/v1/write", version=version)
        quarantine = Quarantine(folder / "quarantine", series, clock)
        line = Line(
            "remote_write",
            RemoteWriteSink(config, context),
            reader,
            lambda: journal.next_sequence,
            context,
            Limits(5000, 10, 4, 20_000),
            quarantine,
        )
        before, began = usage(psutil.Process().pid).cpu_s, time.perf_counter()
        line.start()
        while line.status().behind:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)
        spent_s, cpu_s = time.perf_counter() - began, usage(psutil.Process().pid).cpu_s - before
        samples = rounds * TARGETS * SERIES
        assert line.status().delivered_samples == samples
        read = counter(far.url, BYTES)
        await line.stop()
    await journal.close()
    return samples / spent_s, cpu_s / samples * 1e6, read / samples


def _keys(target: int) -> list[bytes]:
    return [
        encode_labels(
            {
                "__name__": f"app_subsystem_metric_{n // 10:03d}_total",
                "instance": f"host-{target:03d}:9100",
                "job": "bench",
                "method": "GET",
                "route": f"/api/v{n % 10}/items",
                "zone": f"z{n % 3}",
            }
        )
        for n in range(SERIES)
    ]


def main(seconds: float) -> None:
    """Print CPU seconds per million samples and ratios to vmagent."""
    with workspace() as folder, targets(SERIES) as port:
        found = scraped(folder, port, seconds)
        alone = asyncio.run(delivered(folder / "alone", "auto", ROUNDS))
    peer = found[PEER][0]
    table(
        f"Remote write out: {TARGETS} targets × {SERIES} series scraped each second, {seconds:g} s",
        ("who", "CPU s per million", "at VictoriaMetrics", "bytes a sample", "CPU ratio"),
        [(name, *row, row[0] / peer) for name, row in found.items()],
    )
    theirs, ours = peer - found[PEER_IDLE][0], found[OURS][0] - found[OURS_IDLE][0]
    rows = [
        (PEER, theirs, 1.0),
        (OURS, ours, ours / theirs),
        ("from a full journal", alone[1], alone[1] / theirs),
    ]
    table(
        "Shipping without scraping and keeping",
        ("who", "CPU s per million", "CPU ratio"),
        rows,
    )
    print(f"\nFrom a full journal: {alone[0] / 1e6:.2f} million samples/s, {alone[2]:.1f} bytes a sample")


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 25)
