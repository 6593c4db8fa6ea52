"""Series that come and go leave nothing behind; one that comes back is found once, whatever its id."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from metricsmith.model import key_pages
from metricsmith.model.batch import Batch, Layout
from metricsmith.model.key_pages import PAGE_KEYS
from metricsmith.model.labels import decode_labels, encode_labels
from metricsmith.model.matchers import Matcher, MatchOp
from metricsmith.model.series import SeriesTable
from metricsmith.model.series_use import in_use
from metricsmith.store.index import SeriesIndex, _Column
from metricsmith.store.release import PART_SERIES, UNUSED_S
from metricsmith.testing.programs import eventually

NOW = 1_700_000_000_000
RETENTION_S = 48 * 3600
POD = (Matcher("pod", MatchOp.NE, ""),)


def send(process, names, sequence: int, layout: Layout | None = None) -> Layout:
    """Send a sample of each pod; return their layout, which may be sent again."""
    if layout is None:
        keys = [encode_labels({"__name__": "up", "pod": name}) for name in names]
        layout = Layout(process.table.intern_many(keys), "pods")
    now_ms = process.clock.now_ms()
    process.store.apply(Batch(layout, now_ms, np.full(len(layout), float(sequence))), sequence)
    return layout


def upkeep(process, seconds: float = 61, times: int = 1) -> None:
    for _ in range(times):
        process.clock.advance(seconds)
        process.store.tick(process.clock.now_ms())
        process.store._heads.wait_for_write(process.clock.now_ms())
        if process.store._upkeep is not None:
            process.store._upkeep.result(30)


def test_what_is_kept_of_series_does_not_grow_with_those_that_are_gone(process):
    sizes = []
    for round_ in range(6):
        send(process, [f"{round_}-{n}" for n in range(500)], round_)
        upkeep(process, 1800, times=2)  # flushed
        upkeep(process, RETENTION_S)  # deleted
        upkeep(process, times=4)  # found, retired, forgotten
        pods = process.store._index._columns.get(b"pod")
        entries = 0 if pods is None else len(pods.entries[0])
        sizes.append((process.table.alive, entries, 0 if pods is None else len(pods.values)))
    assert sizes[1:] == [(0, 0, 0)] * 5
    assert process.store.label_values("pod", (), 0, 1 << 60) == []


def test_more_than_a_part_at_a_time_is_retired_tick_by_tick(process):
    send(process, [str(n) for n in range(PART_SERIES * 2 + 5)], 0)
    upkeep(process, 1800, times=2)
    upkeep(process, RETENTION_S)
    left = []
    for _ in range(5):
        upkeep(process, 1)
        left.append(process.table.alive)
    assert left[-1] == 0
    assert {PART_SERIES + 5, 5} <= set(left)


def test_a_series_that_comes_back_is_one_whichever_id_it_is_sent_with(process):
    old = send(process, ["a", "b"], 0)
    upkeep(process, 1800, times=2)
    upkeep(process, RETENTION_S)
    upkeep(process, times=4)
    assert process.table.find(process.table.key(int(old.ids[0]))) is None
    first = process.clock.now_ms()
    send(process, (), 1, old)  # its source holds the layout still
    process.clock.advance(1)
    new = send(process, ["b", "c"], 2)
    assert old.ids[1] not in new.ids
    process.clock.advance(1)
    send(process, (), 3, old)
    found = process.store.select(POD, 0, 1 << 60)
    pods = [process.table.labels(process.table.intern(key))["pod"] for key in found.keys]
    assert pods == ["a", "b", "c"]
    b = process.store.select((Matcher("pod", MatchOp.EQ, "b"),), 0, 1 << 60)
    times = b.matrices[0].times if b.matrices else b.ragged.times
    assert times.tolist() == [first, first + 1000, first + 2000]
    assert process.store.label_values("pod", POD, 0, 1 << 60) == ["a", "b", "c"]


def test_a_series_with_samples_again_just_before_it_is_retired_keeps_its_id(process):
    old = send(process, ["a", "b"], 0)
    upkeep(process, 1800, times=2)
    upkeep(process, RETENTION_S)
    assert process.store._release._found.tolist() == old.ids.tolist()
    send(process, ["a"], 1)
    upkeep(process, times=3)
    assert process.table.find(process.table.key(int(old.ids[0]))) == old.ids[0]
    assert process.table.find(process.table.key(int(old.ids[1]))) is None


def test_a_series_that_is_not_stored_keeps_its_id_while_it_is_in_use(process):
    table = process.table
    kept, gone = (
        table.intern(encode_labels({"__name__": name})) for name in ("before relabelling", "dropped")
    )
    layout = Layout(np.array([kept], np.uint32), "scrape")
    for _ in range(10):
        in_use(table, Batch(layout, process.clock.now_ms(), np.zeros(1)))
        upkeep(process, UNUSED_S / 2 + 1)
    upkeep(process, times=2)
    assert table.find(table.key(kept)) == kept
    assert table.find(table.key(gone)) is None
    upkeep(process, UNUSED_S, times=3)
    assert table.find(table.key(kept)) is None
    again = in_use(table, Batch(layout, process.clock.now_ms(), np.zeros(1)))
    assert again.layout.ids.tolist() == [table.find(table.key(kept))] != [kept]


def test_series_that_are_all_dropped_do_not_add_up(process):
    known = []
    for round_ in range(8):
        keys = [encode_labels({"__name__": "dropped", "pod": f"{round_}-{n}"}) for n in range(500)]
        layout = Layout(process.table.intern_many(keys), "pods")
        in_use(process.table, Batch(layout, process.clock.now_ms(), np.zeros(500)))
        upkeep(process, UNUSED_S)
        upkeep(process, times=2)
        known.append(process.table.alive)
    assert max(known) <= 1001
    assert process.store._index.match(POD).size <= 1000


def test_series_that_come_while_others_are_dropped_from_the_index_are_in_it_once(monkeypatch):
    table = SeriesTable()
    index = SeriesIndex(table)
    pods = [encode_labels({"__name__": "up", "pod": str(n)}) for n in range(30)]
    old = table.intern_many(pods[:10])
    index.catch_up()
    table.retire(old[:5])
    more = iter(pods[10:])
    without = _Column.without

    def slow(column, *given):
        table.intern(next(more))
        index.catch_up()
        return without(column, *given)

    monkeypatch.setattr(_Column, "without", slow)
    index.forget()
    assert index.match(POD).tolist() == list(range(5, len(table)))


def test_asking_for_many_series_that_are_gone_unpacks_a_page_once(monkeypatch):
    table = SeriesTable()
    ids = table.intern_many(b"name\xffpod\xfe%d" % n for n in range(2 * PAGE_KEYS + 1))
    table.retire(ids[:-1])
    table.pack()
    unpacked = []
    decompress = key_pages.zlib.decompress
    monkeypatch.setattr(key_pages.zlib, "decompress", lambda data: unpacked.append(1) or decompress(data))
    assert table.current(ids[:-1]).tolist() == list(range(len(ids), 2 * len(ids) - 1))
    assert len(unpacked) == 2


def test_no_series_is_ever_told_with_the_labels_of_another(process):
    """Each sample's value is the number of its pod, while pods come and go, are asked for and are sent on."""
    wrong, asked, ended = [], [0], threading.Event()
    held: list[tuple[Layout, list[bytes]]] = []

    def look() -> None:
        while not ended.is_set():
            found = process.store.select(POD, 0, 1 << 60)
            parts = [(m.rows, m.values[:, 0]) for m in found.matrices]
            if found.ragged is not None:
                parts.append((found.ragged.rows, found.ragged.values[found.ragged.offsets[:-1]]))
            for rows, values in parts:
                told = [decode_labels(found.keys[row])["pod"] for row in rows.tolist()]
                pairs = zip(map(float, told), values.tolist(), strict=True)
                wrong.extend((pod, value) for pod, value in pairs if pod != value)
            for layout, keys in held[:2] + held[-2:]:
                wrong.extend(set(keys) ^ {process.table.key(i) for i in layout.ids.tolist()})
            asked[0] += 1

    with ThreadPoolExecutor(1) as threads:
        looker = threads.submit(look)
        for round_ in range(24):
            pods = [f"{(round_ * 37 + n) % 1000:05}" for n in range(100)]
            keys = [encode_labels({"__name__": "up", "pod": pod}) for pod in pods]
            held.append((Layout(process.table.intern_many(keys), "pods"), keys))
            for layout, _ in (held[-1], held[round_ // 2]):  # the other is of a source that was away
                batch = in_use(process.table, Batch(layout, process.clock.now_ms(), np.zeros(100)))
                values = np.array([float(process.table.key(i)[-5:]) for i in batch.layout.ids.tolist()])
                process.store.apply(Batch(batch.layout, process.clock.now_ms() + round_ % 2, values), round_)
            upkeep(process, 1800, times=2)
            if round_ % 4 == 3:
                upkeep(process, RETENTION_S)
                upkeep(process, times=3)
            if round_ % 8 == 0:  # a machine may have no time for the looker meanwhile
                before = asked[0]
                eventually(lambda before=before: asked[0] > before or looker.done())
        ended.set()
        looker.result(30)
    assert wrong == []
    assert process.table.generation > 5
    assert asked[0] > 2
