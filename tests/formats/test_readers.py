"""The pages of docs/formats suffice to read what is on disk: here are readers without metricsmith."""

from __future__ import annotations

import asyncio
import json
import math
import pickle
import random
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metricsmith.config.load import load_text
from metricsmith.contracts import Delivery
from metricsmith.delivery.quarantine import Quarantine
from metricsmith.model.batch import Batch, Layout, event_batch
from metricsmith.model.events import Event
from metricsmith.model.labels import decode_labels, encode_labels
from metricsmith.model.matchers import Matcher, MatchOp
from metricsmith.model.metadata import Metadata, MetricType
from metricsmith.model.series import SeriesTable
from metricsmith.runtime.agent import Agent
from metricsmith.testing.clock import FakeClock

NOW = 1_700_000_000_000
HOUR = 3_600_000
KEYS = [
    encode_labels({"__name__": name, "job": job, **({"zone": "ü"} if job == "b" else {})})
    for name in ("up", "requests_total", "load", "")
    for job in ("a", "b")
]
VALUES = [0.0, -0.0, 1.5, math.nan, math.inf, -math.inf, 5e-324, 2.0**53 + 2]


def read_alone(script: str, folder: Path) -> Any:
    """Return what a reader finds, run as a program that cannot import metricsmith."""
    path = Path(__file__).with_name(script)
    blocked = "import runpy, sys; sys.modules['metricsmith'] = None; sys.argv = sys.argv[1:];"
    command = [sys.executable, "-c", f"{blocked} runpy.run_path(sys.argv[0], run_name='__main__')"]
    done = subprocess.run([*command, str(path), str(folder)], capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr.decode()
    return pickle.loads(done.stdout)


class Filled:
    """An agent that was sent batches of all kinds, over several lives of the process."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.clock, self.chance = folder, FakeClock(NOW), random.Random(5)
        self.sent: list[Any] = []

    async def begin(self) -> None:
        text = f'storage: {{path: "{self.folder}", retention: 30d}}'
        self.agent = Agent(load_text(text, "", {}), self.clock)
        await self.agent.start(asyncio.Event())

    async def send(self, batch: Batch) -> None:
        await self.agent.pipeline.accept("test", batch)
        self.sent.append(self.seen(batch))

    def seen(self, batch: Batch) -> Any:
        metadata = {n: [m.type.value, m.unit, m.help] for n, m in batch.layout.metadata.items()}
        return (
            [self.agent.series.key(i) for i in batch.layout.ids.tolist()],
            batch.layout.stream,
            metadata,
            [] if batch.events else batch.times().tolist(),
            bits(batch.value, batch.stales()),
            [[e.time_ms, e.summary, e.category, dict(e.attributes)] for e in batch.events],
        )

    def some(self) -> Batch:
        """Return a batch: of a stream or loose, of one time or many, in one of some windows, with markers."""
        chance = self.chance
        keys = chance.sample(KEYS, chance.randint(1, len(KEYS)))
        stream = chance.choice(["shop", None])
        metadata = {"up": Metadata(MetricType.GAUGE, "", "Whether.")} if stream else {}
        layout = Layout(self.agent.series.intern_many(keys), stream, metadata)
        base = NOW - chance.choice([0, 1, 5, 30]) * HOUR
        times: Any = base + 1000 * chance.randint(0, 20)
        if chance.random() < 0.5:
            times = np.array([base + 1000 * chance.randint(0, 20) for _ in keys])
        stale = np.array([chance.random() < 0.2 for _ in keys])
        values = np.array([chance.choice(VALUES) for _ in keys])
        return Batch(layout, times, values, stale if stale.any() else None)

    def long(self) -> Batch:
        """Return a series of more samples than a row group has."""
        ids = np.repeat(self.agent.series.intern_many([KEYS[0]]), 40_000)
        return Batch(Layout(ids), NOW - 8 * HOUR + 100 * np.arange(40_000), np.arange(40_000.0))


def bits(values: Any, stale: Any) -> list[Any]:
    """Return values that can be compared, the sign of zero and NaN too; None for a marker."""
    return [
        None if s else "nan" if math.isnan(v) else float(v).hex() for v, s in zip(values, stale, strict=True)
    ]


@pytest.fixture
async def filled(tmp_path: Path) -> AsyncIterator[Filled]:
    made = Filled(tmp_path / "data")
    for life in range(3):
        await made.begin()
        for _ in range(12):
            await made.send(made.some())
        if life == 1:
            await made.send(made.long())
            await made.send(event_batch([Event(NOW, "deployed", "change", {"by": "ü", "ok": True})], NOW))
        shutil.copytree(tmp_path / "data" / "journal", tmp_path / f"journal{life}")
        await made.agent.stop()
        made.clock.advance(1)
    await made.begin()
    yield made
    await made.agent.stop()


def stored(agent: Agent) -> dict[Any, dict[int, Any]]:
    """Return what the store selects of all time, in the form of the reader."""
    selection = agent.store.select([], NOW - 100 * HOUR, NOW + HOUR)
    found: dict[Any, dict[int, Any]] = {}

    def put(row: int, times: Any, values: Any, stale: Any) -> None:
        labels = decode_labels(selection.keys[row])
        name = labels.pop("__name__", "")
        marks = np.zeros(len(times), bool) if stale is None else stale
        found[name, tuple(sorted(labels.items()))] = dict(
            zip(times.tolist(), bits(values, marks), strict=True)
        )

    for m in selection.matrices:
        for row, values in zip(m.rows.tolist(), m.values, strict=True):
            put(row, m.times, values, m.stale)
    if (g := selection.ragged) is not None:
        for i, row in enumerate(g.rows.tolist()):
            at = slice(int(g.offsets[i]), int(g.offsets[i + 1]))
            put(row, g.times[at], g.values[at], None if g.stale is None else g.stale[at])
    return found


def comparable(read: dict[Any, dict[int, Any]]) -> dict[Any, dict[int, Any]]:
    def of(samples: dict[int, Any]) -> list[Any]:
        values = samples.values()
        return bits([math.nan if v is None else v for v in values], [v is None for v in values])

    return {series: dict(zip(samples, of(samples), strict=True)) for series, samples in read.items()}


async def test_blocks_are_read_as_documented(filled):
    assert filled.agent.store.status().head_samples == 0
    blocks = list((filled.folder / "blocks").iterdir())
    assert len(blocks) > 4, "blocks overlap"
    read = read_alone("read_blocks.py", filled.folder)
    assert len(read) == len(KEYS)
    assert comparable(read) == stored(filled.agent)


async def test_what_was_deleted_is_left_out_as_documented(filled):
    store = filled.agent.store
    some = (Matcher("__name__", MatchOp.RE, "up|lo.*"), Matcher("job", MatchOp.NE, "b"))
    none = (Matcher("__name__", MatchOp.EQ, "requests_total"), Matcher("zone", MatchOp.NRE, ".*"))
    by_zone = (Matcher("zone", MatchOp.EQ, "ü"), Matcher("__name__", MatchOp.EQ, ""))
    before = stored(filled.agent)
    store.delete_series((some, none), NOW - 6 * HOUR, NOW + 5000)
    store.delete_series((by_zone,), NOW - HOUR, NOW)
    await filled.send(filled.some())
    await filled.agent.stop()
    await filled.begin()
    manifest = sqlite3.connect(filled.folder / "manifest.sqlite")
    assert manifest.execute("SELECT count(*) FROM tombstones").fetchone() == (2,), "blocks have it still"
    manifest.close()
    left = stored(filled.agent)
    assert left != before
    assert comparable(read_alone("read_blocks.py", filled.folder)) == left


async def test_a_journal_is_read_as_documented(filled, tmp_path):
    batches = read_alone("read_journal.py", tmp_path / "journal2")
    numbers = [sequence for sequence, *_ in batches]
    assert numbers == list(range(numbers[0], len(filled.sent)))
    assert len(set(numbers)) == len(batches) > 12, "more than one life"
    got = [
        (keys, stream, metadata, times, bits(values, stale), events)
        for _, keys, stream, metadata, times, values, stale, events in batches
    ]
    assert got == filled.sent[numbers[0] :]


def test_a_quarantine_is_as_documented(tmp_path):
    series = SeriesTable()
    layout = Layout(series.intern_many([KEYS[1], KEYS[0], KEYS[0]]))
    batch = Batch(layout, np.array([5, 6, 7]), np.array([1.5, math.inf, 0]), np.array([False, False, True]))
    events = event_batch([Event(9, "deployed", "change", {"ok": True})], 9)
    Quarantine(tmp_path, series, FakeClock(NOW)).put("oci", Delivery([0, 1], [batch, events]), "too old")
    [path] = tmp_path.iterdir()
    assert path.name == f"{NOW}-0000.json"
    assert json.loads(path.read_text()) == {
        "sink": "oci",
        "at_ms": NOW,
        "reason": "too old",
        "samples": [
            {"labels": {"__name__": "up", "job": "b", "zone": "ü"}, "time_ms": 5, "value": "1.5"},
            {"labels": {"__name__": "up", "job": "a"}, "time_ms": 6, "value": "inf"},
            {"labels": {"__name__": "up", "job": "a"}, "time_ms": 7, "value": None},
        ],
        "events": [{"time_ms": 9, "summary": "deployed", "category": "change", "attributes": {"ok": True}}],
    }
