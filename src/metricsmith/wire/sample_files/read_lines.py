"""Lines to columns, with arrays: what stands between time and value is decoded once per series.

Every line is first held against what we write. One that looks otherwise, because somebody else has
written it, is read by itself.
"""

from __future__ import annotations

import codecs
from typing import Any

import numpy as np
import pyarrow as pa

from metricsmith.model.arrays import F64, I64, U8, U32, Bool
from metricsmith.model.series import SeriesTable
from metricsmith.wire.exposition.numbers import MalformedNumber, parse_floats
from metricsmith.wire.messages import parse_timestamp
from metricsmith.wire.sample_files.columns import Columns, Damage
from metricsmith.wire.sample_files.dialects import TIME_BYTES, Dialect

MOST_KEPT = 500_000
_SEPARATORS = [(4, "-"), (7, "-"), (10, "T"), (13, ":"), (16, ":"), (19, "."), (23, "Z")]
_PLAIN = np.zeros(256, np.bool_)
_PLAIN[list(b"0123456789-")] = True


class LineReader:
    """Reads lines of a dialect; remembers the series that it has seen. Safe from any thread."""

    def __init__(self, dialect: Dialect, series: SeriesTable) -> None:
        self._dialect, self._series = dialect, series
        self._known: dict[bytes, int] = {}

    def decode(self, data: bytes, first_line: int) -> tuple[Columns, list[Damage]]:
        """Return the samples of whole lines, and the lines that are none.

        `first_line` is the number of the first, from 1, for people.
        """
        lines = _Lines(data, self._dialect)
        series, good = self._series_of(lines)
        times, right = _times(lines, good)
        values, stale, read = _values(lines, right, self._dialect)
        good = right & read
        if good.all():
            return Columns(series, times, values, _or_none(stale)), []
        return self._with_others(data, lines, Columns(series, times, values, stale), good, first_line)

    def _series_of(self, lines: _Lines) -> tuple[U32, Bool]:
        """Return the series of each line that looks right, and which these are."""
        coded: Any = lines.tokens(lines.time_end, lines.value_at).dictionary_encode()
        found = [self._find(middle) for middle in coded.dictionary.to_pylist()]
        known = np.array([series is not None for series in found], np.bool_)
        ids = np.array([series or 0 for series in found], np.uint32)
        place = coded.indices.to_numpy(zero_copy_only=False)
        return ids[place], lines.usual & known[place]

    def _find(self, middle: bytes) -> int | None:
        found = self._known.get(middle)
        if found is None:
            try:
                found = self._series.intern(self._dialect.key_of(middle))
            except ValueError:
                return None
            if len(self._known) >= MOST_KEPT:
                self._known.clear()
            self._known[middle] = found
        return found

    def _with_others(
        self, data: bytes, lines: _Lines, columns: Columns, good: Bool, first_line: int
    ) -> tuple[Columns, list[Damage]]:
        damage: list[Damage] = []
        assert columns.stale is not None
        series, times, values, stale = columns.series, columns.times, columns.values, columns.stale
        kept = good.copy()
        for i in np.flatnonzero(~good).tolist():
            line = data[lines.starts[i] : lines.ends[i]].removeprefix(codecs.BOM_UTF8)
            if not line.strip() or line.rstrip() + b"\n" == self._dialect.header:
                continue
            try:
                sample = self._dialect.sample(line)
                times[i] = parse_time(sample.time)
                series[i] = self._series.intern(sample.key)
            except ValueError as error:
                damage.append(
                    Damage(f"line {first_line + i}", f"{error}: {line[:100].decode(errors='replace')!r}")
                )
                continue
            values[i], stale[i] = np.nan if sample.value is None else sample.value, sample.value is None
            kept[i] = True
        return Columns(series[kept], times[kept], values[kept], _or_none(stale[kept])), damage


def parse_time(text: str) -> int:
    """Return the milliseconds of an RFC 3339 time; without a zone it is UTC.

    Raises:
        ValueError: it is none. Digits alone are none: Unix milliseconds look like a date of 1795.
    """
    found = parse_timestamp(text)
    if found is None:
        raise ValueError(f'got the time "{text[:40]}", wanted RFC 3339, such as 2026-11-21T18:00:00Z')
    return found


