"""Query text to tokens, with the positions of each.

What a character means depends on where it stands: inside braces keywords are label names, inside
brackets a colon separates range and step. A token that cannot be read becomes one of kind ERROR and
ends the list, so that the parser reports whichever mistake comes first in the text.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from metricsmith.errors import line_and_column

IDENTIFIER = "identifier"
METRIC_IDENTIFIER = "metric identifier"
NUMBER = "number"
DURATION = "duration"
STRING = "string"
END = "end of input"
ERROR = "error"

OPERATOR_WORDS = frozenset({"and", "or", "unless", "atan2"})
MODIFIER_WORDS = frozenset({"offset", "by", "without", "on", "ignoring", "group_left", "group_right", "bool"})
AGGREGATION_WORDS = frozenset(
    {"sum", "avg", "count", "min", "max", "group", "stddev", "stdvar", "topk", "bottomk", "quantile"}
    | {"count_values", "limitk", "limit_ratio"}
)
KEYWORDS = OPERATOR_WORDS | MODIFIER_WORDS | AGGREGATION_WORDS


class Token(NamedTuple):
    """A token: for operators, brackets and keywords the kind is the text itself, keywords in lower case."""

    kind: str
    text: str
    start: int

    @property
    def end(self) -> int:
        """Position after the last character."""
        return self.start + len(self.text)

    def __str__(self) -> str:
        """Name the token as Prometheus does in `unexpected …`."""
        if self.kind in AGGREGATION_WORDS:
            return f"<aggr:{self.text}>"
        if self.kind in MODIFIER_WORDS:
            return f"<{self.text}>"
        if self.kind in OPERATOR_WORDS or self.kind in _OPERATOR_SIGNS:
            return f"<op:{self.text}>"
        if self.kind == END:
            return END
        shown = self.text if len(self.text) <= 40 else self.text[:40] + "…"
        quoted = '"' + shown.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
        return quoted if self.kind == self.text else f"{self.kind} {quoted}"


_OPERATOR_SIGNS = frozenset(
    {"+", "-", "*", "/", "%", "^", "==", "!=", "<", ">", "<=", ">=", "</", ">/", "=~", "!~", "@"}
)

# Possessive quantifiers keep every match linear, whatever follows.
_SPACE = r"(?P<space>[ \t\r\n]++|\#[^\r\n]*+)"
_DIGITS = r"[0-9]++(?:_[0-9]++)*+"
_NUMBER = (
    rf"(?P<number>0[xX]_?[0-9a-fA-F]++(?:_[0-9a-fA-F]++)*+(?![0-9A-Za-z_.])"
    rf"|(?:{_DIGITS}(?:\.(?:{_DIGITS})?+)?+|\.{_DIGITS})(?:[eE][+-]?{_DIGITS})?+(?![0-9A-Za-z_.]))"
)
_DURATION = r"(?P<duration>(?:[0-9]++(?:ms|[smhdwy]))++(?![0-9A-Za-z_.]))"
_STRING = r"""(?P<string>"(?:[^"\\\n]|\\[^\n])*+"|'(?:[^'\\\n]|\\[^\n])*+'|`[^`]*+`)"""
_WORD = r"(?P<word>[A-Za-z_][A-Za-z0-9_]*+)"
_COLON_WORD = r"(?P<word>[A-Za-z_:][A-Za-z0-9_:]*+)"

_OUTSIDE = re.compile(
    "|".join(
        [
            _SPACE,
            _COLON_WORD,
            _NUMBER,
            _DURATION,
            _STRING,
            r"(?P<sign>==|!=|<=|>=|</|>/|=(?!~)|[-+*/%^<>(),[\]{}@])",
        ]
    )
)
_IN_BRACES = re.compile("|".join([_SPACE, _WORD, _STRING, r"(?P<sign>=~|!~|!=|[=,}])"]))
_IN_BRACKETS = re.compile("|".join([_SPACE, _WORD, _NUMBER, _DURATION, r"(?P<sign>[-+*/%^(),:\]])"]))
_BAD_NUMBER = re.compile(r"\.?[0-9][0-9A-Za-z_.]*")


MAX_TOKENS = 100_000
"""How many tokens a query may have: reading one takes about five microseconds."""


