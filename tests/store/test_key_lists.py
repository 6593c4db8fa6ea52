"""Lists of keys: in byte order, the same list for the same series, bounded."""

from __future__ import annotations

import numpy as np
import pytest

from metricsmith.model.series import SeriesTable
from metricsmith.model.series_keys import MOST_DERIVED, SeriesKeys, derive
from metricsmith.store import key_lists
from metricsmith.store.key_lists import KeyLists

TABLE = SeriesTable()
TABLE.intern_many([b"c", b"a", b"d", b"b"])


def ids(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.uint32)


def test_keys_are_in_byte_order_and_each_series_has_its_place() -> None:
    lists = KeyLists(TABLE)
    for series in (ids(0, 1, 2, 3), ids(3, 0, 2, 1), ids(2, 3), ids(1)):
        keys, places = lists.of(series)
        assert keys == sorted(TABLE.key(i) for i in series.tolist())
        assert [keys[p] for p in places.tolist()] == [TABLE.key(i) for i in series.tolist()]


def test_the_same_series_give_the_same_list() -> None:
    lists = KeyLists(TABLE)
    assert lists.of(ids(0, 1, 2))[0] is lists.of(ids(2, 1, 0))[0]
    assert lists.of(ids(0, 1))[0] is not lists.of(ids(0, 1, 2))[0]


def test_lists_kept_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_lists, "MOST_KEYS", 4)
    lists = KeyLists(TABLE)
    first = lists.of(ids(0, 1, 2))[0]
    assert lists.of(ids(3))[0] is lists.of(ids(3))[0]
    assert lists.of(ids(0, 1, 2))[0] is first
    lists.of(ids(1, 2))
    assert lists.of(ids(0, 1, 2))[0] is not first


def test_what_is_derived_is_made_once_and_bounded() -> None:
    made: list[int] = []

    def make(what: int) -> int:
        made.append(what)
        return what

    keys = SeriesKeys([b"a"])
    assert [derive(keys, what, lambda what=what: make(what)) for what in (1, 2, 1)] == [1, 2, 1]
    assert made == [1, 2]
    for what in range(3 * MOST_DERIVED):
        derive(keys, what, lambda what=what: make(what))
    assert len(keys._derived) <= MOST_DERIVED
    assert derive([b"a"], 1, lambda: 5) == 5
