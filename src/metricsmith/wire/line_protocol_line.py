"""One line of InfluxDB line protocol, read with care: escapes, quotes, and words for what is wrong.

measurement,tag=value field=1,other=2i 1700000000000000000
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from metricsmith.model.labels import NAME_LABEL, encode_pairs

MAX_TAGS = 256
MAX_FIELDS = 10_000
MAX_TEXT_BYTES = 65_535
"""Longest measurement with its tags; InfluxDB's own limit."""
VALUE_FIELD = b"value"
"""The field whose series is named as the measurement alone."""

# A separator is part of a name when a backslash stands before it, whatever stands before that.
_MEASUREMENT = re.compile(rb"(?:[^, ]|(?<=\\)[, ])*+")
_NAME = re.compile(rb"(?:[^,= ]|(?<=\\)[,= ])*+")
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*+"', re.DOTALL)
_WORD = re.compile(rb"[^, ]*+")
_FLOAT = re.compile(rb"-?(?:[0-9]++\.?[0-9]*+|\.[0-9]++)(?:[eE][+-]?[0-9]++)?")
_INTEGER = re.compile(rb"-?[0-9]{1,40}")
_ESCAPE = re.compile(rb"\\([,= ])")
_CONTROL = re.compile(rb"[\x00-\x1f\x7f]")
_BOOLEANS = dict.fromkeys((b"t", b"T", b"true", b"True", b"TRUE"), 1.0) | dict.fromkeys(
    (b"f", b"F", b"false", b"False", b"FALSE"), 0.0
)
_RANGES = {b"i": (-(2**63), 2**63), b"u": (0, 2**64)}


class MalformedLine(Exception):
    """A line is none of the protocol; the message says why, in InfluxDB's words where it has some."""


@dataclass(frozen=True, slots=True)
class Head:
    """Measurement and tags: what the series of all fields of a line share."""

    measurement: bytes
    tags: tuple[tuple[bytes, bytes], ...]

    def key(self, field: bytes) -> bytes:
        """Return the series key of a field: `measurement_field`, or the measurement alone for `value`."""
        name = self.measurement if field == VALUE_FIELD else self.measurement + b"_" + field
        return encode_pairs(name, self.tags)


@dataclass(frozen=True, slots=True)
class Line:
    """What a line says; `time` is in the units of the request. Strings are only counted."""

    head: Head
    fields: tuple[tuple[bytes, float], ...]
    strings: int
    time: int | None


def read_line(text: bytes, extra_tags: tuple[tuple[bytes, bytes], ...] = ()) -> Line:
    """Return what a line without its end says; `extra_tags` are added where the line has no such tag.

    Raises:
        MalformedLine: it is none of the protocol, or above a limit.
    Source:
        InfluxDB 1.8 line protocol reference; unsigned integers as in InfluxDB 2.
    """
    head, at = read_head(text, extra_tags)
    fields: list[tuple[bytes, float]] = []
    strings = 0
    while True:
        field, at = read_field_key(text, at)
        value, at = _read_value(text, at)
        if value is None:
            strings += 1
        else:
            fields.append((field, value))
        if len(fields) + strings > MAX_FIELDS:
            raise MalformedLine(f"too many fields: wanted at most {MAX_FIELDS:,}")
        if text[at : at + 1] != b",":
            break
        at += 1
    return Line(head, tuple(fields), strings, _read_time(text[at:].strip(b" ")))


