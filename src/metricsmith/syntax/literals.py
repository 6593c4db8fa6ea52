"""The values of number, duration and string literals."""

from __future__ import annotations

import math
import re

from metricsmith.model.duration import parse_duration

_MAX_INT64 = 2**63 - 1
_ESCAPE = re.compile(
    r"\\(?:([abfnrtv\\'\"])|([0-7]{3})|x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|)"
)
_SHORT = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


class LiteralError(ValueError):
    """A literal has no value; `offset` counts from its first character."""

    def __init__(self, message: str, offset: int = 0) -> None:
        self.offset = offset
        super().__init__(message)


def number_value(text: str) -> float:
    """Return the value of a number token.

    Raises:
        LiteralError: above the largest float.
    Source:
        Go `strconv.ParseInt` with base 0, then `ParseFloat`: `0x1F`, `1_000`
        and `1e3` as expected; a leading zero makes an integer octal (010 is 8).

    >>> number_value("0x1F"), number_value("1_000.5"), number_value("010"), number_value("089")
    (31.0, 1000.5, 8.0, 89.0)
    """
    plain = text.replace("_", "").lower()
    if plain in ("inf", "nan"):
        return math.inf if plain == "inf" else math.nan
    if plain.startswith("0x"):
        value = int(plain, 16)
        if value > _MAX_INT64:
            raise LiteralError(f'error parsing number: "{text[:40]}" is out of range')
        return float(value)
    if len(plain) > 1 and plain[0] == "0" and plain.isdigit() and not set(plain) & {"8", "9"}:
        octal = int(plain, 8)
        if octal <= _MAX_INT64:
            return float(octal)
    number = float(plain)
    if math.isinf(number):
        raise LiteralError(f'error parsing number: "{text[:40]}" is out of range')
    return number


def duration_value(text: str) -> float:
    """Return the seconds of a duration token.

    Raises:
        LiteralError: units repeated, out of order, or too long.
    """
    try:
        return parse_duration(text) / 1000
    except ValueError as error:
        raise LiteralError(f"not a valid duration: {error}") from None


def string_value(text: str) -> str:
    r"""Return the value of a quoted string token.

    Raises:
        LiteralError: unknown or incomplete escape, no Unicode text.
    Source:
        Go's rules: escapes in '…' and "…" as in Go strings, only the own quote
        can be escaped; `…` is raw. \x and octal escapes are bytes: here their
        sequence must be UTF-8, Prometheus lets any bytes pass.

    >>> string_value(r'"a\tb\xe4\xb8\x96"'), string_value(r"`a\tb`")
    ('a\tb世', 'a\\tb')
    """
    quote, body = text[0], text[1:-1]
    if quote == "`" or "\\" not in body:
        return body
    parts: list[bytes] = []
    done = 0
    while (at := body.find("\\", done)) >= 0:
        parts.append(body[done:at].encode())
        match = _ESCAPE.match(body, at)
        assert match is not None
        parts.append(_escape_bytes(match, quote, body, at))
        done = match.end()
    parts.append(body[done:].encode())
    try:
        return b"".join(parts).decode()
    except UnicodeDecodeError:
        raise LiteralError("escape sequences do not form valid UTF-8") from None


def _escape_bytes(match: re.Match[str], quote: str, body: str, at: int) -> bytes:
    short, octal, hexadecimal, *code_points = match.groups()
    if short is not None and (short not in "'\"" or short == quote):
        return _SHORT.get(short, short).encode()
    if octal is not None and int(octal, 8) <= 255:
        return bytes([int(octal, 8)])
    if hexadecimal is not None:
        return bytes([int(hexadecimal, 16)])
    code = next((int(digits, 16) for digits in code_points if digits is not None), -1)
    if 0 <= code <= 0x10FFFF and not 0xD800 <= code <= 0xDFFF:
        return chr(code).encode()
    if code >= 0 or octal is not None:
        raise LiteralError("escape sequence is an invalid Unicode code point", at + 1)
    raise LiteralError(f"unknown or incomplete escape sequence {body[at : at + 2]!r}", at + 1)
