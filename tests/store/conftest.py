"""A store of one life of a process, what is sent to it, and the dictionary that it must equal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from metricsmith.contracts import Context
from metricsmith.model.batch import Batch, Layout
from metricsmith.model.labels import decode_labels, encode_labels
from metricsmith.model.matchers import Matcher
from metricsmith.model.metadata import Metadata, MetricType
from metricsmith.model.selection import Selection
from metricsmith.model.series import SeriesTable
from metricsmith.model.telemetry import Telemetry
from metricsmith.store.admission import FUTURE_MS
from metricsmith.store.embedded import EmbeddedConfig, EmbeddedStore
from metricsmith.testing.clock import FakeClock

HOUR = 3_600_000
NOW = 1_700_000_000_000
RETENTION = 48 * HOUR
KEYS = [
    encode_labels({"__name__": name, "job": job, **({"zone": "z"} if job == "b" else {})})
    for name in ("up", "requests_total", "load")
    for job in ("a", "b")
]
Sent = tuple[tuple[int, ...], str | None, int | tuple[int, ...], tuple[float, ...], tuple[bool, ...] | None]
Samples = dict[bytes, dict[int, float | None]]
"""key → time → value, None for a staleness marker."""


class Process:
    """One life of a process: a series table and a store over a folder that outlives it."""

    def __init__(
        self, folder: Path, head_bytes: int = 1 << 20, max_disk: int | None = None, now_ms: int = NOW
    ) -> None:
        self.clock = FakeClock(now_ms)
        self.telemetry = Telemetry(self.clock)
        self.table = SeriesTable()
        self.table.intern(b"a_series_of_somebody_else")
        config = EmbeddedConfig.model_validate(
            {
                "path": str(folder),
                "retention": "48h",
                "head_age": "20m",
                "max_disk": max_disk,
            }
        )
        config = config.model_copy(update={"head_bytes": head_bytes})  # smaller than a person may have it
        self.store = EmbeddedStore(config, Context("store", self.table, self.telemetry, self.clock))
        self.layouts: dict[tuple[object, ...], Layout] = {}

    def batch(self, sent: Sent) -> Batch:
        rows, stream, at, values, stale = sent
        layout = self.layouts.get((rows, stream))
        if layout is None:
            layout = Layout(
                self.table.intern_many(KEYS[i] for i in rows), stream, {"up": Metadata(MetricType.GAUGE)}
            )
            self.layouts[rows, stream] = layout
        times = at if isinstance(at, int) else np.array(at, np.int64)
        mask = None if stale is None else np.array(stale, bool)
        return Batch(layout, times, np.array(values, float), mask)

    def accept(self, sent: Sent, sequence: int) -> None:
        self.store.apply(self.store.admit(self.batch(sent)), sequence)

    def everything(self) -> Samples:
        return as_dict(self.store.select([], -(1 << 61), 1 << 61))

    def flush(self) -> None:
        self.clock.advance(1800)
        self.store.tick(self.clock.now_ms())
        self.store._heads.wait_for_write(self.clock.now_ms())
        if (upkeep := self.store._upkeep) is not None:
            upkeep.exception()  # merges in the background are over before a test looks
        self.clock.advance(-1800)

    def refused(self, reason: str) -> float:
        return self.telemetry.value("metricsmith_samples_dropped_total", component="store", reason=reason)


def apply_to_model(model: Samples, sent: Sent) -> None:
    rows, _, at, values, stale = sent
    for i, row in enumerate(rows):
        t = at if isinstance(at, int) else at[i]
        if NOW - RETENTION <= t <= NOW + FUTURE_MS:
            model.setdefault(KEYS[row], {})[t] = None if stale is not None and stale[i] else values[i]


def as_dict(selection: Selection) -> Samples:
    out: Samples = {}

    def put(row: int, times, values, stale) -> None:
        marks = np.zeros(len(times), bool) if stale is None else stale
        samples = zip(times.tolist(), values.tolist(), marks.tolist(), strict=True)
        assert selection.keys[row] not in out
        out[selection.keys[row]] = {t: None if s else v for t, v, s in samples}

    for m in selection.matrices:
        for row, values in zip(m.rows.tolist(), m.values, strict=True):
            put(row, m.times, values, m.stale)
    if (g := selection.ragged) is not None:
        for i, row in enumerate(g.rows.tolist()):
            at = slice(int(g.offsets[i]), int(g.offsets[i + 1]))
            put(row, g.times[at], g.values[at], None if g.stale is None else g.stale[at])
    return out


def selected_from(model: Samples, matchers: Sequence[Matcher], start: int, end: int) -> Samples:
    out: Samples = {}
    for key, row in model.items():
        labels = decode_labels(key)
        inside = {t: v for t, v in row.items() if start <= t <= end}
        if inside and all(m.matches(labels.get(m.name, "")) for m in matchers):
            out[key] = inside
    return out


def scrape(at: int, value: float, rows: tuple[int, ...] = (0, 1, 2)) -> Sent:
    return rows, "x", at, (value,) * len(rows), None


@pytest.fixture(scope="session")
def lab() -> SimpleNamespace:
    """The helpers of this file."""
    return SimpleNamespace(
        KEYS=KEYS, Process=Process, scrape=scrape, as_dict=as_dict,
        apply_to_model=apply_to_model, selected_from=selected_from,
    )  # fmt: skip


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Process]:
    """A store of this test's folder; it is closed in the end."""
    made = Process(tmp_path)
    yield made
    made.store.close(flush=False)
