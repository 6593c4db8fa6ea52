"""The text of one series, `name{label="value"}`, to its canonical key."""

from __future__ import annotations

import re
from dataclasses import dataclass

from metricsmith.errors import LimitExceeded
from metricsmith.model.labels import NAME_LABEL, encode_pairs

NAME = rb"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL = rb"[a-zA-Z_][a-zA-Z0-9_]*"
QUOTED = rb'"[^"\\]*(?:\\.[^"\\]*)*"'
BRACES = rb'\{[^"}]*(?:' + QUOTED + rb'[^"}]*)*\}'

_PLAIN_PAIR = LABEL + rb'="[^"\\]*"'
_PLAIN = re.compile(rb"(" + NAME + rb")(?:\{((?:" + _PLAIN_PAIR + rb"(?:," + _PLAIN_PAIR + rb")*)?)(,?)\})?")
_NAME = re.compile(NAME)
_TERM = re.compile(rb"(" + LABEL + rb"|(" + QUOTED + rb"))(?:([ \t]*=[ \t]*)(" + QUOTED + rb"))?")
_BLANKS = re.compile(rb"[ \t]*")
_ESCAPE = re.compile(rb'\\([\\n"])')
_UNESCAPED = {b"\\": b"\\", b'"': b'"', b"n": b"\n"}
_NAME_BYTES = NAME_LABEL.encode()


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


def parse_series(text: bytes, strict: bool, limits: SeriesLimits) -> bytes:
    """Return the canonical key of a series text, which must be valid UTF-8.

    `strict` is OpenMetrics: no blanks inside, no comma after the last label.

    Raises:
        MalformedSeries: not a series.
        LimitExceeded: more or longer labels than allowed.
    """
    plain = _PLAIN.fullmatch(text)
    if plain is None or (plain[3] and (strict or not plain[2])):
        name, pairs = _parse_general(text, strict)
    elif not plain[2]:
        name, pairs = plain[1], []
    else:
        # Without escapes a quote always ends a value; 00 sorts before every byte of a label name.
        parts = plain[2][:-1].replace(b'="', b"\0").split(b'",')
        name, pairs = plain[1], [(n, v) for n, _, v in (p.partition(b"\0") for p in parts)]
    limits.check(name, pairs)
    if len({n for n, _ in pairs}) != len(pairs):
        raise MalformedSeries("got a label name twice, wanted each once")
    if any(n == _NAME_BYTES for n, _ in pairs):
        raise MalformedSeries("got a label __name__, wanted the name before or as first text in the braces")
    return encode_pairs(name, [pair for pair in pairs if pair[1]])


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
