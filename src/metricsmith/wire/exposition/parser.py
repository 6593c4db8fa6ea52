"""The columnar parser: text to series structure and value array, at no cost per sample while series stay."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa

from metricsmith.errors import ExpositionError, LimitExceeded
from metricsmith.model.arrays import F64, I64, Bool
from metricsmith.model.labels import decode_labels
from metricsmith.wire.exposition.empty_labels import find_empty
from metricsmith.wire.exposition.exemplars import cut_exemplars
from metricsmith.wire.exposition.families import collect_metadata
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
from metricsmith.wire.exposition.shared import Document, DocumentPool
from metricsmith.wire.exposition.structure import Structure
from metricsmith.wire.exposition.template import Pieces, make_template
from metricsmith.wire.exposition.value_rules import Broken, ValueRules

N = TypeVar("N", F64, I64)
_POOL = DocumentPool()
"""Of all parsers of the process: what is equal is equal whoever scraped it."""

MAX_BYTES = 2**31 - 2**20
"""Arrow's offsets are 32 bits; scrapes are limited far below this."""


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
class _Rules:
    """OpenMetrics' rules for a template, valid while timestamps change at the same samples."""

    moved: Bool
    values: ValueRules
    runs: Runs


@dataclass(frozen=True, slots=True)
class _Known:
    """What is remembered of the last good document."""

    document: Document
    rules: _Rules | None = None


class ExpositionParser:
    """Parses the documents of one target and remembers the structure of the last good one.

    Not for two threads at once. Remembers about as many bytes as the last document had, and its keys;
    parsers of documents that are equal but for their numbers remember them once together.
    `empty_labels` are the names that `Structure.empty` tells of.
    """

    def __init__(
        self,
        format: ExpositionFormat,
        max_samples: int = 1_000_000,
        limits: SeriesLimits | None = None,
        empty_labels: Sequence[bytes] = (),
    ) -> None:
        self._strict = format is ExpositionFormat.OPENMETRICS
        self._max_samples = max_samples
        self._series = SeriesParser(self._strict, limits or SeriesLimits())
        self._empty_labels = empty_labels
        self._last: _Known | None = None

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
        parsed = self._parse_known(body, separators, exemplars)
        return parsed or self._parse_other(body, separators, exemplars)

    def _parse_known(self, body: bytes, separators: I64, exemplars: list[int]) -> ParsedDocument | None:
        """Parse a document that differs from the last one in its numbers only; None when it is another.

        None too when it is malformed: so the reader of unknown documents words every error.
        """
        last = self._last
        pieces = None if last is None else last.document.template.recognise(body, separators)
        if last is None or pieces is None:
            return None
        try:
            return self._finish(last, pieces, exemplars)
        except Broken:
            return None

    def _parse_other(self, body: bytes, separators: I64, exemplars: list[int]) -> ParsedDocument:
        """Parse a document that is not known, and remember it when it is right."""
        last = None if self._last is None else self._last.document
        texts = {} if last is None else last.template.keys_by_text(last.structure.keys)
        reading = read_document(body, separators, self._strict, self._max_samples, self._series, texts)
        template = make_template(body, separators, reading)
        structure = self._structure(body, reading)
        document = Document(structure, reading.comments, template)
        if last is None or structure is not last.structure:  # else the structure must stay this one
            document = _POOL.share(document, self._strict, self._empty_labels)
        try:
            return self._finish(_Known(document), template.pieces, exemplars)
        except Broken as error:
            line = error.line or int(template.lines[error.sample])
            raise _at_line(body, line, error.message) from None

    def _structure(self, body: bytes, reading: Reading) -> Structure:
        metadata = collect_metadata(reading.comments, self._strict)
        empty = find_empty(body, reading.spans[:, :2], self._empty_labels)
        last = None if self._last is None else self._last.document.structure
        if last is not None and last.is_like(reading.keys, metadata, empty):
            return last
        return Structure(reading.keys, metadata, empty)

    def _finish(self, known: _Known, pieces: Pieces, exemplars: list[int]) -> ParsedDocument:
        """Cast the numbers, hold them against the rules, and remember what was learned.

        Raises:
            Broken: a number or a rule.
        """
        template, structure = known.document.template, known.document.structure
        seconds = np.empty(0)
        if not template.timed.any():
            parsed = ParsedDocument(structure, _column(parse_floats, pieces.numbers))
        else:
            rows = np.flatnonzero(template.timed)
            values = _column(parse_floats, pieces.numbers.take(pa.array(template.value_at)))
            tokens = pieces.numbers.take(pa.array(template.value_at[rows] + 1))
            times_ms = np.zeros(len(values), dtype=np.int64)
            if self._strict:
                seconds = np.zeros(len(values))
                seconds[rows] = _column(parse_seconds, tokens, rows)
                times_ms = to_millis(seconds)
            else:
                times_ms[rows] = _column(parse_millis, tokens, rows)
            parsed = ParsedDocument(structure, values, times_ms, template.timed)
        if self._strict:
            known = replace(known, rules=self._check(known, parsed.values, seconds, exemplars))
        self._last = known
        return parsed

    def _check(self, known: _Known, values: F64, seconds: F64, exemplars: list[int]) -> _Rules:
        """Hold a document against OpenMetrics' rules; returns them for the next document."""
        template, rules = known.document.template, known.rules
        moved = np.diff(seconds, prepend=np.nan) != 0 if len(seconds) else template.timed
        if rules is None or not np.array_equal(rules.moved, moved):
            runs = {} if self._last is None or self._last.rules is None else self._last.rules.runs
            lines, keys = template.lines.tolist(), known.document.structure.keys
            found = check_structure(known.document.comments, lines, keys, template.timed, moved, runs)
            rules = _Rules(moved, *found)
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


def _at_line(body: bytes, number: int, message: str) -> ExpositionError:
    return malformed(message, number, body.split(b"\n", number)[number - 1])


def parse_openmetrics(text: str) -> list[tuple[dict[str, str], float, int | None]]:
    """Return labels, value and milliseconds of each sample of an OpenMetrics document.

    Raises:
        ExpositionError: the document breaks a rule of OpenMetrics 1.0.
    """
    return list(ExpositionParser(ExpositionFormat.OPENMETRICS).parse(text.encode()).samples())
