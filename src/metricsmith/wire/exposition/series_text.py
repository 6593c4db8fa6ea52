"""The text of one series, `name{label="value"}`, to its canonical key."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from metricsmith.errors import LimitExceeded
from metricsmith.model.labels import NAME_LABEL, PAIR, VALUE, encode_pairs

NAME = rb"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL = rb"[a-zA-Z_][a-zA-Z0-9_]*"
QUOTED = rb'"[^"\\]*(?:\\.[^"\\]*)*"'
BRACES = rb'\{[^"}]*(?:' + QUOTED + rb'[^"}]*)*\}'

_NAME = re.compile(NAME)
_TERM = re.compile(rb"(" + LABEL + rb"|(" + QUOTED + rb"))(?:([ \t]*=[ \t]*)(" + QUOTED + rb"))?")
_BLANKS = re.compile(rb"[ \t]*")
_ESCAPE = re.compile(rb'\\([\\n"])')
_UNESCAPED = {b"\\": b"\\", b'"': b'"', b"n": b"\n"}
_NAME_BYTES = NAME_LABEL.encode()

MAX_SHAPES = 4096
MAX_SHAPE_BYTES = 4096
"""Shapes kept per target, and the longest text that has one: 16 MB at worst."""


class MalformedSeries(Exception):
    """A series text is not one; the message says what was wanted."""


@dataclass(frozen=True, slots=True)
class SeriesLimits:
    """How large a label set may be.

    Units:
        Lengths are bytes of UTF-8.
    """

    labels: int = 256
    name_bytes: int = 1024
    value_bytes: int = 65_536

    def check(self, name: bytes, pairs: list[tuple[bytes, bytes]]) -> None:
        """Refuse a label set above a limit.

        Raises:
            LimitExceeded: says which, how large it was, and of which metric.
        """
        shown = name[:100].decode(errors="replace")
        if len(pairs) > self.labels:
            raise LimitExceeded(f"{shown}: got {len(pairs)} labels, wanted at most {self.labels}")
        longest = max([len(name), *(len(n) for n, _ in pairs)])
        if longest > self.name_bytes:
            raise LimitExceeded(f"{shown}: got a name of {longest} bytes, wanted at most {self.name_bytes}")
        longest = max((len(v) for _, v in pairs), default=0)
        if longest > self.value_bytes:
            raise LimitExceeded(
                f"{shown}: got a label value of {longest} bytes, wanted at most {self.value_bytes}"
            )


def unescape(text: bytes) -> bytes:
    r"""Return a quoted text's content with `\\`, `\"` and `\n` read; other backslashes stay."""
    return _ESCAPE.sub(lambda m: _UNESCAPED[m[1]], text) if b"\\" in text else text


class SeriesParser:
    """Parses series texts; remembers their shapes.

    The shape is the text outside of the quotes. Without escapes it decides everything but the
    values, so a series of a known shape is split at its quotes and its key filled in.
    """

    def __init__(self, strict: bool, limits: SeriesLimits) -> None:
        self._strict = strict
        self._limits = limits
        self._short = min(limits.name_bytes, limits.value_bytes, MAX_SHAPE_BYTES)
        self._shapes: dict[tuple[bytes, ...], _Shape] = {}

    def key(self, text: bytes) -> bytes:
        """Return the canonical key of a series text, which must be valid UTF-8.

        In OpenMetrics there are no blanks inside and no comma after the last label.

        Raises:
            MalformedSeries: not a series.
            LimitExceeded: more or longer labels than allowed.
        """
        if b"\\" in text or len(text) > self._short:
            return encode_pairs(*self._parse(text))
        pieces = text.split(b'"')
        values = pieces[1::2]
        shape = self._shapes.get(tuple(pieces[::2]))
        if shape is not None and b"" not in values:
            key: bytes = shape.template % shape.arrange(values)
            return key
        name, pairs = self._parse(text)
        if len(pairs) == len(values):
            self._learn(tuple(pieces[::2]), name, pairs)
        return encode_pairs(name, pairs)

    def _parse(self, text: bytes) -> tuple[bytes, list[tuple[bytes, bytes]]]:
        name, pairs = _parse_general(text, self._strict)
        self._limits.check(name, pairs)
        if len({n for n, _ in pairs}) != len(pairs):
            raise MalformedSeries("got a label name twice, wanted each once")
        if any(n == _NAME_BYTES for n, _ in pairs):
            raise MalformedSeries("got a label __name__, wanted the name before or first in the braces")
        return name, [pair for pair in pairs if pair[1]]

    def _learn(self, outside: tuple[bytes, ...], name: bytes, pairs: list[tuple[bytes, bytes]]) -> None:
        if len(self._shapes) >= MAX_SHAPES:
            self._shapes.clear()
        order = sorted(range(len(pairs)), key=lambda at: pairs[at][0])
        parts = [name, *(pairs[at][0] + VALUE + b"%b" for at in order)]
        arrange = itemgetter(*order) if order else _nothing
        self._shapes[outside] = _Shape(PAIR.join(parts), arrange)


@dataclass(frozen=True, slots=True)
class _Shape:
    """A key with places for values, and how to bring values from text order into key order."""

    template: bytes
    arrange: Callable[[list[bytes]], Any]


def _nothing(values: list[bytes]) -> tuple[()]:
    return ()


def parse_labels(braces: bytes) -> list[tuple[bytes, bytes]]:
    """Return the label pairs of `{...}` as OpenMetrics writes them, for exemplars.

    Raises:
        MalformedSeries: not labels in braces.
    """
    _, pairs = _parse_braces(braces, 0, True, b"-")
    return pairs


def _parse_general(text: bytes, strict: bool) -> tuple[bytes, list[tuple[bytes, bytes]]]:
    """Read a series with escapes, quoted names or blanks, term by term."""
    found = _NAME.match(text)
    name, at = (found[0], found.end()) if found else (b"", 0)
    if at == len(text):
        return name, []
    name, pairs = _parse_braces(text, _skip(text, at, strict), strict, name)
    if not name:
        raise MalformedSeries("wanted a metric name")
    return name, pairs


def _parse_braces(text: bytes, at: int, strict: bool, name: bytes) -> tuple[bytes, list[tuple[bytes, bytes]]]:
    """Read labels from `at` to the end of the text; a name alone in quotes is the metric's."""
    pairs = []
    if text[at : at + 1] != b"{":
        raise MalformedSeries("wanted a metric name and labels in braces")
    at = _skip(text, at + 1, strict)
    while text[at : at + 1] != b"}":
        term = _TERM.match(text, at)
        if term is None:
            raise MalformedSeries('wanted label="value"')
        word, quoted, equal, value = term.groups()
        if quoted is not None:
            word = unescape(quoted[1:-1])
        if not word or (strict and equal not in (None, b"=")):
            raise MalformedSeries('wanted label="value" without blanks')
        if value is not None:
            pairs.append((word, unescape(value[1:-1])))
        elif quoted is not None and not name:
            name = word
        else:
            raise MalformedSeries('wanted label="value"')
        at = _skip(text, term.end(), strict)
        if text[at : at + 1] == b",":
            at = _skip(text, at + 1, strict)
            if strict and text[at : at + 1] == b"}":
                raise MalformedSeries("got a comma after the last label")
        elif text[at : at + 1] != b"}":
            raise MalformedSeries("wanted a comma or a closing brace after a label")
    if at != len(text) - 1:
        raise MalformedSeries("got text after the closing brace")
    return name, pairs


def _skip(text: bytes, at: int, strict: bool) -> int:
    if strict:
        return at
    blanks = _BLANKS.match(text, at)
    return blanks.end() if blanks else at
