"""InfluxDB line protocol to batches: plain lines as arrays, all others one by one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from metricsmith.errors import LimitExceeded
from metricsmith.model.arrays import F64, I64, U32, Bool
from metricsmith.model.batch import Batch, Layout
from metricsmith.model.series import SeriesTable
from metricsmith.wire.line_protocol_columns import (
    Columns,
    Lines,
    find_lines,
    find_odd,
    parse_floats,
    parse_integers,
    parse_times,
    split,
)
from metricsmith.wire.line_protocol_line import MalformedLine, read_line
from metricsmith.wire.line_protocol_shapes import BUDGET_BYTES, Shapes

MAX_LINES = 1_000_000
MAX_SEPARATORS = 12_000_000
MAX_CAREFUL_LINES = 100_000
MAX_SAMPLES = 2_000_000
SHOWN_BYTES = 200

PER_MS = {"n": 1_000_000, "ns": 1_000_000, "u": 1000, "us": 1000, "µ": 1000, "ms": 1}
"""Units of time by name, as how many of them are a millisecond."""
MS_EACH = {"s": 1000, "m": 60_000, "h": 3_600_000}
"""Longer units, as milliseconds."""

_FIRST_BLANK = re.compile(rb"(?<!\\) ")
_STRING_BEGIN = re.compile(rb'(?<!\\)="')
_STRING_REST = re.compile(rb'(?:[^"\\]|\\.|\\\Z)*+("?)', re.DOTALL)


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that was not taken. `number` counts from 1."""

    number: int
    text: str
    reason: str

    def __str__(self) -> str:
        return f"unable to parse '{self.text}': {self.reason} (line {self.number})"


@dataclass(frozen=True, slots=True)
class WriteDocument:
    """A decoded document: its samples in the order sent, and what of it was not kept."""

    batch: Batch
    lines: int
    strings: int
    bad_lines: int
    first_bad: BadLine | None


@dataclass(slots=True)
class _Careful:
    """What was read one by one: for each sample its line, series, value and time."""

    owner: list[int] = field(default_factory=list)
    series: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    times_ms: list[int] = field(default_factory=list)
    lines: int = 0
    strings: int = 0
    bad_lines: int = 0
    first_bad: BadLine | None = None


class LineDecoder:
    """Decodes documents of any senders; remembers the shapes of lines. For one thread at a time."""

    def __init__(self, series: SeriesTable, budget_bytes: int = BUDGET_BYTES) -> None:
        self._series = series
        self._shapes = Shapes(series, budget_bytes)

    def decode(
        self, body: bytes, *, now_ms: int, precision: str = "ns", tags: Sequence[tuple[bytes, bytes]] = ()
    ) -> WriteDocument:
        """Return the samples of a document; malformed lines are left out and told.

        `tags` are added to lines that have none of that name. A field is a series, named
        `measurement_field`, or the measurement alone for the field `value`.

        Raises:
            LimitExceeded: more lines or samples than allowed at once.
        """
        if not body.endswith(b"\n"):
            body += b"\n"
        extra = tuple(tags)
        _check_size(body)
        lines = find_lines(body)
        odd = find_odd(lines)
        consumed = _join_quoted(body, lines, odd)
        while True:
            columns = split(lines, odd)
            numbers = self._shapes.numbers(columns.shapes, extra)
            if (numbers < 0).any():
                odd[np.flatnonzero(~odd)[numbers < 0]] = True
                continue
            _check_count(len(columns.owner))
            ids, values, good = self._read(columns, numbers)
            times, good_times = parse_times(columns.times)
            if good.all() and good_times.all():
                break
            odd[columns.owner[~good]] = True
            odd[columns.timed[~good_times]] = True
        line_ms = np.full(len(lines.end), now_ms, np.int64)
        line_ms[columns.timed] = _to_ms(times, precision)
        careful = self._read_careful(body, lines, odd, consumed, now_ms, precision, extra)
        self._shapes.trim()
        batch = _joined(columns.owner, ids, values, line_ms[columns.owner], careful)
        plain = int((~odd).sum())
        return WriteDocument(
            batch, plain + careful.lines, careful.strings, careful.bad_lines, careful.first_bad
        )

    def _read(self, columns: Columns, numbers: I64) -> tuple[U32, F64, Bool]:
        """Return series and values of plain lines, and which values are right."""
        ids, signed, unsigned = self._shapes.fields(numbers)
        values, good = parse_floats(columns.values)
        for chosen, is_unsigned in ((signed, False), (unsigned, True)):
            places = np.flatnonzero(chosen)
            if len(places):
                integers, fit = parse_integers(columns.values.take(places), is_unsigned)
                values, good = _writable(values), _writable(good)
                values[places], good[places] = integers, fit
        return ids, values, good

    def _read_careful(
        self,
        body: bytes,
        lines: Lines,
        odd: Bool,
        consumed: dict[int, int],
        now_ms: int,
        precision: str,
        extra: tuple[tuple[bytes, bytes], ...],
    ) -> _Careful:
        found = _Careful()
        chosen = np.flatnonzero(odd).tolist()
        behind = 0
        for number in chosen:
            if number < behind:  # inside the string of a line before
                continue
            last = consumed.get(number, number)
            behind = last + 1
            text = body[int(lines.start[number]) : int(lines.end[last])].removesuffix(b"\r").lstrip(b" \t")
            if not text or text.startswith(b"#"):
                continue
            found.lines += 1
            if found.lines > MAX_CAREFUL_LINES:
                raise LimitExceeded(
                    f"got more than {MAX_CAREFUL_LINES:,} lines with quotes, escapes, booleans or mistakes,"
                    " wanted fewer at once"
                )
            try:
                line = read_line(text, extra)
            except MalformedLine as error:
                found.bad_lines += 1
                if found.first_bad is None:
                    shown = text[:SHOWN_BYTES].decode(errors="replace")
                    found.first_bad = BadLine(number + 1, shown, str(error))
                continue
            found.strings += line.strings
            time_ms = now_ms if line.time is None else int(_to_ms(np.array([line.time]), precision)[0])
            keys = [line.head.key(name) for name, _ in line.fields]
            found.owner += [number] * len(keys)
            found.series += map(self._series.intern, keys)
            found.values += [value for _, value in line.fields]
            found.times_ms += [time_ms] * len(keys)
            _check_count(len(found.owner))
        return found


