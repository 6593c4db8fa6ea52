"""What is acknowledged can be replayed, in order, by this process and the next."""

from __future__ import annotations

import asyncio
import os

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metricsmith.errors import JournalError
from metricsmith.journal import Journal, JournalConfig
from metricsmith.model.batch import Batch, Layout, event_batch
from metricsmith.model.clock import SystemClock
from metricsmith.model.events import Event
from metricsmith.model.metadata import Metadata, MetricType

texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=5)
scalars = texts | st.booleans() | st.floats(allow_nan=False, allow_infinity=False)
events = st.builds(
    Event, st.integers(-(2**53), 2**53), texts, texts, st.dictionaries(texts, scalars, max_size=3)
)


@st.composite
def batches(draw: st.DrawFn) -> list[dict[str, object]]:
    """Descriptions of batches: a series set may come back, with or without stream, own times; events."""
    out = []
    for _ in range(draw(st.integers(1, 6))):
        if draw(st.integers(0, 4)) == 0:
            out.append({"events": draw(st.lists(events, min_size=1, max_size=3))})
            continue
        stream = draw(st.sampled_from([None, "a", "ü"]))
        names = draw(st.lists(st.integers(0, 40), max_size=12, unique=stream is not None))
        n = len(names)
        times: object = draw(st.integers(-(2**62), 2**62))
        if draw(st.booleans()):
            times = draw(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=n, max_size=n))
        values = draw(st.lists(st.floats(), min_size=n, max_size=n))
        stale = draw(st.none() | st.lists(st.booleans(), min_size=n, max_size=n))
        help = draw(st.sampled_from(["", "Ünits \x00 and\nlines"]))
        out.append(
            {"stream": stream, "names": names, "times": times, "values": values, "stale": stale, "help": help}
        )
    return out


def build(bench, description) -> Batch:
    if "events" in description:
        return event_batch(description["events"], 0)
    ids = bench.series.intern_many(b"m%d\xffl\xfev%d" % (i % 3, i) for i in description["names"])
    metadata = {"m": Metadata(MetricType.GAUGE, "s", description["help"])} if description["help"] else {}
    times = description["times"]
    return Batch(
        Layout(ids, description["stream"], metadata),
        times if isinstance(times, int) else np.array(times, dtype=np.int64),
        np.array(description["values"], dtype=np.float64),
        None if description["stale"] is None else np.array(description["stale"], dtype=np.bool_),
    )


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(descriptions=batches())
def test_what_was_appended_is_replayed(fresh_bench, descriptions):
    bench = fresh_bench()

    async def write() -> list[object]:
        journal = bench.open(segment_size=4096)
        written = [build(bench, d) for d in descriptions]
        for i, batch in enumerate(written):
            assert await journal.append(batch) == i
        await journal.close()
        return [bench.seen(b) for b in written]

    written = asyncio.run(write())
    bench.restart()
    journal = bench.open()
    assert journal.next_sequence == len(written)
    replayed = list(journal.replay(0))
    assert [s for s, _ in replayed] == list(range(len(written)))
    assert [bench.seen(b) for _, b in replayed] == written
    middle = len(written) // 2
    assert [s for s, _ in journal.replay(middle)] == list(range(middle, len(written)))


async def test_a_stream_keeps_its_layout_over_segments_until_it_changes(bench):
    journal = bench.open(segment_size=4096)
    layouts = [bench.layout(range(100)), bench.layout(range(101)), bench.layout(range(101), help="new")]
    rng = np.random.default_rng(1)
    for layout in layouts:
        for i in range(20):
            await journal.append(Batch(layout, i, rng.random(len(layout))))
    assert len(bench.segments()) > 3
    found = [batch.layout for _, batch in journal.replay(0)]
    assert len(found) == 60
    assert len({id(x) for x in found}) == 3
    await journal.close()


async def test_any_segment_alone_can_be_read(bench):
    journal = bench.open(segment_size=8192)
    streams = [bench.layout(range(i, i + 50), f"target {i}", "help") for i in range(4)]
    sent = [Batch(streams[i % 4], i, np.random.default_rng(i).random(50)) for i in range(200)]
    for batch in sent:
        await journal.append(batch)
    await journal.close()
    expected = [bench.seen(b) for b in sent]
    paths = bench.segments()
    assert len(paths) > 3
    for kept in paths:
        alone = type(bench)(bench.folder.parent / kept.stem)
        alone.folder.mkdir()
        (alone.folder / kept.name).write_bytes(kept.read_bytes())
        found = list(alone.open().replay(0))
        assert found
        for sequence, batch in found:
            assert alone.seen(batch) == expected[sequence]


async def test_the_sequence_goes_on_over_restarts_even_when_all_was_trimmed(bench):
    for start in range(0, 30, 10):
        journal = bench.open(segment_size=4096)
        journal.set_cursor("store", start)
        for i in range(10):
            sequence = await journal.append(Batch(bench.layout(range(300)), 0, np.random.rand(300)))
            assert sequence == start + i
        journal.set_cursor("store", start + 10)
        journal.trim()
        assert len(bench.segments()) == 1
        await journal.close()
        bench.restart()
    assert bench.open().next_sequence == 30