def read_head(text: bytes, extra_tags: tuple[tuple[bytes, bytes], ...] = ()) -> tuple[Head, int]:
    """Return measurement and tags at the begin of a text, and where its first field begins.

    Raises:
        MalformedLine: they are malformed, or above a limit.
    """
    measurement, at = _match(_MEASUREMENT, text, 0)
    if not measurement:
        raise MalformedLine("missing measurement")
    tags: dict[bytes, bytes] = {}
    while text[at : at + 1] == b",":
        name, at = _match(_NAME, text, at + 1)
        if not name:
            raise MalformedLine("missing tag key")
        if text[at : at + 1] != b"=":
            raise MalformedLine("missing tag value")
        value, at = _match(_NAME, text, at + 1)
        if not value:
            raise MalformedLine("missing tag value")
        if text[at : at + 1] == b"=":
            raise MalformedLine("invalid tag format")
        _put_tag(tags, name, value)
    if at > MAX_TEXT_BYTES:
        raise MalformedLine(f"max key size exceeded: {at} > {MAX_TEXT_BYTES}")
    begin = at
    while text[at : at + 1] == b" ":
        at += 1
    if at == len(text) or at == begin:
        raise MalformedLine("missing fields")
    for name, value in extra_tags:
        tags.setdefault(name, value)
    return Head(checked_text(measurement), tuple(tags.items())), at


def read_field_key(text: bytes, at: int) -> tuple[bytes, int]:
    """Return the name of the field at a place, and where its value begins.

    Raises:
        MalformedLine: there is none.
    """
    name, at = _match(_NAME, text, at)
    if text[at : at + 1] != b"=":
        raise MalformedLine("invalid field format")
    if not name:
        raise MalformedLine("missing field key")
    return checked_text(name), at + 1


def checked_text(text: bytes) -> bytes:
    """Return a name or tag value that can be one of a series.

    Raises:
        MalformedLine: it is no UTF-8, or has control characters.
    """
    if _CONTROL.search(text):
        raise MalformedLine(f"control character in {text[:100]!r}")
    try:
        text.decode()
    except UnicodeDecodeError:
        raise MalformedLine(f"not UTF-8: {text[:100]!r}") from None
    return text


def _match(pattern: re.Pattern[bytes], text: bytes, at: int) -> tuple[bytes, int]:
    found = pattern.match(text, at)
    assert found is not None  # the patterns match nothing, too
    word = found[0]
    return _ESCAPE.sub(rb"\1", word) if b"\\" in word else word, found.end()


def _put_tag(tags: dict[bytes, bytes], name: bytes, value: bytes) -> None:
    if name in tags:
        raise MalformedLine("duplicate tags")
    if name == NAME_LABEL.encode():
        raise MalformedLine(f"invalid tag key: {NAME_LABEL} is the name of the series")
    if len(tags) >= MAX_TAGS:
        raise MalformedLine(f"too many tags: wanted at most {MAX_TAGS}")
    tags[checked_text(name)] = checked_text(value)


def _read_value(text: bytes, at: int) -> tuple[float | None, int]:
    """Return a value, None for a string, and where it ends."""
    if text[at : at + 1] == b'"':
        found = _STRING.match(text, at)
        if found is None:
            raise MalformedLine("unbalanced quotes")
        end = found.end()
        if text[end : end + 1] not in (b"", b",", b" "):
            raise MalformedLine("invalid field format")
        return None, end
    word, end = _match(_WORD, text, at)
    return _number(word), end


def _number(word: bytes) -> float:
    if not word:
        raise MalformedLine("missing field value")
    if word in _BOOLEANS:
        return _BOOLEANS[word]
    if word[-1:] in _RANGES and _INTEGER.fullmatch(word[:-1]):
        low, high = _RANGES[word[-1:]]
        if not low <= int(word[:-1]) < high:
            raise MalformedLine(f"unable to parse integer {word[:-1].decode()}: value out of range")
        return float(int(word[:-1]))
    if not _FLOAT.fullmatch(word):
        raise MalformedLine("invalid number" if word[0] in b"-.0123456789" else "invalid boolean")
    value = float(word)
    if math.isinf(value):
        raise MalformedLine("invalid float")
    return value


def _read_time(word: bytes) -> int | None:
    if not word:
        return None
    if b" " in word:
        raise MalformedLine("point is invalid")
    if not _INTEGER.fullmatch(word):
        raise MalformedLine("bad timestamp")
    if not -(2**63) <= int(word) < 2**63:
        raise MalformedLine("bad timestamp: value out of range")
    return int(word)
