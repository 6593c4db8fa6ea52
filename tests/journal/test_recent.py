"""Readers at the end of the journal are served from memory, and see what the files would have given them."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metricsmith.journal.recent import OBJECT, Recent
from metricsmith.model.batch import Batch, Layout
from metricsmith.model.events import Event
from metricsmith.model.origin import Origin, Position

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(0, 30), st.booleans()),
        st.tuples(st.just("read"), st.integers(1, 60), st.integers(0, 1)),
        st.tuples(st.just("trim"), st.just(0), st.just(0)),
    ),
    max_size=60,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS, kept=st.integers(0, 8 * OBJECT))
async def test_whatever_is_in_memory_readers_get_what_was_appended(fresh_bench, steps, kept) -> None:
    bench = fresh_bench()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("metricsmith.journal.journal.Recent", lambda: Recent(kept))
        journal = bench.open(segment_size=4096)
    readers = [journal.reader("one"), journal.reader("two")]
    appended, got = [], [[], []]
    for what, amount, choice in steps:
        if what == "append":
            layout = bench.layout(range(amount), "shop" if choice else None)
            stale = np.arange(amount) % 7 == 3 if choice else None
            batch = Batch(layout, len(appended), np.arange(amount, dtype=float), stale)
            appended.append((await journal.append(batch), bench.seen(batch)))
        elif what == "read" and len(got[choice]) < len(appended):
            for sequence, batch in await readers[choice].read(amount):
                got[choice].append((sequence, bench.seen(batch)))
            await readers[choice].commit(len(got[choice]))
        elif what == "trim":
            journal.set_cursor("store", len(appended))
            journal.trim()
    for reader, seen in zip(readers, got, strict=True):
        while len(seen) < len(appended):
            seen += [(sequence, bench.seen(batch)) for sequence, batch in await reader.read()]
        assert seen == appended
    assert not bench.telemetry.value("metricsmith_journal_damaged_total", reason="missing")
    await journal.close()


async def test_a_reader_has_layouts_of_its_own_for_as_long_as_it_is_there(bench) -> None:
    journal = bench.open()
    one, two = journal.reader("one"), journal.reader("two")
    layout = bench.layout(range(10))
    derived: list[weakref.ref[Layout]] = []
    for at in range(3):
        await journal.append(Batch(layout, at, np.arange(10.0)))
        ((_, first),), ((_, second),) = await one.read(), await two.read()
        assert first.layout is not layout and first.layout is not second.layout
        derived.append(weakref.ref(first.layout))
    assert derived[0]() is derived[2]() is not None, "what a sink derives is derived once"
    await one.close()
    del one, first
    gc.collect()
    assert derived[0]() is None, "and ends with the sink"
    await journal.close()


async def test_a_layout_is_the_same_from_memory_and_from_files(bench) -> None:
    journal = bench.open()
    await journal.append(Batch(bench.layout(range(3)), 1, np.arange(3.0)))
    await journal.close()
    bench.restart()
    journal = bench.open()
    reader = journal.reader("one", begin=0)
    await journal.append(Batch(bench.layout(range(3)), 2, np.arange(3.0)))
    found = [batch for _, batch in await reader.read()]
    while len(found) < 2:
        found += [batch for _, batch in await reader.read()]
    assert len({id(batch.layout) for batch in found}) <= 2
    await journal.append(Batch(bench.layout(range(3)), 3, np.arange(3.0)))
    ((_, last),) = await reader.read()
    assert last.layout is found[-1].layout
    await journal.close()


async def test_events_come_and_origins_do_not(bench) -> None:
    journal = bench.open()
    reader = journal.reader("one")
    event = Event(5, "begun", "notifications")
    await journal.append(Batch(bench.layout(range(0)), 5, np.empty(0), events=(event,)))
    await journal.append(
        Batch(bench.layout(range(1)), 6, np.ones(1), origin=Origin(b"p" * 16, None, Position(1, 1, 1, 6)))
    )
    found = [batch for _, batch in await reader.read()]
    assert [batch.events for batch in found] == [(event,), ()]
    assert [batch.origin for batch in found] == [None, None]
    await journal.close()


@pytest.mark.parametrize("events", [0, 3])
@pytest.mark.parametrize("kept", [0, 1, 2])
def test_small_batches_and_events_do_not_add_up(kept: int, events: int, bench) -> None:
    samples = 0 if events else 10
    each = samples + OBJECT * (1 + events)
    recent, layout = Recent(kept * each + each // 2), bench.layout(range(samples))
    told = (Event(5, "begun", "notifications"),) * events
    for number in range(5):
        recent.add([(number, Batch(layout, number, np.zeros(samples), events=told))])
    held = [len(recent.since(number, 1000)) for number in range(5)]
    assert held == [5 - number if number >= 5 - kept else 0 for number in range(5)]