class _Lines:
    """Where the parts of lines are, if they are as we write them.

    Shapes:
        starts, ends, time_at, time_end, value_at, value_end: (L,) bounds in the data.
        usual: (L,) whether a line has the bytes around its parts that ours have.
    """

    def __init__(self, data: bytes, dialect: Dialect) -> None:
        self.data, self.bytes = data, np.frombuffer(data, np.uint8)
        self.ends = np.flatnonzero(self.bytes == ord("\n"))
        self.starts = np.concatenate([[0], self.ends[:-1] + 1])[: len(self.ends)]
        begin, tail = len(dialect.begin), len(dialect.end) - 1
        self.time_at = self.starts + begin
        self.time_end = self.time_at + TIME_BYTES
        self.value_end = self.ends - tail
        marks = np.flatnonzero(self.bytes == dialect.before_value[0])
        before = np.searchsorted(marks, self.ends)
        self.value_at = np.where(before > 0, marks[before - 1] + 1, 0) if len(marks) else self.starts.copy()
        self.usual = (self.value_at > self.time_end) & (self.value_end >= self.value_at)
        for column in (self.time_at, self.time_end, self.value_at, self.value_end):
            column[~self.usual] = 0
        self.usual &= self._has(self.starts, dialect.begin) & self._has(self.value_end, dialect.end)

    def _has(self, at: I64, text: bytes) -> Bool:
        found = np.ones(len(at), np.bool_)
        for offset, byte in enumerate(text):
            found &= self.bytes[np.minimum(at + offset, len(self.bytes) - 1)] == byte
        return found

    def tokens(self, starts: I64, ends: I64) -> Any:
        """Return what stands between bounds, as a binary array."""
        bounds: Any = np.empty(2 * len(starts), np.int32)
        bounds[0::2], bounds[1::2] = starts, ends
        # An array's values follow one another: those between ours are left out again.
        if (bounds[1:] < bounds[:-1]).any():
            return pa.array([self.data[a:b] for a, b in zip(starts.tolist(), ends.tolist(), strict=True)])
        buffers = [None, pa.py_buffer(bounds), pa.py_buffer(self.data)]
        both: Any = pa.Array.from_buffers(pa.binary(), max(0, len(bounds) - 1), buffers)
        return both.take(pa.array(np.arange(0, len(bounds) - 1, 2)))


def _times(lines: _Lines, good: Bool) -> tuple[I64, Bool]:
    """Return the time of each good line, and which of these have one."""
    times, right = np.zeros(len(good), np.int64), good.copy()
    rows = np.flatnonzero(good)
    if not len(rows):
        return times, right
    text: U8 = lines.bytes[lines.time_at[rows][:, None] + np.arange(TIME_BYTES)]
    changed = np.append(True, (text[1:] != text[:-1]).any(axis=1))  # samples of a scrape follow one another
    different = text[changed]
    usual = np.ones(len(different), np.bool_)
    is_separator = np.zeros(TIME_BYTES, np.bool_)
    for place, mark in _SEPARATORS:
        usual &= different[:, place] == ord(mark)
        is_separator[place] = True
    digits = different[:, ~is_separator]
    usual &= ((digits >= ord("0")) & (digits <= ord("9"))).all(axis=1)
    found = np.zeros(len(different), np.int64)
    written = np.ascontiguousarray(different[usual, : TIME_BYTES - 1]).view(f"S{TIME_BYTES - 1}").ravel()
    try:
        found[usual] = written.astype("datetime64[ms]").astype(np.int64)
    except ValueError:  # there is a 13th month among them: read one by one, and told
        usual[:] = False
    of = np.cumsum(changed) - 1
    times[rows] = found[of]
    right[rows] = usual[of]
    return times, right


def _values(lines: _Lines, good: Bool, dialect: Dialect) -> tuple[F64, Bool, Bool]:
    """Return value and marker of each good line, and which of these have one."""
    count = len(good)
    values, stale, read = np.zeros(count), np.zeros(count, np.bool_), np.zeros(count, np.bool_)
    rows = np.flatnonzero(good)
    if not len(rows):
        return values, stale, read
    starts, ends = lines.value_at[rows], lines.value_end[rows]
    plain = (ends > starts) & _PLAIN[lines.bytes[starts]]
    plain &= ~(
        (ends - starts == len(dialect.minus)) & (lines.bytes[np.minimum(starts + 1, ends)] == ord("I"))
    )
    numbers = rows[plain]
    try:
        values[numbers] = parse_floats(lines.tokens(starts[plain], ends[plain]))
        read[numbers] = True
    except MalformedNumber:
        pass  # read one by one, and told
    words = {dialect.nan: np.nan, dialect.plus: np.inf, dialect.minus: -np.inf, dialect.stale: None}
    others = rows[~plain]
    for i in others.tolist():
        word = lines.data[lines.value_at[i] : lines.value_end[i]]
        if word in words:
            value = words[word]
            values[i], stale[i], read[i] = np.nan if value is None else value, value is None, True
    return values, stale, read


def _or_none(stale: Bool) -> Bool | None:
    return stale if stale.any() else None
