"""Reading a document whose structure is not known yet: lines to keys, comments and spans of numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from metricsmith.errors import ExpositionError, LimitExceeded
from metricsmith.model.arrays import I64
from metricsmith.wire.exposition.comments import Comment, parse_comment
from metricsmith.wire.exposition.lines import Lines, malformed, parse_line, split_lines
from metricsmith.wire.exposition.series_text import MalformedSeries, SeriesParser

EOF_LINE = b"# EOF"


@dataclass(frozen=True, slots=True)
class Reading:
    """What stands where in a document.

    Shapes:
        lines: (P,) 1-based line numbers of the samples.
        spans: (P, 6) start and end of series, value and timestamp; the latter are -1 without one.
    """

    keys: tuple[bytes, ...]
    comments: tuple[Comment, ...]
    lines: I64
    spans: I64


def read_document(
    body: bytes,
    separators: I64,
    strict: bool,
    max_samples: int,
    series: SeriesParser,
    known: Mapping[bytes, bytes],
) -> Reading:
    """Return a document's samples and metadata; `known` maps series texts to their keys.

    Raises:
        ExpositionError: a malformed line.
        LimitExceeded: more samples or labels than allowed.
    """
    _check_utf8(body)
    lines = split_lines(np.frombuffer(body, dtype=np.uint8), separators)
    if strict:
        _check_eof(body, lines)
    _check_count(int(lines.regular.sum()), max_samples)  # before anything is made of them
    reading = _Reader(body, lines, strict, series, known).read()
    _check_count(len(reading.keys), max_samples)
    return reading


class _Reader:
    def __init__(
        self, body: bytes, lines: Lines, strict: bool, series: SeriesParser, known: Mapping[bytes, bytes]
    ) -> None:
        self._body = body
        self._lines = lines
        self._strict = strict
        self._series = series
        self._known = known
        self._comments: list[Comment] = []
        self._rows = np.flatnonzero(lines.sample)
        self._spans = self._regular_spans()

    def read(self) -> Reading:
        for index in np.flatnonzero(self._lines.comment).tolist():
            if not (self._strict and index == len(self._lines.starts) - 1):
                self._comment(index)
        for row in np.flatnonzero(~self._lines.regular[self._rows]).tolist():
            self._reparse(row)
        keys = self._keys()
        kept = self._spans[:, 0] >= 0
        if not kept.all():
            keys = [key for key, keep in zip(keys, kept.tolist(), strict=True) if keep]
        self._comments.sort(key=lambda comment: comment.line)
        return Reading(tuple(keys), tuple(self._comments), self._rows[kept] + 1, self._spans[kept])

    def _regular_spans(self) -> I64:
        lines, rows = self._lines, self._rows
        series_end, time_start, ends = lines.series_end[rows], lines.time_start[rows], lines.ends[rows]
        timed = time_start >= 0
        value_end = np.where(timed, time_start - 1, ends)
        time_end = np.where(timed, ends, -1)
        return np.stack(
            [lines.starts[rows], series_end, series_end + 1, value_end, time_start, time_end], axis=1
        )

    def _keys(self) -> list[bytes]:
        body = self._body
        starts, ends = self._spans[:, 0].tolist(), self._spans[:, 1].tolist()
        texts = [body[start:end] for start, end in zip(starts, ends, strict=True)]
        keys: list[bytes | None] = list(map(self._known.get, texts))
        fresh: dict[bytes, bytes] = {b"": b""}  # an empty text: the line turned out to be no sample
        for row in [row for row, key in enumerate(keys) if key is None]:
            text = texts[row]
            found = fresh.get(text)
            if found is None:
                try:
                    found = fresh[text] = self._series.key(text)
                except MalformedSeries:
                    found = self._key_of_irregular(row)
            keys[row] = found
        return keys  # type: ignore[return-value]

    def _key_of_irregular(self, row: int) -> bytes:
        """Parse a line again as a whole: it only looked regular, or its series is malformed."""
        self._reparse(row)
        start, end = self._spans[row, :2].tolist()
        if start < 0:
            return b""
        try:
            return self._series.key(self._body[start:end])
        except MalformedSeries as error:
            raise self._malformed(int(self._rows[row]), str(error)) from None

    def _reparse(self, row: int) -> None:
        """Replace the spans of a row by those of the exact line parser; -1 when it is no sample."""
        index = int(self._rows[row])
        start, end = int(self._lines.starts[index]), int(self._lines.ends[index])
        if not self._strict and self._body[start:end].lstrip(b" \t").startswith(b"#"):
            self._comment(index)
            self._spans[row] = -1
            return
        spans = parse_line(self._body, start, end, index + 1, self._strict)
        self._spans[row] = -1 if spans is None else spans

    def _comment(self, index: int) -> None:
        line = self._body[self._lines.starts[index] : self._lines.ends[index]]
        comment = parse_comment(line, index + 1, self._strict)
        if comment is not None:
            self._comments.append(comment)

    def _malformed(self, index: int, message: str) -> ExpositionError:
        line = self._body[self._lines.starts[index] : self._lines.ends[index]]
        return malformed(message, index + 1, line)


def _check_count(samples: int, most: int) -> None:
    if samples > most:
        raise LimitExceeded(f"got {samples} samples, wanted at most {most}")


def _check_utf8(body: bytes) -> None:
    try:
        body.decode()
    except UnicodeDecodeError as error:
        start, end = body.rfind(b"\n", 0, error.start) + 1, body.find(b"\n", error.start)
        number = body.count(b"\n", 0, error.start) + 1
        raise malformed("got bytes that are not UTF-8", number, body[start:end]) from None


def _check_eof(body: bytes, lines: Lines) -> None:
    last = body[lines.starts[-1] : lines.ends[-1]]
    if last != EOF_LINE:
        raise malformed("wanted # EOF as the last line", len(lines.starts), last)
    blank = np.flatnonzero(lines.starts == lines.ends)
    if len(blank):
        raise malformed("got a blank line, which OpenMetrics must not have", int(blank[0]) + 1, b"")