def _join_quoted(body: bytes, lines: Lines, odd: Bool) -> dict[int, int]:
    """Return the lines that go on behind their newline, for it is in a string: number → last number.

    All of them are marked in `odd`.
    """
    if b'"' not in body:
        return {}
    joined: dict[int, int] = {}
    behind, count = 0, len(lines.end)
    for number in np.flatnonzero(odd).tolist():
        if number < behind:
            continue
        last, open_quote = (
            number,
            _leaves_open(body[int(lines.start[number]) : int(lines.end[number])], False),
        )
        while open_quote and last + 1 < count:
            last += 1
            open_quote = _leaves_open(body[int(lines.start[last]) : int(lines.end[last])], True)
        if last > number:
            joined[number], behind = last, last + 1
            odd[number:behind] = True
    return joined


def _leaves_open(text: bytes, inside: bool) -> bool:
    """Return whether a string is open behind a text: one begins at a quote that a value begins with."""
    at = 0
    if not inside:
        if text.lstrip(b" \t").startswith(b"#"):
            return False
        fields = _FIRST_BLANK.search(text.lstrip(b" "))
        at = len(text) if fields is None else len(text) - len(text.lstrip(b" ")) + fields.end()
    while True:
        if not inside:
            begin = _STRING_BEGIN.search(text, at)
            if begin is None:
                return False
            at = begin.end()
        rest = _STRING_REST.match(text, at)
        assert rest is not None  # it matches nothing, too
        if not rest[1]:
            return True
        at, inside = rest.end(), False


def _to_ms(times: I64, precision: str) -> I64:
    if precision in PER_MS:
        return times // PER_MS[precision]
    most = np.int64(2**63 - 1) // MS_EACH[precision]
    return np.clip(times, -most, most) * MS_EACH[precision]


def _joined(owner: I64, ids: U32, values: F64, times_ms: I64, careful: _Careful) -> Batch:
    if not careful.owner:
        return Batch(Layout(ids), times_ms, values)
    order = np.argsort(np.concatenate([owner, careful.owner]), kind="stable")
    all_ids = np.concatenate([ids, np.array(careful.series, np.uint32)])[order]
    all_times = np.concatenate([times_ms, np.array(careful.times_ms, np.int64)])[order]
    return Batch(Layout(all_ids), all_times, np.concatenate([values, careful.values])[order])


def _writable(values: np.ndarray) -> np.ndarray:
    return values if values.flags.writeable else values.copy()


def _check_size(body: bytes) -> None:
    """Refuse what would take many times its size in memory, before it does."""
    for what, count, most in (
        ("lines", body.count(b"\n"), MAX_LINES),
        ("separators", sum(map(body.count, (b",", b"=", b" "))), MAX_SEPARATORS),
    ):
        if count > most:
            raise LimitExceeded(f"got {count:,} {what}, wanted at most {most:,} (send fewer lines at once)")


def _check_count(count: int) -> None:
    if count > MAX_SAMPLES:
        raise LimitExceeded(f"got more than {MAX_SAMPLES:,} samples, wanted fewer at once")
