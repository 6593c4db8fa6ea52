"""The store answers as a plain dictionary of samples would, through flushes, restarts and failures."""

from __future__ import annotations

import errno
import gc
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metricsmith.contracts import Context, Store
from metricsmith.errors import DiskFull
from metricsmith.model.batch import Batch, Layout
from metricsmith.model.labels import decode_labels, encode_labels
from metricsmith.model.matchers import Matcher, MatchOp
from metricsmith.model.metadata import Metadata, MetricType
from metricsmith.model.selection import Selection
from metricsmith.model.series import SeriesTable
from metricsmith.model.telemetry import Telemetry
from metricsmith.store.embedded import FUTURE_MS, EmbeddedConfig, EmbeddedStore
from metricsmith.testing.clock import FakeClock

HOUR = 3_600_000
NOW = 1_700_000_000_000
RETENTION = 48 * HOUR
KEYS = [
    encode_labels({"__name__": name, "job": job, **({"zone": "z"} if job == "b" else {})})
    for name in ("up", "requests_total", "load")
    for job in ("a", "b")
]
Samples = dict[bytes, dict[int, float | None]]
"""key → time → value, None for a staleness marker."""


class Process:
    """One life of a process: a series table and a store over a folder that outlives it."""

    def __init__(self, folder: Path, head_bytes: int = 1 << 20, max_disk: int | None = None) -> None:
        self.clock = FakeClock(NOW)
        self.telemetry = Telemetry(self.clock)
        self.table = SeriesTable()
        self.table.intern(b"a_series_of_somebody_else")
        config = EmbeddedConfig.model_validate(
            {
                "path": str(folder),
                "retention": "48h",
                "head_bytes": head_bytes,
                "head_age": "20m",
                "max_disk": max_disk,
            }
        )
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

    def flush(self) -> None:
        self.clock.advance(1800)
        self.store.tick(self.clock.now_ms())
        self.store._heads.wait_for_write(self.clock.now_ms())
        self.clock.advance(-1800)

    def refused(self, reason: str) -> float:
        return self.telemetry.value("metricsmith_samples_dropped_total", component="store", reason=reason)


Sent = tuple[tuple[int, ...], str | None, int | tuple[int, ...], tuple[float, ...], tuple[bool, ...] | None]


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


@st.composite
def sent_batches(draw) -> Sent:
    rows = tuple(draw(st.lists(st.integers(0, len(KEYS) - 1), unique=True, min_size=1, max_size=len(KEYS))))
    stream = draw(st.sampled_from(["x", "y", None]))
    # Few different times, so that samples meet; some of windows long past, some refused.
    time = st.sampled_from(
        [0, 1, 2, 3, -20, -21, -30 * 60, -9 * HOUR // 1000, -47 * HOUR // 1000, -49 * HOUR // 1000, 700]
    )
    one = draw(time) * 1000 + NOW
    at = one if draw(st.booleans()) else tuple(draw(time) * 1000 + NOW for _ in rows)
    values = tuple(draw(st.lists(st.integers(0, 9).map(float), min_size=len(rows), max_size=len(rows))))
    stale = draw(st.none() | st.tuples(*[st.booleans() for _ in rows]))
    return rows, stream, at, values, stale


steps = st.lists(sent_batches() | st.sampled_from(["flush", "restart", "kill"]), max_size=14)
matchers = st.lists(
    st.builds(
        Matcher,
        st.sampled_from(["__name__", "job", "zone"]),
        st.sampled_from(list(MatchOp)),
        st.sampled_from(["", "a", "b", "z", "up", "up|load", ".*", "re.*"]),
    ),
    max_size=2,
)
ranges = st.tuples(
    *[st.sampled_from([-48 * HOUR, -9 * HOUR, -21_000, 0, 2000, FUTURE_MS]).map(NOW.__add__)] * 2
)


@given(steps, matchers, ranges)
def test_answers_as_a_dictionary_would(steps, matchers, limits):
    with TemporaryDirectory() as folder:
        process, model, journal = Process(Path(folder)), {}, []
        for step in steps:
            if step == "flush":
                process.flush()
            elif step == "restart":
                process.store.close()
                process = Process(Path(folder))
                assert process.store.cursor() == len(journal), "everything was flushed"
            elif step == "kill":
                process.store.close(flush=False)
                process = Process(Path(folder))
                for sequence in range(process.store.cursor(), len(journal)):
                    process.store.apply(process.batch(journal[sequence]), sequence)
            else:
                process.store.apply(process.batch(step), len(journal))
                journal.append(step)
                apply_to_model(model, step)
            everything = as_dict(process.store.select([], NOW - RETENTION, NOW + FUTURE_MS))
            assert everything == selected_from(model, [], NOW - RETENTION, NOW + FUTURE_MS)
        selection = process.store.select(matchers, *limits)
        assert as_dict(selection) == selected_from(model, matchers, *limits)
        assert selection.keys == sorted(selection.keys)
        assert set(selection.keys) <= set(process.store.series(matchers, *limits))
        process.store.close(flush=False)


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Process]:
    made = Process(tmp_path)
    yield made
    made.store.close(flush=False)


