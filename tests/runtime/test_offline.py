"""The data directory of a stopped agent: imports cost its sinks nothing, failures leave no lock."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metricsmith.errors import JournalError
from metricsmith.journal import Journal
from metricsmith.journal.config import JournalConfig
from metricsmith.model.batch import Batch, Layout
from metricsmith.model.series import SeriesTable
from metricsmith.model.telemetry import Telemetry
from metricsmith.runtime.offline import OfflineStore, open_offline
from metricsmith.store.settings import EmbeddedConfig
from metricsmith.testing.clock import FakeClock

SMALL = JournalConfig(segment_size=16 << 10, max_size=64 << 10)
BATCH = 250


def batches(store: OfflineStore, clock: FakeClock) -> Iterator[Batch]:
    """Yield more than the journal may hold, of values that cannot be compressed."""
    random = np.random.default_rng(1)
    ids = store.series_table.intern_many([b"x"])
    for n in range(60):
        times = clock.now_ms() - 10**8 + np.arange(n * BATCH, (n + 1) * BATCH, dtype=np.int64)
        yield Batch(Layout(np.repeat(ids, BATCH)), times, random.random(BATCH))


async def fill(folder: Path, clock: FakeClock) -> int:
    """Put in what the directory takes; return how many samples it took."""
    taken = 0
    async with open_offline(EmbeddedConfig(path=str(folder)), SMALL, clock) as store:
        for batch in batches(store, clock):
            taken += await store.accept(batch)
    return taken


async def test_sinks_lose_nothing_for_an_import(tmp_path: Path) -> None:
    clock = FakeClock()
    assert await fill(tmp_path / "alone", clock) == 60 * BATCH, "without sinks nothing is kept for them"

    folder = tmp_path / "shipped"
    async with open_offline(EmbeddedConfig(path=str(folder)), SMALL, clock):
        pass
    journal = Journal(folder / "journal", SeriesTable(), Telemetry(clock), clock, SMALL)
    await journal.reader("far").close()
    await journal.close()
    with pytest.raises(JournalError, match="sinks get what is imported"):
        await fill(folder, clock)
    journal = Journal(folder / "journal", SeriesTable(), Telemetry(clock), clock, SMALL)
    assert await journal.make_room() == []
    assert sum(len(batch) for _, batch in journal.replay(0)) >= 2 * BATCH
    await journal.close()


async def test_a_journal_that_cannot_be_replayed_leaves_no_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, clock = EmbeddedConfig(path=str(tmp_path)), FakeClock()

    def fails(*_: Any) -> Iterator[Any]:
        raise JournalError("cannot be read")

    with monkeypatch.context() as broken:
        broken.setattr(Journal, "replay", fails)
        with pytest.raises(JournalError, match="cannot be read"):
            async with open_offline(config, clock=clock):
                pass
    async with open_offline(config, clock=clock) as store:
        assert store.time_span() is None
