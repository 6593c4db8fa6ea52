"""The columnar parser: text to series structure and value array, the structure found again by comparison.

A scrape differs from the one before it in its numbers. The numbers stand between separators (blanks and
newlines), always the same ones counted from the top; everything between the numbers is literal text. So a
known document is recognised by comparing the literals, whatever the widths of the numbers, and its numbers
are cast as one column.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa

from metricsmith.errors import ExpositionError, LimitExceeded
from metricsmith.model.arrays import F64, I64, Bool
from metricsmith.model.labels import decode_labels
from metricsmith.model.metadata import Metadata
from metricsmith.wire.exposition.comments import Comment
from metricsmith.wire.exposition.exemplars import cut_exemplars
from metricsmith.wire.exposition.families import collect_metadata, incomplete_histograms
from metricsmith.wire.exposition.formats import ExpositionFormat
from metricsmith.wire.exposition.lines import malformed, separators_of
from metricsmith.wire.exposition.numbers import (
    MalformedNumber,
    parse_floats,
    parse_millis,
    parse_seconds,
    to_millis,
)
from metricsmith.wire.exposition.reader import Reading, read_document
from metricsmith.wire.exposition.rules import Runs, check_structure
from metricsmith.wire.exposition.series_text import SeriesLimits, SeriesParser
from metricsmith.wire.exposition.value_rules import Broken, ValueRules

N = TypeVar("N", F64, I64)

MAX_BYTES = 2**31 - 2**20
"""Arrow's offsets are 32 bits; scrapes are limited far below this."""


@dataclass(frozen=True, eq=False, weakref_slot=True, slots=True)
class Structure:
    """What the scrapes of an unchanged target have in common; while unchanged, it is one object.

    Keys are canonical (`model.labels`), in document order. A document may repeat a series.
    """

    keys: tuple[bytes, ...]
    metadata: Mapping[str, Metadata]

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is odd, but no reason to fail, for people; looked for at each call."""
        return incomplete_histograms(self.keys, self.metadata)


@dataclass(frozen=True, slots=True)
class ParsedDocument:
    """One scrape.

    Shapes:
        values: (P,)
        times_ms: (P,), 0 where `has_time` is false; both None when no sample has a timestamp.
    """

    structure: Structure
    values: F64
    times_ms: I64 | None = None
    has_time: Bool | None = None

    def samples(self) -> Iterator[tuple[dict[str, str], float, int | None]]:
        """Yield labels, value and milliseconds of each sample, for tools and tests."""
        times: list[int | None] = [None] * len(self.values)
        if self.times_ms is not None and self.has_time is not None:
            pairs = zip(self.times_ms.tolist(), self.has_time.tolist(), strict=True)
            times = [time if has else None for time, has in pairs]
        for key, value, time in zip(self.structure.keys, self.values.tolist(), times, strict=True):
            yield decode_labels(key), value, time


@dataclass(frozen=True, slots=True)
class _Pieces:
    """A document cut at its N numbers, into them and the N + 1 literals around them."""

    sizes: I64
    literals: Any
    numbers: Any

    def same_literals(self, other: _Pieces) -> bool:
        return np.array_equal(self.sizes, other.sizes) and bool(self.literals.equals(other.literals))


@dataclass(frozen=True, slots=True)
class _Template:
    """How to recognise and read a document of known structure.

    Shapes:
        slots: (N,) of each number, the index of the separator before it.
        value_at: (P,) index of the value among the numbers; the timestamp follows where `timed`.
        series_size: (P,) bytes of the series text that ends where the value's separator stands, or 0.
        lines: (P,) line numbers.
    """

    structure: Structure
    comments: tuple[Comment, ...]
    separators: int
    slots: I64
    pieces: _Pieces
    value_at: I64
    timed: Bool
    series_size: I64
    lines: I64

    def series_texts(self) -> dict[bytes, bytes]:
        """Return the key of each series text."""
        text = self.pieces.literals.to_pybytes()
        ends = np.cumsum(self.pieces.sizes)[self.value_at] - 1
        spans = zip((ends - self.series_size).tolist(), ends.tolist(), self.structure.keys, strict=True)
        return {text[start:end]: key for start, end, key in spans if end > start}


@dataclass(frozen=True, slots=True)
class _Rules:
    """OpenMetrics' rules for a template, valid while timestamps change at the same samples."""

    moved: Bool
    values: ValueRules
    runs: Runs


