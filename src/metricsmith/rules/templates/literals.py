"""Literals of templates: Go's numbers, quoted texts and characters."""

from __future__ import annotations

import re

_ESCAPE = re.compile(
    r"\\(?:([abfnrtv\\'\"])|x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-7]{3})|(.))"
)
_SIMPLE = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


def unquote(literal: str) -> str:
    """Return the text of a Go string literal in double quotes.

    Raises:
        ValueError: an escape is none of Go's.

    >>> unquote('"a\\\\tb"')
    'a\\tb'
    """
    body = literal[1:-1]
    if "\\" not in body:
        return body
    done = bytearray()
    position = 0
    for match in _ESCAPE.finditer(body):
        done += body[position : match.start()].encode() + _escaped(match)
        position = match.end()
    return (done + body[position:].encode()).decode(errors="replace")


def _escaped(match: re.Match[str]) -> bytes:
    simple, byte, short, long, octal, wrong = match.groups()
    if wrong is not None or simple == "'":
        raise ValueError(f"got the escape \\{wrong or simple}, wanted one of Go such as \\n or \\u00e9")
    if simple is not None:
        return _SIMPLE.get(simple, simple).encode()
    if byte is not None or octal is not None:
        number = int(byte, 16) if byte is not None else int(octal, 8)
        if number > 255:
            raise ValueError(f"got the escape \\{octal}, wanted at most \\377")
        return bytes([number])
    try:
        return chr(int(short or long, 16)).encode()
    except (ValueError, UnicodeEncodeError, OverflowError):
        raise ValueError("got an escape that is no Unicode character") from None


def character(literal: str) -> int:
    """Return the code point of a character in single quotes.

    Raises:
        ValueError: it is not one character.
    """
    body = literal[1:-1]
    text = "'" if body == "\\'" else unquote(f'"{body}"')
    if len(text) != 1:
        raise ValueError(f"got {literal[:20]}, wanted one character; texts stand in double quotes")
    return ord(text)


def number(literal: str) -> int | float:
    """Return a number: whole unless it has a point or an exponent.

    Raises:
        ValueError: not a number.

    >>> number("0x10"), number("1e3"), number("010")
    (16, 1000.0, 8)
    """
    plain = literal.replace("_", "")
    digits = plain.lstrip("+-")
    if digits[:2].lower() in ("0x", "0b", "0o"):
        value = int(plain, 0)
    elif any(c in digits for c in ".eE"):
        return float(plain)
    else:
        value = int(plain, 8 if len(digits) > 1 and digits[0] == "0" else 10)
    if not -(2**63) <= value < 2**63:
        raise ValueError(f"{literal[:30]} overflows int")
    return value
