"""A document's lines: which are samples, and where in each stand series, value and timestamp."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from metricsmith.errors import ExpositionError
from metricsmith.model.arrays import I64, U8, Bool
from metricsmith.wire.exposition.series_text import BRACES, NAME

BLANK, NEWLINE, HASH, OPEN, CLOSE = (ord(c) for c in " \n#{}")

_REST_TEXT = rb"[ \t]*([^ \t]+)(?:[ \t]+([^ \t]+))?[ \t]*"
_SAMPLE_TEXT = re.compile(
    rb"[ \t]*(" + NAME + rb"(?:[ \t]*" + BRACES + rb"|(?=[ \t]))|" + BRACES + rb")" + _REST_TEXT, re.DOTALL
)
_SAMPLE_STRICT = re.compile(
    rb"(" + NAME + rb"(?:" + BRACES + rb")?|" + BRACES + rb") ([^ ]+)(?: ([^ ]+))?", re.DOTALL
)


def separators_of(octets: U8) -> I64:
    """Return the positions of blanks and newlines, and of every other control character.

    One comparison finds them all; control characters inside a label value only
    make the line an irregular one.
    """
    return np.flatnonzero(octets <= BLANK)


@dataclass(frozen=True, slots=True)
class Lines:
    """The lines of a document, in order.

    `regular` sample lines are `series value` or `series value timestamp` with single blanks, as far
    as that can be seen without reading the series; the others need `parse_line`.

    Shapes:
        starts, ends: (L,) positions of the first byte and of the newline.
        sample, regular: (L,)
        series_end, time_start: (L,) valid where regular; time_start is -1 without timestamp.
    """

    starts: I64
    ends: I64
    comment: Bool
    sample: Bool
    regular: Bool
    series_end: I64
    time_start: I64


def split_lines(octets: U8, separators: I64) -> Lines:
    """Return the lines of a document that ends in a newline."""
    kinds = octets[separators]
    line_ends = np.flatnonzero(kinds == NEWLINE)
    ends = separators[line_ends]
    starts = np.concatenate([[0], ends[:-1] + 1])
    first = octets[starts]
    comment = first == HASH
    sample = (starts != ends) & ~comment
    blanks = np.diff(line_ends, prepend=-1) - 1
    plain = kinds == BLANK

    # The last and last but one separator of each line; clipped where a line has fewer, and masked below.
    last_at, prior_at = np.maximum(line_ends - 1, 0), np.maximum(line_ends - 2, 0)
    last, prior = separators[last_at], separators[prior_at]
    one = sample & (blanks >= 1) & plain[last_at] & (ends > last + 1) & (last > starts)
    two = sample & (blanks >= 2) & plain[last_at] & plain[prior_at]
    two &= (ends > last + 1) & (last > prior + 1) & (prior > starts)
    untimed = one & ((octets[last - 1] == CLOSE) | (blanks == 1))
    timed = two & ~untimed & ((octets[prior - 1] == CLOSE) | (blanks == 2))
    series_end = np.where(timed, prior, last)
    bare = octets[np.minimum(series_end + 1, len(octets) - 1)] != OPEN
    return Lines(
        starts=starts,
        ends=ends,
        comment=comment,
        sample=sample,
        regular=(untimed | timed) & bare,
        series_end=series_end,
        time_start=np.where(timed, last + 1, -1),
    )


def parse_line(body: bytes, start: int, end: int, number: int, strict: bool) -> tuple[int, ...] | None:
    """Return series start, series end, value start, value end, time start, time end; or None for no sample.

    This is the last word on a line: what it refuses is malformed.

    Raises:
        ExpositionError: neither a sample nor, in the text format, a blank line.
    """
    line = body[start:end]
    if not strict and not line.strip(b" \t"):
        return None
    found = (_SAMPLE_STRICT if strict else _SAMPLE_TEXT).fullmatch(line)
    if found is None:
        raise malformed('wanted name{label="value"} value', number, line)
    spans = [*found.span(1), *found.span(2), *found.span(3)]
    return tuple(start + at if at >= 0 else -1 for at in spans)


def malformed(message: str, number: int, line: bytes) -> ExpositionError:
    """Return the error for a line."""
    return ExpositionError(message, number, line[:200].decode(errors="replace"))
