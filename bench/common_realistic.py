"""An hour of real metrics: the node exporter and the demo's shop, recorded and drawn again for many hosts.

What a recording holds is kept (which series change, how often, by how much, and with how many decimals),
as that decides how well samples compress. Each seed draws other values from it.
"""

from __future__ import annotations

import asyncio
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import numpy as np
from prometheus_client.parser import text_string_to_metric_families

from metricsmith.demo.load import generate_load
from metricsmith.demo.programs import first_address, program
from metricsmith.model.arrays import F64, I64
from metricsmith.model.labels import encode_labels
from metricsmith.testing.services import node_exporter
from metricsmith.wire.remote_write_encode import encode_series_labels, encode_write_request

SCRAPES, PAUSE_S = 61, 0.25
STEP_MS, STEPS = 15_000, 240
PARTS = round(STEP_MS / 1000 / PAUSE_S)
"""Recorded changes that make one step."""
EXACT_DECIMALS = 12
"""Values with more decimals are sums of floats: they are not rounded."""
SHOPS_PER_MACHINE = 5
LATE_SHARE, LATE_MS = 0.05, 10
"""So many scrapes are late by less than this, as on a real machine."""


@dataclass(frozen=True)
class Recorded:
    """One series of a recording: labels, the first value, its changes from scrape to scrape, decimals."""

    labels: dict[str, str]
    first: float
    changes: F64
    decimals: int
    rising: bool


@dataclass(frozen=True)
class Host:
    """Samples of one host, its series scraped together.

    Shapes:
        times: (T,)
        values: (S, T)
    """

    keys: list[bytes]
    times: I64
    values: F64


def record(folder: Path) -> dict[str, list[Recorded]]:
    """Return what the node exporter and a shop under load show over some seconds."""
    with node_exporter(folder / "node") as node, _shop() as shop:
        pages = {"node": f"{node.url}/metrics", "shop": f"{shop}/metrics"}
        seen: dict[str, list[dict[str, tuple[dict[str, str], float]]]] = {job: [] for job in pages}
        for _ in range(SCRAPES):
            for job, page in pages.items():
                seen[job].append(_scraped(page))
            time.sleep(PAUSE_S)
    return {job: _recorded(scrapes) for job, scrapes in seen.items()}


def hosts(recordings: dict[str, list[Recorded]], machines: int, start_ms: int) -> Iterator[Host]:
    """Yield so many hosts with a node exporter and several shops on each, an hour of all."""
    for job, recorded in recordings.items():
        for number in range(machines * (SHOPS_PER_MACHINE if job == "shop" else 1)):
            chance = np.random.default_rng([number, len(job), len(recorded)])
            times = start_ms + int(chance.integers(0, STEP_MS)) + STEP_MS * np.arange(STEPS, dtype=np.int64)
            late = chance.random(STEPS) < LATE_SHARE
            times[late] += chance.integers(1, LATE_MS, int(late.sum()))
            instance = f"{job}-{number:03d}.example.net:9100"
            common = {"job": job, "instance": instance}
            keys = [encode_labels(each.labels | common) for each in recorded]
            yield Host(keys, times, np.array([_drawn(each, chance) for each in recorded]))


def write_requests(found: list[Host], steps: int = 20) -> Iterator[bytes]:
    """Yield the samples of all hosts as remote-write bodies, some scrapes of a host in each."""
    labels = [[encode_series_labels(key) for key in host.keys] for host in found]
    for first in range(0, STEPS, steps):
        for host, names in zip(found, labels, strict=True):
            times, values = host.times[first : first + steps], host.values[:, first : first + steps]
            counts = [len(times)] * len(names)
            yield encode_write_request(names, counts, np.tile(times, len(names)), values.ravel())


def _scraped(url: str) -> dict[str, tuple[dict[str, str], float]]:
    with urllib.request.urlopen(url, timeout=10) as answer:
        text = answer.read().decode()
    samples = [s for family in text_string_to_metric_families(text) for s in family.samples]
    return {
        f"{s.name}{sorted(s.labels.items())}": ({"__name__": s.name, **s.labels}, s.value) for s in samples
    }


def _recorded(scrapes: list[dict[str, tuple[dict[str, str], float]]]) -> list[Recorded]:
    """Return the series that every scrape has."""
    found = []
    for key in sorted(set.intersection(*(set(scrape) for scrape in scrapes))):
        values = [scrape[key][1] for scrape in scrapes]
        decimals = max(_decimals(value) for value in values)
        changes = np.diff(values)
        rising = bool((changes >= 0).all() and changes.any())
        found.append(Recorded(scrapes[0][key][0], values[0], changes, decimals, rising))
    return found


def _decimals(value: float) -> int:
    if not np.isfinite(value):
        return 0
    return max(0, -int(Decimal(repr(value)).normalize().as_tuple().exponent))


def _drawn(recorded: Recorded, chance: np.random.Generator) -> F64:
    """Return an hour of a series: counters rise by sums of recorded changes, gauges wander by single ones."""
    if not recorded.changes.any():
        return np.full(STEPS, recorded.first)
    if recorded.rising:
        drawn = chance.choice(recorded.changes, (STEPS, PARTS)).sum(axis=1)
        values = recorded.first * chance.uniform(0.5, 2) + np.cumsum(drawn)
    else:
        drawn = chance.choice(recorded.changes, STEPS) * chance.choice([-1.0, 1.0], STEPS)
        values = recorded.first + np.cumsum(drawn)
        values = np.abs(values) if recorded.first >= 0 else values
    return values if recorded.decimals > EXACT_DECIMALS else np.round(values, recorded.decimals)


@contextmanager
def _shop() -> Iterator[str]:
    """Run the demo's shop under load in an event loop of its own; yield its address."""
    address: list[str] = []
    ready, done = threading.Event(), threading.Event()

    async def serve() -> None:
        async with program("demo-shop", "--port", "0") as shop:
            address.append(await first_address(shop))
            ready.set()
            stop = asyncio.Event()
            load = asyncio.create_task(generate_load(address[0], 50, float("inf"), stop=stop))
            await asyncio.to_thread(done.wait)
            stop.set()
            await load

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    if not ready.wait(30):
        raise RuntimeError("the shop did not start")
    try:
        yield address[0]
    finally:
        done.set()
        thread.join()
