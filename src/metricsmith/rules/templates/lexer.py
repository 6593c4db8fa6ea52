"""Template text to texts and actions, and the tokens within an action."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, TypeAlias

from metricsmith.errors import TemplateError

MAX_TEXT = 100_000
MAX_TOKENS = 5000
Kind: TypeAlias = Literal[
    "field", "variable", "name", "number", "string", "raw", "char", "dot", "sign", "close"
]

_TOKEN = re.compile(
    r"""(?P<space>[ \t\r\n]+)
    | (?P<field>\.[^\W\d]\w*)
    | (?P<number>[+-]?(?:0[xX][0-9a-fA-F_]+|0[bB][01_]+|0[oO][0-7_]+
        |(?:[0-9][0-9_]*(?:\.[0-9_]*)?|\.[0-9][0-9_]*)(?:[eE][+-]?[0-9_]+)?))
    | (?P<variable>\$\w*)
    | (?P<name>[^\W\d]\w*)
    | (?P<string>"(?:[^"\\\n]|\\[^\n])*")
    | (?P<raw>`[^`]*`)
    | (?P<char>'(?:[^'\\\n]|\\[^\n])+')
    | (?P<dot>\.)
    | (?P<sign>:=|[|(),=])""",
    re.VERBOSE,
)
_COMMENT = re.compile(r"\{\{(- )?/\*.*?\*/( -)?\}\}", re.DOTALL)
_SPACE = " \t\r\n"


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of an action; `glued` when no space stands before it."""

    kind: Kind
    text: str
    position: int
    glued: bool = False


@dataclass(frozen=True, slots=True)
class Action:
    """What stands between braces; its last token is of kind close."""

    tokens: tuple[Token, ...]
    position: int


Piece: TypeAlias = str | Action


def split(text: str) -> list[Piece]:
    """Return the texts and actions of a template, trim markers applied and comments left out.

    Raises:
        TemplateError: an action does not end, or holds what is no token; the text is too long.
    """
    if len(text) > MAX_TEXT:
        raise TemplateError(f"got a template of {len(text)} characters, wanted at most {MAX_TEXT}")
    pieces: list[Piece] = []
    position, trim, left = 0, False, MAX_TOKENS
    while True:
        start = text.find("{{", position)
        plain = text[position:] if start < 0 else text[position:start]
        if trim:
            plain = plain.lstrip(_SPACE)
        if start < 0:
            return [*pieces, plain] if plain else pieces
        marker = _trims(text, start + 2)
        if marker:
            plain = plain.rstrip(_SPACE)
        if plain:
            pieces.append(plain)
        comment = _COMMENT.match(text, start)
        if comment is not None:
            position, trim = comment.end(), comment[2] is not None
            continue
        tokens, position, trim = _action(text, start, start + 2 + marker)
        left -= len(tokens)
        if left < 0:
            raise TemplateError(f"got more than {MAX_TOKENS} tokens", text, start)
        pieces.append(Action(tokens, start))


def _trims(text: str, position: int) -> int:
    """Return how long the trim marker at a position is: 1 or 0."""
    return int(text[position : position + 1] == "-" and text[position + 1 : position + 2] in tuple(_SPACE))


def _action(text: str, start: int, position: int) -> tuple[tuple[Token, ...], int, bool]:
    tokens: list[Token] = []
    glued = False
    while True:
        if text.startswith("}}", position):
            return (*tokens, Token("close", "}}", position)), position + 2, False
        if not glued and text.startswith("-}}", position):
            return (*tokens, Token("close", "}}", position)), position + 3, True
        match = _TOKEN.match(text, position)
        if match is None:
            raise _no_token(text, start, position)
        kind = match.lastgroup
        if kind != "space":
            tokens.append(Token(kind, match[0], position, glued))  # type: ignore[arg-type]
        glued = kind != "space"
        position = match.end()


def _no_token(text: str, start: int, position: int) -> TemplateError:
    found = text[position : position + 1]
    if not found:
        return TemplateError("unclosed action, wanted }}", text, start)
    if found in "\"`'":
        return TemplateError("unterminated quoted text", text, position)
    if text.startswith("/*", position):
        return TemplateError("a comment stands alone between its braces: {{/* … */}}", text, position)
    return TemplateError(f"unexpected {found!r} in an action", text, position)
