"""What processors are made of: memory per series, rounds, groups."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from metricsmith.model.batch import Layout
from metricsmith.model.series_state import SeriesState
from metricsmith.process.grouping import group
from metricsmith.process.rounds import rounds
from metricsmith.testing.clock import FakeClock

SETS = st.lists(st.lists(st.integers(0, 3000), unique=True, max_size=30), max_size=12)


@given(SETS, st.lists(st.booleans(), min_size=12, max_size=12))
def test_a_series_keeps_what_was_remembered_until_it_is_released_and_then_begins_anew(sets, passes):
    clock = FakeClock()
    state = SeriesState(clock, 60, value=-1)
    wanted: dict[int, float] = {}
    layouts = [Layout(np.array(ids, dtype=np.uint32)) for ids in sets]
    for number, layout in enumerate([*layouts, *layouts]):
        if passes[number % 12]:
            clock.advance(61)
        for series in state.release().tolist():
            del wanted[series]
        slots = state.slots(layout)
        assert state.columns["value"][slots].tolist() == [wanted.get(i, -1) for i in layout.ids.tolist()]
        assert len(set(slots.tolist())) == len(slots)
        state.columns["value"][slots] = number
        wanted |= dict.fromkeys(layout.ids.tolist(), number)
    assert len(state) == len(wanted)


def test_what_is_not_seen_is_released_within_twice_the_time():
    clock = FakeClock()
    state = SeriesState(clock, 60, value=0)
    stays, goes = (Layout(np.array([i], dtype=np.uint32)) for i in (1, 2))
    state.slots(goes)
    released = []
    for _ in range(24):
        clock.advance(5)
        released += state.release().tolist()
        state.slots(stays)
    assert released == [2]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4)), min_size=1, max_size=30))
def test_rounds_have_one_time_of_each_group_and_times_ascend(samples):
    groups, times = (np.array(column) for column in zip(*samples, strict=True))
    found = rounds(groups, times)
    assert sorted(np.concatenate(found).tolist()) == list(range(len(samples)))
    last: dict[int, int] = {}
    for one in found:
        in_round = {(g, t) for g, t in zip(groups[one].tolist(), times[one].tolist(), strict=True)}
        assert len({g for g, _ in in_round}) == len(in_round)
        assert all(t > last.get(g, -1) for g, t in in_round)
        last |= dict(in_round)
        assert one.tolist() == sorted(one.tolist())


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.integers(-5, 5), st.booleans(), st.integers(0, 9)),
        min_size=1,
        max_size=20,
    )
)
def test_groups_are_reduced_as_one_would_by_hand(samples):
    numbers, value, present, times = (np.array(column) for column in zip(*samples, strict=True))
    found, groups = group(numbers)
    by_hand = {
        "sum": lambda rows: sum(v for v, _ in rows),
        "avg": lambda rows: sum(v for v, _ in rows) / len(rows),
        "min": lambda rows: min(v for v, _ in rows),
        "max": lambda rows: max(v for v, _ in rows),
        "count": len,
        "last": lambda rows: max(enumerate(rows), key=lambda row: (row[1][1], row[0]))[1][0],
    }
    for function, calculate in by_hand.items():
        result, some = groups.reduce(function, value.astype(np.float64), present, times)
        for number, got, is_there in zip(found.tolist(), result.tolist(), some.tolist(), strict=True):
            rows = [(v, t) for n, v, p, t in samples if n == number and p]
            assert is_there == bool(rows)
            if rows:
                assert got == calculate(rows)