async def test_concurrent_appends_share_commits_and_are_applied_before_they_are_acknowledged(bench):
    journal = bench.open()
    applied: list[int] = []
    journal.on_commit(lambda committed: applied.extend(s for s, _ in committed))
    layout = bench.layout(range(100))

    async def client(i: int) -> int:
        sequence = await journal.append(Batch(layout, i, np.full(100, float(i))))
        assert sequence in applied
        return sequence

    sequences = await asyncio.gather(*(client(i) for i in range(100)))
    assert sorted(sequences) == applied == list(range(100))
    assert bench.telemetry.value("metricsmith_journal_commits_total") <= 5
    assert [s for s, _ in journal.replay(0)] == applied
    await journal.close()


async def test_a_cancelled_append_disturbs_nobody(bench):
    journal = bench.open()
    layout = bench.layout(range(3))
    tasks = [asyncio.create_task(journal.append(Batch(layout, i, np.zeros(3)))) for i in range(10)]
    await asyncio.sleep(0)
    tasks[3].cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(results[3], asyncio.CancelledError)
    assert sorted(r for r in results if isinstance(r, int)) == [s for s, _ in journal.replay(0)]
    await journal.close()


async def test_a_batch_that_does_not_fit_its_layout_fails_alone(bench):
    journal = bench.open()
    layout = bench.layout(range(3))
    wrong = [
        Batch(layout, 0, np.zeros(2)),
        Batch(layout, np.zeros(4, dtype=np.int64), np.zeros(3)),
        Batch(layout, 0, np.zeros(3), np.zeros(1, dtype=np.bool_)),
        Batch(layout, 2**63, np.zeros(3)),
        Batch(layout, 0, np.zeros(3), events=(Event(0, "s", "c"),)),
    ]
    results = await asyncio.gather(
        journal.append(Batch(layout, 0, np.zeros(3))),
        *(journal.append(b) for b in wrong),
        return_exceptions=True,
    )
    assert results[0] == 0
    assert all(isinstance(r, ValueError) for r in results[1:])
    await journal.close()
    with pytest.raises(JournalError, match="closed"):
        await journal.append(Batch(layout, 0, np.zeros(3)))


async def test_a_batch_that_cannot_be_encoded_fails_alone(bench):
    journal = bench.open()
    good = bench.layout(range(3))
    wrong = Layout(good.ids.copy(), "s", {"m": Metadata(MetricType.GAUGE, "", "\ud800")})
    results = await asyncio.gather(
        *(journal.append(Batch(x, 0, np.zeros(3))) for x in (good, good, wrong, good)), return_exceptions=True
    )
    assert isinstance(results[2], TypeError)
    assert [results[0], results[1], results[3]] == [0, 1, 2] == [s for s, _ in journal.replay(0)]
    await journal.close()


async def test_what_is_acknowledged_was_synced_when_each_commit_is(bench, monkeypatch):
    journal = bench.open()
    events = []
    sync = os.fdatasync
    monkeypatch.setattr(os, "fdatasync", lambda fd: (sync(fd), events.append("sync")))
    for i in range(3):
        await journal.append(Batch(bench.layout(range(3)), i, np.zeros(3)))
        events.append("acknowledged")
    assert events == ["sync", "acknowledged"] * 3
    await journal.close()


@pytest.mark.parametrize(("setting", "synced"), [("interval", True), ("never", False)])
async def test_a_segment_that_ends_is_synced_unless_told_never(bench, monkeypatch, setting, synced):
    journal = bench.open(sync=setting, sync_interval="11d", segment_size=4096)
    sync, events = os.fdatasync, []
    monkeypatch.setattr(os, "fdatasync", lambda fd: (sync(fd), events.append(fd)))
    while len(bench.segments()) < 2:
        await journal.append(Batch(bench.layout(range(100)), 0, np.random.default_rng(0).random(100)))
    assert bool(events) == synced
    await journal.close()


class HeldClock(SystemClock):
    """Sleeps until released."""

    def __init__(self) -> None:
        self.sleeping = asyncio.Event()
        self.release = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        self.sleeping.set()
        await self.release.wait()


async def test_interval_syncs_once_for_all_commits_of_the_interval(bench, monkeypatch):
    clock = HeldClock()
    config = JournalConfig(sync="interval")
    journal = Journal(bench.folder, bench.series, bench.telemetry, clock, config)
    synced = asyncio.Event()
    loop, sync, count = asyncio.get_running_loop(), os.fdatasync, []

    def counted(fd: int) -> None:
        sync(fd)
        count.append(fd)
        loop.call_soon_threadsafe(synced.set)

    monkeypatch.setattr(os, "fdatasync", counted)
    for i in range(3):
        await journal.append(Batch(bench.layout(range(3)), i, np.zeros(3)))
    await clock.sleeping.wait()
    assert not count
    clock.release.set()
    await synced.wait()
    assert len(count) == 1
    await journal.close()


async def test_a_callback_that_fails_is_not_acknowledged(bench):
    journal = bench.open()

    def broken(_: object) -> None:
        raise RuntimeError("no")

    journal.on_commit(broken)
    with pytest.raises(JournalError, match="could not be made readable"):
        await journal.append(Batch(bench.layout(range(3)), 0, np.zeros(3)))
    assert bench.telemetry.value("metricsmith_journal_errors_total", reason="apply") == 1
    await journal.close()


@pytest.mark.parametrize("sync", ["commit", "interval", "never"])
async def test_every_sync_setting_keeps_what_was_closed(bench, sync):
    journal = bench.open(sync=sync, sync_interval="1ms")
    for i in range(5):
        await journal.append(Batch(bench.layout(range(9)), i, np.zeros(9)))
    await journal.close()
    bench.restart()
    assert len(list(bench.open().replay(0))) == 5
