"""Importing a data directory: all that an agent would show of it, and nothing of it is changed."""

from __future__ import annotations

import errno
from pathlib import Path

import numpy as np
import pytest

from metricsmith.errors import DataDirLocked
from metricsmith.journal.config import JournalConfig
from metricsmith.journal.segment import SegmentFile
from metricsmith.model.batch import Batch, Layout
from metricsmith.model.labels import encode_labels
from metricsmith.model.matchers import Matcher, MatchOp
from metricsmith.model.metadata import Metadata, MetricType
from metricsmith.model.series import SeriesTable
from metricsmith.runtime.import_files import ImportFile, ImportFormat
from metricsmith.runtime.importing import Importer
from metricsmith.runtime.offline import OfflineStore, open_offline
from metricsmith.store.settings import EmbeddedConfig
from metricsmith.testing.clock import FakeClock
from metricsmith.wire.sample_files.columns import Damage

Content = dict[str, dict[int, float | None]]
KNOWN = Metadata(MetricType.COUNTER, "", "Things.")


async def put(store: OfflineStore, content: Content) -> None:
    for n, samples in content.items():
        series = store.series_table.intern(encode_labels({"__name__": "x", "n": n}))
        values = np.array([np.nan if v is None else v for v in samples.values()])
        marks = np.array([v is None for v in samples.values()])
        layout = Layout(np.full(len(samples), series, np.uint32), None, {"x": KNOWN})
        await store.accept(Batch(layout, np.array(list(samples), np.int64), values, marks))


def content_of(store: OfflineStore) -> Content:
    found = store.samples([], 0, 1 << 60, 1 << 60)
    marks = np.zeros(len(found.times), bool) if found.stale is None else found.stale
    content: Content = {}
    for at, series in enumerate(found.series.tolist()):
        own = slice(found.offsets[at], found.offsets[at + 1])
        rows = zip(found.times[own].tolist(), found.values[own].tolist(), marks[own], strict=True)
        content[store.series_table.labels(series)["n"]] = {t: None if m else v for t, v, m in rows}
    return content


def state_of(folder: Path) -> dict[str, bytes]:
    """Return all files but who last had the lock."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "LOCK"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


async def make(folder: Path, clock: FakeClock) -> Content:
    """Fill a directory with overlapping blocks, a delete and a journal that is ahead; return what it has."""
    config, now = EmbeddedConfig(path=str(folder)), clock.now_ms()
    hour = 3_600_000
    async with open_offline(config, clock=clock) as store:
        await put(store, {n: {now - ago * hour: 1.0 for ago in (40, 20, 1)} for n in "abc"})
        await store.admin.flush()
        await put(store, {"a": {now - 20 * hour: 7.0, now - 1 * hour: None}})
        await store.admin.delete_series([[Matcher("n", MatchOp.EQ, "b")]], now - 30 * hour, now)
        await put(store, {"b": {now - 1 * hour: 3.0}})
        content = content_of(store)
    store = OfflineStore(config, JournalConfig(), clock, SeriesTable())
    store.replay()
    await put(store, {"d": {now: 4.0}, "a": {now - 40 * hour: 8.0}})
    await store.close(flush=False)  # as a kill leaves it
    content["d"] = {now: 4.0}
    content["a"][now - 40 * hour] = 8.0
    assert content["b"] == {now - 40 * hour: 1.0, now - 1 * hour: 3.0}
    return content


async def test_what_an_agent_would_show_and_nothing_is_changed(tmp_path: Path) -> None:
    clock, told, source = FakeClock(), [], tmp_path / "backup"
    wanted = await make(source, clock)
    before, table = state_of(source), SeriesTable()

    def tell(path: Path, damage: Damage) -> None:
        told.append((path, damage))

    async with open_offline(EmbeddedConfig(path=str(tmp_path / "to")), clock=clock, table=table) as store:
        importer = Importer(store, table, {})
        for part in ImportFile(source, ImportFormat.DIRECTORY, tell).parts(table):
            await importer.take(part)
        assert content_of(store) == wanted
        assert store.metadata()["x"] == KNOWN
    assert told == []
    assert state_of(source) == before


async def test_a_journal_that_cannot_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is beyond the blocks is missing then, which is no torn end."""
    await make(tmp_path, FakeClock())
    told: list[str] = []

    def unreadable(path: Path) -> SegmentFile:
        raise OSError(errno.EIO, "Input/output error", str(path))

    monkeypatch.setattr("metricsmith.journal.tail.SegmentFile", unreadable)
    table = SeriesTable()
    tell = lambda _, damage: told.append(damage.problem)  # noqa: E731
    parts = ImportFile(tmp_path, ImportFormat.DIRECTORY, tell).parts(table)
    assert sum(len(part.columns.times) for part in parts) > 0
    assert told == ["cannot be read: unreadable"]


async def test_a_directory_in_use_is_refused(tmp_path: Path) -> None:
    table = SeriesTable()
    async with open_offline(EmbeddedConfig(path=str(tmp_path)), clock=FakeClock()):
        with pytest.raises(DataDirLocked, match="in use by process"):
            list(ImportFile(tmp_path, ImportFormat.DIRECTORY, lambda *_: None).parts(table))
