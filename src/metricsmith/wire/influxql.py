"""InfluxQL, as far as we write it: names, texts and patterns that nothing in them can break out of."""

from __future__ import annotations

import re

from metricsmith.model.matchers import Matcher, MatchOp

_ESCAPES = {"\\": "\\\\", "\n": "\\n"}
_NUL = "\x00"
_HARD_IN_PATTERNS = re.compile(r"\\[QC]|\x00")
_PATTERN_PART = re.compile(r"\\.|/|\n", re.DOTALL)
_OPERATORS = {MatchOp.EQ: "=", MatchOp.NE: "!=", MatchOp.RE: "=~", MatchOp.NRE: "!~"}


def identifier(name: str) -> str:
    """Return the name of a database, policy, measurement, field or tag, quoted.

    >>> identifier('a"b')
    '"a\\\\"b"'

    Raises:
        ValueError: it has a NUL, where InfluxQL ends.
    """
    return _quoted(name, '"')


def string(text: str) -> str:
    """Return a text, quoted.

    Raises:
        ValueError: it has a NUL.
    """
    return _quoted(text, "'")


def condition(matcher: Matcher) -> str | None:
    """Return a condition on a tag, None where InfluxQL has none that is sure to mean the same.

    A tag that a series does not have is empty there too, for all four operators.

    >>> condition(Matcher("host", MatchOp.NRE, "a/.*"))
    '"host"::tag !~ /^(?s:a\\\\x2f.*)$/'
    """
    # Names with an underscore before them mean other things, such as `_name` the measurement.
    if matcher.name.startswith("_") or _NUL in matcher.name or _NUL in matcher.value:
        return None
    if matcher.op in (MatchOp.EQ, MatchOp.NE):
        wanted = string(matcher.value)
    elif _HARD_IN_PATTERNS.search(matcher.value):
        return None
    else:
        wanted = f"/^(?s:{_PATTERN_PART.sub(_without_slash, matcher.value)})$/"
    return f"{identifier(matcher.name)}::tag {_OPERATORS[matcher.op]} {wanted}"


def _quoted(text: str, quote: str) -> str:
    if _NUL in text:
        raise ValueError("got a name or text with a NUL, which InfluxQL cannot write")
    escapes = _ESCAPES | {quote: "\\" + quote}
    return quote + "".join(escapes.get(character, character) for character in text) + quote


def _without_slash(part: re.Match[str]) -> str:
    """Return a part of a pattern so that no slash is left in it: the first would end it."""
    match part[0]:
        case "/" | "\\/":
            return "\\x2f"
        case "\n" | "\\\n":
            return "\\n"
        case other:
            return other