def scrape(at: int, value: float, rows: tuple[int, ...] = (0, 1, 2)) -> Sent:
    return rows, "x", at, (value,) * len(rows), None


def everything(process: Process) -> Samples:
    return as_dict(process.store.select([], 0, 1 << 61))


def test_is_a_store(process: Process):
    assert isinstance(process.store, Store)


def test_replaying_the_same_batches_changes_nothing(process: Process):
    sent = [scrape(NOW + t, t, (0, 1, 2, 3)[: 2 + t % 3]) for t in (0, 1, 2, 3, 3, 1)]
    for sequence, one in enumerate(sent):
        process.store.apply(process.batch(one), sequence)
    before = everything(process)
    process.flush()
    for sequence, one in enumerate(sent):
        process.store.apply(process.batch(one), sequence)
    assert everything(process) == before


def test_samples_outside_the_accepted_times_are_counted_and_the_rest_is_kept(process: Process):
    times = (NOW - RETENTION, NOW - RETENTION - 1, NOW + FUTURE_MS, NOW + FUTURE_MS + 1)
    process.store.apply(process.batch(((0, 1, 2, 3), "x", times, (1.0, 2.0, 3.0, 4.0), None)), 0)
    process.store.apply(process.batch(scrape(NOW + 2 * FUTURE_MS, 5.0)), 1)
    process.store.apply(process.batch(scrape(NOW - 2 * RETENTION, 5.0)), 2)
    assert everything(process) == {KEYS[0]: {times[0]: 1.0}, KEYS[2]: {times[2]: 3.0}}
    assert (process.refused("too_old"), process.refused("too_far_in_future")) == (4, 4)


@pytest.mark.parametrize("limits", [(-(1 << 80), 1 << 80), (-(1 << 63), (1 << 63) - 1)])
def test_a_range_may_be_as_large_as_one_likes(process: Process, limits: tuple[int, int]):
    for sequence in (0, 1):
        process.store.apply(process.batch(scrape(NOW + sequence, 1.0, (0,))), sequence)
        process.store.apply(process.batch(((1,), None, NOW + sequence, (1.0,), None)), sequence)
        assert len(as_dict(process.store.select([], *limits))[KEYS[1]]) == sequence + 1
        process.flush()
    assert as_dict(process.store.select([], *limits))[KEYS[0]] == {NOW: 1.0, NOW + 1: 1.0}
    assert process.store.series([], *limits) == sorted(KEYS[:2])


def test_series_and_labels_of_a_time_range(process: Process):
    process.store.apply(process.batch(scrape(NOW - 10 * HOUR, 1.0, (0,))), 0)
    process.flush()
    process.store.apply(process.batch(scrape(NOW, 1.0, (3,))), 1)
    store = process.store
    assert store.series([], NOW - HOUR, NOW) == [KEYS[3]]
    assert store.series([], 0, NOW) == sorted([KEYS[0], KEYS[3]])
    assert store.series([Matcher("zone", MatchOp.EQ, "")], 0, NOW) == [KEYS[0]]
    assert store.label_names([], NOW - HOUR, NOW) == ["__name__", "job", "zone"]
    assert store.label_names([], 0, NOW - HOUR) == ["__name__", "job"]
    assert store.label_values("job", [], 0, NOW) == ["a", "b"]
    assert store.label_values("job", [Matcher("__name__", MatchOp.RE, "req.*")], 0, NOW) == ["b"]


def test_metadata_survives_a_restart(tmp_path: Path):
    first = Process(tmp_path)
    first.store.apply(first.batch(scrape(NOW, 1.0)), 0)
    assert first.store.metadata() == {"up": Metadata(MetricType.GAUGE)}
    first.store.close()
    second = Process(tmp_path)
    assert second.store.metadata() == {"up": Metadata(MetricType.GAUGE)}
    second.store.close()