def tokenize(text: str) -> list[Token]:
    """Return the tokens of a query; the last one is of kind END or ERROR (then its text is the message).

    Takes time in proportion to the length of the text.
    """
    tokens: list[Token] = []
    pattern = _OUTSIDE
    opened: list[int] = []
    position = 0
    while position < len(text):
        match = pattern.match(text, position)
        if match is None:
            return [*tokens, Token(ERROR, _unreadable(text, position, pattern), position)]
        if len(tokens) == MAX_TOKENS:
            return [*tokens, Token(ERROR, f"query has more than {MAX_TOKENS} tokens", position)]
        kind, found = match.lastgroup, match.group()
        if kind == "sign":
            if found == "(":
                opened.append(position)
            elif found == ")":
                if not opened:
                    return [*tokens, Token(ERROR, "unexpected right parenthesis ')'", position)]
                if text[opened[-1]] == "(":
                    opened.pop()
            elif found == "]" and pattern is _OUTSIDE:
                return [*tokens, Token(ERROR, "unexpected right bracket ']'", position)]
            elif found == "}" and pattern is _OUTSIDE:
                return [*tokens, Token(ERROR, "unexpected character: '}'", position)]
            elif found in "[]{}":
                pattern = _AFTER[found]
                if found in "[{":
                    opened.append(position)
                else:
                    _close(opened, text)
            tokens.append(Token(found, found, position))
        elif kind == "word":
            tokens.append(_word(found, position, keywords=pattern is _OUTSIDE))
        elif kind != "space":
            assert kind is not None
            tokens.append(Token(kind, found, position))
        position = match.end()
    return [*tokens, _end(text, pattern, opened)]


_AFTER = {"{": _IN_BRACES, "}": _OUTSIDE, "[": _IN_BRACKETS, "]": _OUTSIDE}


def _close(opened: list[int], text: str) -> None:
    """Take back the last bracket or brace, and the parentheses that were left open inside it."""
    while text[opened.pop()] == "(":
        pass


def _word(found: str, position: int, *, keywords: bool) -> Token:
    if keywords:
        lower = found.lower()
        if lower in KEYWORDS:
            return Token(lower, found, position)
        if lower in ("inf", "nan"):
            return Token(NUMBER, found, position)
        if ":" in found:
            return Token(METRIC_IDENTIFIER, found, position)
    return Token(IDENTIFIER, found, position)


def _end(text: str, pattern: re.Pattern[str], opened: list[int]) -> Token:
    if not opened:
        return Token(END, "", len(text))
    messages = {_IN_BRACES: "unexpected end of input inside braces", _IN_BRACKETS: "unclosed left bracket"}
    line, column = line_and_column(text, opened[-1])
    message = f"{messages.get(pattern, 'unclosed left parenthesis')}, opened at {line}:{column}"
    return Token(ERROR, message, len(text))


_MEANT = {
    "&": ", the operator is written `and`",
    "|": ", the operator is written `or`",
    "~": ", regular expressions are matched inside braces with `=~` or `!~`",
    "\ufeff": ", a byte order mark",
    "\x00": ", a NUL character",
    "\u201c": ", strings stand in straight quotes",
    "\u201d": ", strings stand in straight quotes",
    "\u2018": ", strings stand in straight quotes",
    "\u2019": ", strings stand in straight quotes",
}


def _unreadable(text: str, position: int, pattern: re.Pattern[str]) -> str:
    character = text[position]
    if character in "\"'`" and pattern is not _IN_BRACKETS:
        kind = "raw" if character == "`" else "quoted"
        place = "" if kind == "raw" else " in the same line"
        return f"unterminated {kind} string, no closing {character} follows{place}"
    number = _BAD_NUMBER.match(text, position)
    if number is not None and pattern is not _IN_BRACES:
        return f'bad number or duration syntax: "{number.group()[:40]}"'
    following = text[position + 1 : position + 2]
    where = {_IN_BRACES: " inside braces", _IN_BRACKETS: " in duration expression"}.get(pattern, "")
    if character in "=!" and pattern is not _IN_BRACKETS:
        hint = ", regular expressions are matched inside braces" if following == "~" else ""
        return f"unexpected character after {character!r}{where}: {following!r}{hint}"
    return f"unexpected character{where}: {character!r}{_MEANT.get(character, '')}"
