"""The inverted index: from matchers to series ids.

Each label name has a column: its values are numbered once, and two arrays say which series has which
value. Reading needs no lock: arrays are published whole and only grow.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from metricsmith.model.arrays import I64, U32, Bool, look_up
from metricsmith.model.labels import NAME_LABEL, PAIR, VALUE
from metricsmith.model.matchers import Matcher, MatchOp
from metricsmith.model.series import SeriesTable
from metricsmith.store.cardinality import cardinality
from metricsmith.store.patterns import literal_prefix, literal_values
from metricsmith.store_contracts import Cardinality

FEW_VALUES = 64
"""So many values are looked at one by one; more of them as arrays."""
PART_SERIES = 16_384
"""So many series are indexed at a time: the lists on the way cost more than the index."""
ABSENT = 0
NONE = np.empty(0, np.uint32)


class _Numbers:
    """A growing uint32 array; a view of it stays as it is while it grows."""

    __slots__ = ("_room", "view")

    def __init__(self) -> None:
        self._room = NONE
        self.view: U32 = NONE

    def put(self, numbers: U32) -> None:
        """Replace all numbers."""
        self._room = self.view = numbers

    def extend(self, more: list[int]) -> None:
        old, size = len(self.view), len(self.view) + len(more)
        if size > len(self._room):
            room = np.empty(max(size, len(self._room) * 3 // 2), np.uint32)
            room[:old] = self.view
            self._room = room
        self._room[old:size] = more
        self.view = self._room[:size]


class _Column:
    """One label name: its values, numbered from 1, and the series that have the label, ascending."""

    __slots__ = ("_postings", "_series", "_value", "entries", "numbers", "values")

    def __init__(self) -> None:
        self.values: list[bytes] = [b""]  # ABSENT is the empty value
        self.numbers: dict[bytes, int] = {}
        self._series, self._value = _Numbers(), _Numbers()
        self.entries: tuple[U32, U32] = (NONE, NONE)
        self._postings: tuple[U32, U32] = (NONE, np.zeros(1, np.uint32))

    def number(self, value: bytes) -> int:
        """Return the number of a value, giving it one if it is new."""
        found = self.numbers.get(value)
        if found is None:
            found = len(self.values)
            self.values.append(value)
            self.numbers[value] = found
        return found

    def extend(self, series: list[int], numbers: list[int]) -> None:
        self._series.extend(series)
        self._value.extend(numbers)
        self.entries = (self._series.view, self._value.view)

    def without(self, retired: Bool, entries: tuple[U32, U32]) -> _Column | None:
        """Return a column of the entries that are not retired, None when none is left, itself if all are."""
        series, value = entries
        kept = ~_marked(retired, series)
        if kept.all():
            return self
        if not kept.any():
            return None
        used, number = np.unique(value[kept], return_inverse=True)
        left = _Column()
        for old in used.tolist():
            left.number(self.values[old])
        left._series.put(series[kept])
        left._value.put((number + 1).astype(np.uint32))
        left.entries = (left._series.view, left._value.view)
        return left

    def having(self, numbers: I64) -> U32:
        """Return the sorted ids of the series whose value has one of these numbers."""
        series, value = self.entries
        if len(numbers) > FEW_VALUES:
            wanted = np.zeros(len(self.values), np.bool_)
            wanted[numbers] = True
            return series[wanted[value]]
        posted, bounds = self._up_to_date()
        parts = [posted[bounds[n] : bounds[n + 1]] for n in numbers.tolist() if n + 1 < len(bounds)]
        tail = slice(len(posted), None)  # newer than the postings, so all larger
        found = parts[0] if len(parts) == 1 else np.sort(np.concatenate([NONE, *parts]))
        return np.concatenate([found, series[tail][np.isin(value[tail], numbers)]])

    def count(self, number: int) -> int:
        """Return how many series have a value, about."""
        _, bounds = self._up_to_date()
        return int(bounds[number + 1] - bounds[number]) if number + 1 < len(bounds) else 0

    def _up_to_date(self) -> tuple[U32, U32]:
        """Return series ids sorted by value, and where each value's begin; rebuilt when much is missing."""
        posted, bounds = self._postings
        series, value = self.entries
        if len(series) - len(posted) <= max(1024, len(posted) // 4):
            return posted, bounds
        both = np.sort((value.astype(np.uint64) << np.uint64(32)) | series)
        posted = both.astype(np.uint32)
        bounds = np.zeros(int(value.max()) + 2, np.uint32)
        np.cumsum(np.bincount(value), out=bounds[1:])
        self._postings = (posted, bounds)
        return posted, bounds

    def numbers_of(self, series: U32) -> U32:
        """Return the number of the value that each of these sorted series has, ABSENT without the label."""
        known, value = self.entries
        if len(known) == 0 or len(series) == 0:
            return np.zeros(len(series), np.uint32)
        if len(series) * 8 > len(known):
            dense = np.zeros(max(int(known[-1]), int(series[-1])) + 1, np.uint32)
            dense[known] = value
            return dense[series]
        at, there = look_up(known, series)
        found: U32 = np.where(there, value[at], np.uint32(ABSENT))
        return found

    def accepted(self, matcher: Matcher, among: I64 | None) -> I64:
        """Return the numbers of the values that satisfy a matcher, of those given or of all present."""
        if (literals := _literals(matcher)) is not None:
            wanted = [self.numbers[v] for v in literals if v in self.numbers]
            return np.array([*wanted, ABSENT] if b"" in literals else wanted, np.int64)
        if among is None:
            among = np.arange(1, len(self.values), dtype=np.int64)
        values = [self.values[n] for n in among.tolist()]
        if len(values) <= FEW_VALUES:
            return among[[matcher.matches(v.decode()) for v in values]]
        return among[_matches(matcher, values)]


class _Added:
    """What is new in a column; an object, for a look-up in it is faster than one in the column."""

    __slots__ = ("column", "number", "numbers", "series")

    def __init__(self, column: _Column) -> None:
        self.column, self.number = column, column.numbers
        self.series: list[int] = []
        self.numbers: list[int] = []


def _literals(matcher: Matcher) -> set[bytes] | None:
    """Return the only values that satisfy a matcher, or None when there is no such list."""
    if matcher.op is MatchOp.EQ:
        return {matcher.value.encode()}
    literals = literal_values(matcher.value) if matcher.op is MatchOp.RE else None
    return None if literals is None else {v.encode() for v in literals}


def _matches(matcher: Matcher, values: list[bytes]) -> Bool:
    array = pa.array(values, pa.string())
    if matcher.op is MatchOp.NE:
        return np.asarray(pc.not_equal(array, pa.scalar(matcher.value)))
    if (prefix := literal_prefix(matcher.value)) is not None:
        text, more = prefix
        found = np.asarray(pc.starts_with(array, text))
        if more:
            found &= np.asarray(pc.binary_length(array)) > len(text.encode())
    else:
        found = np.asarray(pc.match_substring_regex(array, rf"\A(?:(?s:{matcher.value}))\z"))
    return ~found if matcher.op is MatchOp.NRE else found


class SeriesIndex:
    """Finds the series that satisfy matchers, among all in a series table.

    `catch_up` is called by whoever adds series and by every search; searches
    run in any thread and wait for nobody.
    """

    def __init__(self, table: SeriesTable) -> None:
        self._table = table
        self._columns: dict[bytes, _Column] = {}
        self._size = 0
        self._lock = threading.Lock()

    def catch_up(self) -> None:
        """Index the series that the table got since the last call."""
        if self._size == len(self._table):
            return
        with self._lock:
            for start in range(self._size, len(self._table), PART_SERIES):
                keys = self._table.keys(start, start + PART_SERIES)
                self._add(start, keys)
                # Last: every series below the size is complete in all columns.
                self._size = start + len(keys)

    def _add(self, start: int, keys: list[bytes]) -> None:
        added: dict[bytes, _Added] = {}
        for series, key in enumerate(keys, start):
            name, *pairs = key.split(PAIR)
            if name:
                pairs.append(NAME_LABEL.encode() + VALUE + name)
            for pair in pairs:
                label, _, value = pair.partition(VALUE)
                found = added.get(label)
                if found is None:
                    found = added[label] = _Added(self._columns.setdefault(label, _Column()))
                found.series.append(series)
                found.numbers.append(found.number.get(value) or found.column.number(value))
        for each in added.values():
            each.column.extend(each.series, each.numbers)

    def forget(self) -> None:
        """Drop the entries of series that the table has retired, label by label."""
        retired = self._table.retired()
        for label, column in list(self._columns.items()):
            entries = column.entries
            left = column.without(retired, entries)
            if left is column:
                continue
            with self._lock:  # what came meanwhile is of later series
                size = len(entries[0])
                series, value = (each[size:].tolist() for each in column.entries)
                if series and left is None:
                    left = _Column()
                if left is None:
                    del self._columns[label]
                    continue
                left.extend(series, [left.number(column.values[n]) for n in value])
                self._columns[label] = left

    def match(self, matchers: Sequence[Matcher]) -> U32:
        """Return the sorted ids of the series that satisfy all matchers; an absent label is empty."""
        self.catch_up()
        size = self._size
        found: U32 | None = None
        for matcher in sorted(matchers, key=self._cost):
            found = self._narrowed(found, matcher, size)
            if len(found) == 0:
                break
        if found is None:
            return np.arange(size, dtype=np.uint32)
        return found[: np.searchsorted(found, size)]

    def _cost(self, matcher: Matcher) -> tuple[bool, bool, int]:
        """Return a sort key: short lists of series first, conditions that absent labels satisfy last."""
        column = self._columns.get(matcher.name.encode())
        if column is None or matcher.op is not MatchOp.EQ:
            return matcher.matches(""), True, 0
        return not matcher.value, False, column.count(column.numbers.get(matcher.value.encode(), ABSENT))

    def _narrowed(self, found: U32 | None, matcher: Matcher, size: int) -> U32:
        column = self._columns.get(matcher.name.encode())
        if found is None and not matcher.matches(""):
            return NONE if column is None else column.having(column.accepted(matcher, None))
        if found is None:
            found = np.arange(size, dtype=np.uint32)
        if column is None:
            return found if matcher.matches("") else NONE
        numbers = column.numbers_of(found)
        verdict = np.zeros(len(column.values), np.bool_)
        verdict[column.accepted(matcher, _distinct(numbers))] = True
        return found[verdict[numbers]]

    def cardinality(self, series: U32, limit: int) -> Cardinality:
        """Return what makes many series of these sorted ones, at most `limit` of each kind."""
        self.catch_up()
        columns = [(label.decode(), column) for label, column in list(self._columns.items())]
        return cardinality(columns, series, limit)

    def label_names(self, series: U32) -> list[str]:
        """Return the sorted label names that these sorted series have."""
        self.catch_up()
        columns = list(self._columns.items())
        return sorted(label.decode() for label, column in columns if column.numbers_of(series).any())

    def label_values(self, name: str, series: U32) -> list[str]:
        """Return the sorted values that a label has in these sorted series."""
        self.catch_up()
        column = self._columns.get(name.encode())
        if column is None:
            return []
        numbers = _distinct(column.numbers_of(series))
        return sorted(column.values[n].decode() for n in numbers.tolist() if n != ABSENT)


def _marked(marks: Bool, series: U32) -> Bool:
    """Return the marks of sorted series; those beyond the marks have none."""
    found = np.zeros(len(series), np.bool_)
    known = int(np.searchsorted(series, len(marks)))
    found[:known] = marks[series[:known]]
    return found


def _distinct(numbers: U32) -> I64:
    if len(numbers) == 0:
        return np.empty(0, np.int64)
    return np.flatnonzero(np.bincount(numbers))
