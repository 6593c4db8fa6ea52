"""What the journal's tests share: a way to open a journal, batches, and their comparison."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metricsmith.journal import Journal, JournalConfig
from metricsmith.model.batch import Batch, Layout
from metricsmith.model.clock import SystemClock
from metricsmith.model.labels import encode_labels
from metricsmith.model.metadata import Metadata, MetricType
from metricsmith.model.series import SeriesTable
from metricsmith.model.telemetry import Telemetry


class Bench:
    """A journal's folder with the parts around it; `open` begins a new process, as far as it can tell."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.restart()

    def restart(self) -> None:
        self.series = SeriesTable()
        self.telemetry = Telemetry()
        self.series.intern(b"ids of one process differ from those of another %d" % id(self.series))

    def open(self, **settings: Any) -> Journal:
        return Journal(self.folder, self.series, self.telemetry, SystemClock(), JournalConfig(**settings))

    def keys(self, batch: Batch) -> list[bytes]:
        return [self.series.key(i) for i in batch.layout.ids.tolist()]

    def seen(self, batch: Batch) -> tuple[object, ...]:
        """What of a batch must survive, comparable between processes; a marker's value need not."""
        stale = batch.stales()
        value = np.where(stale, 0.0, batch.value)
        return (
            self.keys(batch),
            batch.layout.stream,
            dict(batch.layout.metadata),
            batch.times().tolist(),
            ["nan" if v != v else v.hex() for v in value.tolist()],
            stale.tolist(),
            batch.events,
        )

    def layout(self, names: range, stream: str | None = "shop", help: str = "") -> Layout:
        keys = [encode_labels({"__name__": f"m{i // 10}", "i": str(i)}) for i in names]
        metadata = {"m0": Metadata(MetricType.COUNTER, "s", help)} if help else {}
        return Layout(self.series.intern_many(keys), stream, metadata)

    def segments(self) -> list[Path]:
        return sorted(self.folder.glob("*.journal"))

    def damaged(self, reason: str) -> float:
        return self.telemetry.value("metricsmith_journal_damaged_total", reason=reason)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "journal")


@pytest.fixture
def fresh_bench(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Bench]:
    """A new folder at each call, for property tests."""
    return lambda: Bench(tmp_path_factory.mktemp("journal"))