def test_the_cursor_moves_only_when_blocks_are_written(process: Process):
    for sequence in range(5):
        process.store.apply(process.batch(scrape(NOW + sequence, 1.0)), sequence)
    assert process.store.cursor() == 0
    process.flush()
    assert process.store.cursor() == 5
    process.store.apply(process.batch(scrape(NOW + 9, 1.0)), 5)
    assert process.store.cursor() == 5


def test_a_head_above_its_budget_is_flushed(tmp_path: Path):
    process = Process(tmp_path, head_bytes=2000)
    sequence = 0
    while process.store.cursor() == 0:
        process.store.apply(process.batch(scrape(NOW + sequence, sequence)), sequence)
        process.store.tick(NOW)
        process.store._heads.wait_for_write(NOW)
        sequence += 1
    assert 2000 / 60 < sequence < 2000 / 24
    assert process.store.status().head_samples == 0
    assert len(everything(process)[KEYS[0]]) == sequence
    process.store.close()


def block_writes(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> tuple[threading.Event, threading.Event]:
    """Return events: a write has begun; it may go on."""
    begun, may_go_on = threading.Event(), threading.Event()
    write = process.store._blocks.write

    def slow(*args: object) -> None:
        begun.set()
        assert may_go_on.wait(30)
        write(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(process.store._blocks, "write", slow)
    return begun, may_go_on


def test_everything_can_be_read_during_a_flush_and_later_values_win(process: Process, monkeypatch):
    begun, may_go_on = block_writes(process, monkeypatch)
    process.store.apply(process.batch(scrape(NOW, 1.0)), 0)
    process.clock.advance(1800)
    process.store.tick(process.clock.now_ms())
    assert begun.wait(30)
    assert everything(process) == {KEYS[i]: {NOW: 1.0} for i in (0, 1, 2)}
    process.store.apply(process.batch(scrape(NOW, 2.0, (0,))), 1)
    expected = {KEYS[0]: {NOW: 2.0}, KEYS[1]: {NOW: 1.0}, KEYS[2]: {NOW: 1.0}}
    assert everything(process) == expected
    may_go_on.set()
    process.store._heads.wait_for_write(NOW)
    assert everything(process) == expected
    assert process.store.cursor() == 1


def test_a_full_disk_keeps_samples_readable_refuses_new_ones_and_heals(tmp_path: Path, monkeypatch):
    process = Process(tmp_path, head_bytes=2000)
    store, real_write = process.store, process.store._blocks.write

    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(store._blocks, "write", full)
    sequence = 0
    while store.accepting:
        store.apply(process.batch(scrape(NOW + sequence, sequence)), sequence)
        store.tick(NOW)
        store._heads.wait_for_write(NOW)
        sequence += 1
        assert sequence < 4000 / 24, "memory is bounded"
    with pytest.raises(DiskFull, match="No space left on device"):
        store.check_space()
    status = store.status()
    assert (status.status, status.head_samples) == ("full", 3 * sequence)
    assert len(everything(process)[KEYS[0]]) == sequence
    assert process.telemetry.value("metricsmith_store_flushes_total", result="failed") == 1, "backs off"

    monkeypatch.setattr(store._blocks, "write", real_write)
    store.tick(NOW + 1000)
    assert not store.accepting, "too early for the next try"
    store.tick(NOW + 5000)
    store._heads.wait_for_write(NOW)
    assert store.accepting
    assert store.status().status == "connected"
    assert len(everything(process)[KEYS[0]]) == sequence
    store.close()
    again = Process(tmp_path)
    assert again.store.cursor() == sequence
    assert len(everything(again)[KEYS[0]]) == sequence
    again.store.close()


def test_a_failure_that_is_no_full_disk_is_an_error(process: Process, monkeypatch):
    def broken(*args: object) -> None:
        raise ValueError("defect")

    monkeypatch.setattr(process.store._blocks, "write", broken)
    process.store.apply(process.batch(scrape(NOW, 1.0)), 0)
    process.flush()
    status = process.store.status()
    assert (status.status, status.detail) == ("error", "defect")
    assert everything(process) == {KEYS[i]: {NOW: 1.0} for i in (0, 1, 2)}


def test_status_counts_series_and_samples(process: Process):
    process.store.apply(process.batch(scrape(NOW - 1, 1.0, (0, 1))), 0)
    process.flush()
    process.store.apply(process.batch(scrape(NOW, 1.0, (1, 2))), 1)
    status = process.store.status()
    assert (status.series, status.head_samples, status.last_sample_ms) == (3, 2, NOW)
    assert process.telemetry.registry.get_sample_value("metricsmith_store_head_samples") == 2
    assert process.telemetry.registry.get_sample_value("metricsmith_store_active_series") == 2


def test_readers_in_other_threads_see_whole_batches(process: Process):
    """A reader sees a scrape of three series whole or not at all, and never less than before."""
    stop, problems = threading.Event(), []
    matcher = [Matcher("__name__", MatchOp.RE, ".+")]

    def read(select: Callable[..., Selection]) -> None:
        newest = 0
        while not stop.is_set():
            counts = {len(row) for row in as_dict(select(matcher, 0, 1 << 61)).values()}
            if len(counts) > 1 or max(counts, default=0) < newest:
                problems.append(counts)
                return
            newest = max(counts, default=0)

    readers = [threading.Thread(target=read, args=(process.store.select,)) for _ in range(2)]
    for reader in readers:
        reader.start()
    for sequence in range(400):
        process.store.apply(process.batch(scrape(NOW + sequence, 1.0)), sequence)
        if sequence % 100 == 50:
            process.flush()
    stop.set()
    for reader in readers:
        reader.join()
    assert problems == []


def test_a_replay_that_nobody_ticks_keeps_memory_bounded(tmp_path: Path):
    process = Process(tmp_path, head_bytes=2000)
    for sequence in range(1000):
        process.store.apply(process.batch(scrape(NOW + sequence, sequence)), sequence)
        assert process.store._heads.bytes < 3 * 2000 + 100
    assert len(everything(process)[KEYS[0]]) == 1000
    process.store.close()


def test_a_flushed_head_is_forgotten_while_its_layouts_live_on(process: Process):
    for sequence in range(3):
        process.store.apply(process.batch(scrape(NOW + sequence, 1.0)), sequence)
    head = weakref.ref(process.store._heads.present[0])
    slab_values = weakref.ref(process.store._heads.present[0]._slabs[0]._chunks[0])
    process.flush()
    gc.collect()
    assert process.layouts
    assert head() is None
    assert slab_values() is None


def test_samples_beyond_the_retention_are_deleted(process: Process):
    process.store.apply(process.batch(scrape(NOW, 1.0)), 0)
    process.flush()
    process.clock.advance(3 * RETENTION / 1000)
    process.store.tick(process.clock.now_ms())
    assert process.store._retention is not None
    process.store._retention.result(30)
    assert everything(process) == {}
    assert process.store.series([], 0, 1 << 61) == []


def test_the_disk_limit_refuses_samples(tmp_path: Path):
    process = Process(tmp_path, max_disk=100)
    process.store.check_space()
    process.store.apply(process.batch(scrape(NOW, 1.0)), 0)
    process.store.close()
    again = Process(tmp_path, max_disk=100)
    with pytest.raises(DiskFull, match=r"storage\.max_disk"):
        again.store.check_space()
    assert again.store.status().status == "full"
    again.store.close()


def test_batches_without_samples_move_the_cursor(tmp_path: Path):
    process = Process(tmp_path)
    process.store.apply(process.batch(((), "x", NOW, (), None)), 0)
    process.store.apply(process.batch(((), None, (), (), None)), 1)
    process.store.apply(process.batch(scrape(NOW - 2 * RETENTION, 1.0)), 2)
    process.store.close()
    again = Process(tmp_path)
    assert again.store.cursor() == 3
    again.store.close()


def test_a_real_nan_an_infinity_and_a_marker_stay_what_they_are(tmp_path: Path):
    values = (float("nan"), float("inf"), -0.0, 7.0)
    stale = (False, False, False, True)
    process = Process(tmp_path)
    process.store.apply(process.batch(((0, 1, 2, 3), "x", NOW, values, stale)), 0)
    process.store.apply(process.batch(((4, 5), None, NOW, (float("nan"), 7.0), (False, True))), 1)
    for _ in range(2):
        found = {key: row[NOW] for key, row in everything(process).items()}
        assert [found.pop(KEYS[i]) for i in (3, 5)] == [None, None]
        assert [repr(found[KEYS[i]]) for i in (0, 1, 2, 4)] == ["nan", "inf", "-0.0", "nan"]
        process.store.close()
        process = Process(tmp_path)
    process.store.close(flush=False)