class ExpositionParser:
    """Parses the documents of one target and remembers the structure of the last good one.

    Not for two threads at once. Remembers about as many bytes as the last document had, and its keys.
    """

    def __init__(
        self,
        format: ExpositionFormat,
        max_samples: int = 1_000_000,
        limits: SeriesLimits | None = None,
    ) -> None:
        self._strict = format is ExpositionFormat.OPENMETRICS
        self._max_samples = max_samples
        self._series = SeriesParser(self._strict, limits or SeriesLimits())
        self._template: _Template | None = None
        self._rules: _Rules | None = None

    def parse(self, body: bytes) -> ParsedDocument:
        """Return structure and values of a document; the structure is the last one's while it is equal.

        Raises:
            ExpositionError: malformed, with line number and text.
            LimitExceeded: more samples, labels or bytes than allowed.
        """
        if len(body) > MAX_BYTES:
            raise LimitExceeded(f"got a document of {len(body)} bytes, wanted at most {MAX_BYTES}")
        if not body.endswith(b"\n"):
            body += b"\n"
        exemplars: list[int] = []
        if self._strict:
            body, exemplars = cut_exemplars(body, np.frombuffer(body, dtype=np.uint8))
        separators = separators_of(np.frombuffer(body, dtype=np.uint8))
        return self._parse_known(body, separators, exemplars) or self._parse_other(
            body, separators, exemplars
        )

    def _parse_known(self, body: bytes, separators: I64, exemplars: list[int]) -> ParsedDocument | None:
        """Parse a document that differs from the last one in its numbers only; None when it is another.

        None too when it is malformed: so the reader of unknown documents words every error.
        """
        template = self._template
        pieces = self._recognise(body, separators)
        if template is None or pieces is None:
            return None
        try:
            parsed, self._rules = self._finish(template, pieces, self._rules, exemplars)
        except Broken:
            return None
        return parsed

    def _parse_other(self, body: bytes, separators: I64, exemplars: list[int]) -> ParsedDocument:
        """Parse a document that is not known, and remember it when it is right."""
        template = self._learn(body, separators)
        try:
            parsed, rules = self._finish(template, template.pieces, None, exemplars)
        except Broken as error:
            line = error.line or int(template.lines[error.sample])
            raise _at_line(body, line, error.message) from None
        self._template, self._rules = template, rules
        return parsed

    def _recognise(self, body: bytes, separators: I64) -> _Pieces | None:
        """Cut the document as the last one was cut; None when it is another one."""
        template = self._template
        if template is None or len(separators) != template.separators:
            return None
        pieces = _cut(body, separators[template.slots] + 1, separators[template.slots + 1])
        return pieces if pieces.same_literals(template.pieces) else None

    def _learn(self, body: bytes, separators: I64) -> _Template:
        """Read a document of another structure than the last one's."""
        last = self._template
        known = {} if last is None else last.series_texts()
        reading = read_document(body, separators, self._strict, self._max_samples, self._series, known)
        timed = reading.spans[:, 4] >= 0
        value_at = np.arange(len(timed)) + np.cumsum(timed) - timed
        starts, ends = _number_spans(reading.spans, timed, value_at)
        slots = np.searchsorted(separators, starts) - 1
        usable = np.array_equal(separators[slots] + 1, starts) and np.array_equal(separators[slots + 1], ends)
        series_end, value_start = reading.spans[:, 1], reading.spans[:, 2]
        return _Template(
            structure=self._structure(reading),
            comments=reading.comments,
            separators=len(separators) if usable else -1,
            slots=slots,
            pieces=_cut(body, starts, ends),
            value_at=value_at,
            timed=timed,
            series_size=np.where(series_end + 1 == value_start, series_end - reading.spans[:, 0], 0),
            lines=reading.lines,
        )

    def _structure(self, reading: Reading) -> Structure:
        metadata = collect_metadata(reading.comments, self._strict)
        last = None if self._template is None else self._template.structure
        if last is not None and last.keys == reading.keys and last.metadata == metadata:
            return last
        return Structure(reading.keys, metadata)

    def _finish(
        self, template: _Template, pieces: _Pieces, rules: _Rules | None, exemplars: list[int]
    ) -> tuple[ParsedDocument, _Rules | None]:
        """Cast the numbers and hold them against the rules."""
        timed = template.timed
        if timed.any():
            rows = np.flatnonzero(timed)
            values = _column(parse_floats, pieces.numbers.take(pa.array(template.value_at)))
            tokens = pieces.numbers.take(pa.array(template.value_at[rows] + 1))
            times_ms, seconds = np.zeros(len(values), dtype=np.int64), np.zeros(len(values))
            if self._strict:
                seconds[rows] = _column(parse_seconds, tokens, rows)
                times_ms = to_millis(seconds)
            else:
                times_ms[rows] = _column(parse_millis, tokens, rows)
            parsed = ParsedDocument(template.structure, values, times_ms, timed)
        else:
            seconds = np.empty(0)
            parsed = ParsedDocument(template.structure, _column(parse_floats, pieces.numbers))
        if self._strict:
            rules = self._check(template, rules, parsed.values, seconds, exemplars)
        return parsed, rules

    def _check(
        self, template: _Template, rules: _Rules | None, values: F64, seconds: F64, exemplars: list[int]
    ) -> _Rules:
        """Hold a document against OpenMetrics' rules; returns them for the next document."""
        moved = np.diff(seconds, prepend=np.nan) != 0 if len(seconds) else template.timed
        if rules is None or not np.array_equal(rules.moved, moved):
            last = {} if self._rules is None else self._rules.runs
            lines, keys = template.lines.tolist(), template.structure.keys
            rules = _Rules(
                moved, *check_structure(template.comments, lines, keys, template.timed, moved, last)
            )
        rules.values.check(values, seconds)
        if exemplars:
            rules.values.check_exemplars(np.searchsorted(template.lines, exemplars))
        return rules


