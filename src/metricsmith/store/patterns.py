"""Regular expressions that need no regular expression engine: literals, alternations of them, prefixes."""

from __future__ import annotations

from functools import lru_cache

_META = frozenset(".+*?()[]{}^$|\\")


@lru_cache(maxsize=4096)
def literal_values(pattern: str) -> tuple[str, ...] | None:
    """Return the only values that a pattern matches, or None when it is no alternation of literals.

    >>> literal_values("a|b\\\\.c"), literal_values("(?:GET|PUT)"), literal_values("a.*")
    (('a', 'b.c'), ('GET', 'PUT'), None)
    """
    for opening in ("(?:", "("):
        if pattern.startswith(opening) and pattern.endswith(")") and not pattern.endswith("\\)"):
            pattern = pattern[len(opening) : -1]
            break
    values = [_literal(part) for part in _alternatives(pattern)]
    return None if None in values else tuple(v for v in values if v is not None)


@lru_cache(maxsize=4096)
def literal_prefix(pattern: str) -> tuple[str, bool] | None:
    """Return what a pattern of the form `literal.*` or `literal.+` begins with, and whether more must follow.

    >>> literal_prefix("http_.*"), literal_prefix(".+"), literal_prefix("a.*b")
    (('http_', False), ('', True), None)
    """
    if not pattern.endswith((".*", ".+")):
        return None
    prefix = _literal(pattern[:-2])
    return None if prefix is None else (prefix, pattern.endswith("+"))


def _alternatives(pattern: str) -> list[str]:
    parts, start, i = [], 0, 0
    while i < len(pattern):
        if pattern[i] == "\\":
            i += 1
        elif pattern[i] == "|":
            parts.append(pattern[start:i])
            start = i + 1
        i += 1
    return [*parts, pattern[start:]]


def _literal(text: str) -> str | None:
    out, i = [], 0
    while i < len(text):
        if text[i] == "\\":
            i += 1
            # An escaped letter or digit is a class or an assertion; an escaped meta character is itself.
            if i == len(text) or not (text[i] in _META or text[i] in "-/"):
                return None
        elif text[i] in _META:
            return None
        out.append(text[i])
        i += 1
    return "".join(out)
