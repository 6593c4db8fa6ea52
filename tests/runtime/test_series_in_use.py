"""What passes through processors keeps its ids, stored or not; an id held too long becomes the new one."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from metricsmith.contracts import Delivery
from metricsmith.delivery.processing import Processing
from metricsmith.model.batch import Batch, Layout
from metricsmith.model.series import SeriesTable
from metricsmith.model.telemetry import Telemetry
from metricsmith.runtime.pipeline import Pipeline
from metricsmith.testing.clock import FakeClock


class Becomes:
    """Makes all series one other."""

    def __init__(self, table: SeriesTable, key: bytes) -> None:
        self.table, self.key, self.seen = table, key, []

    def process(self, batch: Batch) -> Batch:
        self.seen.append(batch.layout.ids.tolist())
        layout = Layout(np.array([self.table.intern(self.key)], np.uint32), "made")
        return batch.take(layout, np.array([0]))


class Drops:
    def process(self, batch: Batch) -> None:
        return None


@pytest.fixture(params=["sources", "sinks"])
def passing(request) -> SimpleNamespace:
    """A table of which somebody asks what is in use, processors, and a way through them."""
    table = SeriesTable()
    table.take_in_use()
    steps: list[Any] = [Becomes(table, b"between"), Becomes(table, b"in_the_end"), Drops()]

    async def emit(batch: Batch) -> None:
        if request.param == "sinks":
            await Processing(steps, table, None).of(Delivery([1], [batch]), 0)  # type: ignore[arg-type]
            return
        nothing = SimpleNamespace(on_commit=lambda _: None, check_space=lambda: None)
        pipeline = Pipeline(nothing, nothing, table, Telemetry(FakeClock(0)))  # type: ignore[arg-type]
        pipeline.processors = steps
        await pipeline.emit_for("source")(batch)

    return SimpleNamespace(table=table, steps=steps, emit=emit)


async def test_all_on_the_way_are_in_use(passing):
    layout = Layout(passing.table.intern_many([b"a", b"b"]), "scrape")
    for _ in range(2):
        await passing.emit(Batch(layout, 0, np.zeros(2)))
        known = np.arange(len(passing.table), dtype=np.uint32)
        assert [passing.table.key(i) for i in known] == [b"a", b"b", b"between", b"in_the_end"]
        assert passing.table.in_use(known).all()
        passing.table.take_in_use()
        assert not passing.table.in_use(known).any()


async def test_processors_see_the_ids_that_series_have_now(passing):
    layout = Layout(passing.table.intern_many([b"a", b"b"]), "scrape")
    await passing.emit(Batch(layout, 0, np.zeros(2)))
    passing.table.retire(np.arange(3, dtype=np.uint32))
    await passing.emit(Batch(layout, 1, np.zeros(2)))
    assert passing.steps[0].seen == [[0, 1], [4, 5]]
    assert passing.steps[1].seen == [[2], [6]]