def _column(parse: Callable[[Any], N], tokens: Any, rows: I64 | None = None) -> N:
    """Cast a column of tokens; `rows` says which samples they belong to, when not all have one."""
    try:
        return parse(tokens)
    except MalformedNumber as error:
        sample = error.index if rows is None else int(rows[error.index])
        raise Broken(f"wanted {error.wanted}", sample=sample) from None


def _number_spans(spans: I64, timed: Bool, value_at: I64) -> tuple[I64, I64]:
    """Starts and ends of all numbers in document order."""
    starts = np.empty(len(spans) + int(timed.sum()), dtype=np.int64)
    ends = np.empty_like(starts)
    starts[value_at], ends[value_at] = spans[:, 2], spans[:, 3]
    starts[value_at[timed] + 1], ends[value_at[timed] + 1] = spans[timed, 4], spans[timed, 5]
    return starts, ends


def _cut(body: bytes, starts: I64, ends: I64) -> _Pieces:
    bounds = np.empty(2 * len(starts) + 2, dtype=np.int32)
    bounds[0], bounds[-1] = 0, len(body)
    bounds[1:-1:2], bounds[2:-1:2] = starts, ends
    count = len(bounds) - 1
    buffers = [None, pa.py_buffer(bounds.data), pa.py_buffer(body)]
    whole: Any = pa.Array.from_buffers(pa.binary(), count, buffers)
    literals = whole.take(pa.array(np.arange(0, count, 2)))
    numbers = whole.take(pa.array(np.arange(1, count, 2)))
    return _Pieces(np.diff(bounds)[::2].astype(np.int64), literals.buffers()[2], numbers)


def _at_line(body: bytes, number: int, message: str) -> ExpositionError:
    return malformed(message, number, body.split(b"\n", number)[number - 1])


def parse_openmetrics(text: str) -> list[tuple[dict[str, str], float, int | None]]:
    """Return labels, value and milliseconds of each sample of an OpenMetrics document.

    Raises:
        ExpositionError: the document breaks a rule of OpenMetrics 1.0.
    """
    return list(ExpositionParser(ExpositionFormat.OPENMETRICS).parse(text.encode()).samples())
