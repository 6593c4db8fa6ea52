"""The token list of one query with a place to read from, its errors, and its nesting depth."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple, NoReturn

from metricsmith.errors import ParseError
from metricsmith.syntax import lexer
from metricsmith.syntax.hints import did_you_mean
from metricsmith.syntax.lexer import Token
from metricsmith.syntax.literals import LiteralError, duration_value, number_value, string_value

MAX_TEXT = 1_000_000
"""Longest query text, in characters."""

MAX_DEPTH = 128
"""How deep brackets, signs and right-hand sides may nest; left-associative chains are not limited."""


class Number(NamedTuple):
    """The value of a number or duration literal, in seconds where it is one, and its place."""

    value: float
    start: int
    end: int
    is_duration: bool


class Tokens:
    """Reads the tokens of a query one after another."""

    def __init__(self, text: str) -> None:
        self.text = text
        if len(text) > MAX_TEXT:
            self.fail(f"got a query of {len(text)} characters, wanted at most {MAX_TEXT}", 0)
        if (surrogate := _surrogate(text)) >= 0:
            found = f"U+{ord(text[surrogate]):04X}"
            self.fail(f"invalid UTF-8 in query: got half a surrogate pair, {found}", surrogate)
        self._all = lexer.tokenize(text)
        self._next = 0
        self._depth = 0
        self.current = self._all[0]
        self.last_end = 0

    def fail(self, message: str, position: int) -> NoReturn:
        """Raise the error for a position in the text."""
        raise ParseError(message, self.text, position)

    def unexpected(self, context: str = "", expected: str = "", words: Collection[str] = ()) -> NoReturn:
        """Raise the error that the current token may not stand here; `words` are those that may."""
        token = self.current
        wanted = f", expected {expected}" if expected else ""
        if token.kind == lexer.ERROR:
            self.fail(f"{token.text}{wanted}", token.start)
        where = f" in {context}" if context else ""
        hint = did_you_mean(token.text, words) if token.kind == lexer.IDENTIFIER else ""
        self.fail(f"unexpected {token}{where}{wanted}{hint}", token.start)

    def advance(self) -> Token:
        """Return the current token and go to the next."""
        token = self.current
        self.last_end = token.end
        self._next += 1
        self.current = self._all[self._next]
        return token

    def following(self) -> Token:
        """Return the token after the current one, which is not the last."""
        return self._all[self._next + 1]

    def previous(self) -> Token:
        """Return the token before the current one, which is not the first."""
        return self._all[self._next - 1]

    def accept(self, kind: str) -> bool:
        """Go on if the current token is of a kind, and return whether it was."""
        if self.current.kind != kind:
            return False
        self.advance()
        return True

    def expect(self, kind: str, context: str, expected: str, words: Collection[str] = ()) -> Token:
        """Return the current token, which must be of a kind, and go to the next."""
        if self.current.kind != kind:
            self.unexpected(context, expected, words)
        return self.advance()

    def word(self) -> str:
        """Return the current token in lower case where it is a word, else nothing."""
        token = self.current
        return token.text.lower() if token.kind in _WORD_KINDS else ""

    def number(self) -> Number | None:
        """Return a number or duration literal and go on, if the current token is one."""
        token = self.current
        if token.kind not in (lexer.NUMBER, lexer.DURATION):
            return None
        try:
            value = (number_value if token.kind == lexer.NUMBER else duration_value)(token.text)
        except LiteralError as error:
            self.fail(str(error), token.start)
        self.advance()
        return Number(value, token.start, token.end, token.kind == lexer.DURATION)

    def string(self, context: str) -> str:
        """Return the value of the string token that must stand here, and go on."""
        token = self.expect(lexer.STRING, context, "string")
        try:
            return string_value(token.text)
        except LiteralError as error:
            self.fail(str(error), token.start + error.offset)

    def deepen(self, position: int) -> None:
        """Count one level of nesting, which `rise` takes back."""
        self._depth += 1
        if self._depth > MAX_DEPTH:
            self.fail(f"expression is nested more than {MAX_DEPTH} levels deep", position)

    def rise(self) -> None:
        """Leave one level of nesting."""
        self._depth -= 1


_WORD_KINDS = lexer.KEYWORDS | {lexer.IDENTIFIER}


def _surrogate(text: str) -> int:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return error.start
    return -1
