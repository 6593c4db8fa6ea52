"""What tests of processors share: series by their labels, batches, and what comes out of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from metricsmith import registry
from metricsmith.contracts import Context
from metricsmith.model.batch import Batch, Layout
from metricsmith.model.labels import encode_labels, format_labels
from metricsmith.model.metadata import Metadata, MetricType
from metricsmith.model.series import SeriesTable
from metricsmith.model.telemetry import Telemetry
from metricsmith.syntax.selector import parse_selector
from metricsmith.testing.clock import FakeClock

STALE = "stale"
TYPES = {
    "hits_total": MetricType.COUNTER,
    "size": MetricType.GAUGE,
    "lat": MetricType.HISTOGRAM,
    "dur": MetricType.SUMMARY,
}


class CountingTable(SeriesTable):
    """A series table that counts how often somebody looks at the labels of one series, or interns one."""

    def __init__(self) -> None:
        super().__init__()
        self.looks = 0

    def key(self, series: int) -> bytes:
        self.looks += 1
        return super().key(series)

    def labels(self, series: int) -> dict[str, str]:
        self.looks += 1
        return super().labels(series)

    def intern(self, key: bytes) -> int:
        self.looks += 1
        return super().intern(key)


class Lab:
    """One processor's surroundings."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.table = CountingTable()
        self.telemetry = Telemetry(self.clock)
        self.context = Context("p", self.table, self.telemetry, self.clock)

    def processor(self, type_name: str, **config: Any) -> Any:
        part = registry.load("processors", type_name)
        return part(part.Config.model_validate(config), self.context)

    def layout(self, *series: str, stream: str | None = "s", types: Any = TYPES) -> Layout:
        """Return a layout of series written as PromQL writes them."""
        keys = []
        for text in series:
            labels = {m.name: m.value for m in parse_selector(text).matchers}
            keys.append(encode_labels(labels))
        ids = np.array([self.table.intern(key) for key in keys], dtype=np.uint32)
        return Layout(ids, stream, {name: Metadata(kind) for name, kind in types.items()})

    def batch(self, time_s: Any, values: dict[str, Any], **layout: Any) -> Batch:
        """Return a batch of values by series; `STALE` ends one."""
        made = self.layout(*values, **layout)
        stale = np.array([value == STALE for value in values.values()])
        numbers = [np.nan if value == STALE else value for value in values.values()]
        time_ms = time_s * 1000 if isinstance(time_s, int) else np.array(time_s, dtype=np.int64) * 1000
        return Batch(made, time_ms, np.array(numbers, dtype=np.float64), stale if stale.any() else None)

    def shown(self, batch: Batch | None) -> dict[str, Any]:
        """Return the value of each series, the last where it has several."""
        if batch is None:
            return {}
        names = [format_labels(self.table.labels(series)) for series in batch.layout.ids.tolist()]
        values = zip(batch.value.tolist(), batch.stales().tolist(), strict=True)
        found = [STALE if stale else value for value, stale in values]
        return dict(zip(names, found, strict=True))

    def dropped(self, reason: str) -> float:
        return self.telemetry.value("metricsmith_samples_dropped_total", component="p", reason=reason)


@pytest.fixture
def lab() -> Lab:
    return Lab()


@pytest.fixture(scope="session")
def new_lab() -> type[Lab]:
    """A lab for each example of a property."""
    return Lab
