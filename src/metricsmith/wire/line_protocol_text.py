"""Names and values as line protocol writes them, and what it has no form for."""

from __future__ import annotations

import re

from metricsmith.wire.line_protocol_line import MAX_TEXT_BYTES
from metricsmith.wire.line_protocol_places import ENDED_FIELD, Place

_CONTROL = re.compile(rb"[\x00-\x1f\x7f]")
_IN_MEASUREMENT = re.compile(rb"([, ])")
_IN_NAME = re.compile(rb"([,= ])")
_IN_STRING = re.compile(rb'(["\\])')
_TIME = b"time"


class NoForm(Exception):
    """Line protocol has no form for a series; the message says why."""


def head(place: Place) -> bytes:
    """Return measurement and tags of a series.

    Raises:
        NoForm: they cannot be written, or not so that they are read as they were.
    """
    if place.measurement.startswith(b"#"):
        raise NoForm("a measurement that begins with # is a comment")
    parts = [_IN_MEASUREMENT.sub(rb"\\\1", _checked(place.measurement, "measurement"))]
    for name, value in place.tags:
        if name == _TIME:
            raise NoForm("a tag cannot be called time")
        if b"\n" in value or b"\x00" in value:
            raise NoForm(f"the value of tag {name.decode()} has a line break or NUL")
        if value.endswith(b"\\"):
            raise NoForm(f"the value of tag {name.decode()} ends with a backslash")
        parts.append(_escaped(_checked(name, "tag")) + b"=" + _escaped(value))
    found = b",".join(parts)
    if len(found) > MAX_TEXT_BYTES:
        raise NoForm(f"measurement and tags have {len(found)} bytes, wanted at most {MAX_TEXT_BYTES}")
    return found


def field_key(name: bytes) -> bytes:
    """Return the name of a field.

    Raises:
        NoForm: it cannot be written.
    """
    if name in (_TIME, ENDED_FIELD):
        raise NoForm(f"a field of numbers cannot be called {name.decode()}")
    return _escaped(_checked(name, "field"))


def string(text: bytes) -> bytes:
    """Return a text as the value of a field.

    >>> string(b'a"b')
    b'"a\\\\"b"'
    """
    return b'"' + _IN_STRING.sub(rb"\\\1", text) + b'"'


def _escaped(text: bytes) -> bytes:
    return _IN_NAME.sub(rb"\\\1", text)


def _checked(text: bytes, what: str) -> bytes:
    if not text:
        raise NoForm(f"the {what} is empty" if what != "field" else "the series has no name")
    if _CONTROL.search(text):
        raise NoForm(f"the name of a {what} has control characters")
    if b"\\" in text:  # InfluxDB takes some for escapes, others not
        raise NoForm(f"the name of a {what} has a backslash")
    return text
