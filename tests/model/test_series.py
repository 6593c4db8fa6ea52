"""Ids say their key for ever; a key that was let go gets a new one."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from metricsmith.model.key_pages import PAGE_KEYS
from metricsmith.model.series import SeriesTable

COUNT = 3 * PAGE_KEYS


def key(number: int) -> bytes:
    return b"name\xffjob\xfe%d" % number


def filled(count: int = COUNT) -> SeriesTable:
    table = SeriesTable()
    assert table.intern_many(map(key, range(count))).tolist() == list(range(count))
    return table


@given(
    gone=st.lists(st.tuples(st.integers(0, COUNT), st.integers(0, COUNT)), max_size=4),
    asked=st.lists(st.integers(0, COUNT - 1), max_size=20),
)
def test_an_id_tells_its_key_whatever_was_let_go(gone, asked):
    table, left = filled(), set(range(COUNT))
    for first, last in gone:
        table.retire(np.arange(first, last, dtype=np.uint32))
        table.pack()
        left -= set(range(first, last))
    assert [table.key(n) for n in asked] == [key(n) for n in asked]
    assert table.keys(PAGE_KEYS - 2, 2 * PAGE_KEYS + 2) == [
        key(n) for n in range(PAGE_KEYS - 2, 2 * PAGE_KEYS + 2)
    ]
    assert table.alive == len(left)
    assert all((table.find(key(n)) == n) == (n in left) for n in asked)


def test_a_key_that_comes_back_has_one_new_id():
    table = filled(10)
    table.retire(np.array([3, 4], np.uint32))
    assert table.find(key(3)) is None
    assert table.intern(key(3)) == 10
    table.retire(np.array([3], np.uint32))  # again: the new one stays
    assert table.find(key(3)) == 10
    ids = np.array([2, 3, 4, 10], np.uint32)
    assert table.current(ids).tolist() == [2, 10, 11, 10]
    assert ids.tolist() == [2, 3, 4, 10]
    assert table.key(11) == table.key(4) == key(4)


def test_ids_that_are_not_retired_are_returned_as_they_are():
    table = filled(10)
    ids = np.array([1, 9], np.uint32)
    assert table.current(ids) is ids
    table.retire(np.array([0], np.uint32))
    assert table.current(ids) is ids
    later = table.intern_many(map(key, range(10, 5000)))
    assert table.current(later) is later
