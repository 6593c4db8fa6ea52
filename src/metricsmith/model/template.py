"""Replacement templates of relabel rules: `$1`, `${name}`, `$$`, as Go's Expand reads them."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

# A reference takes the longest run of word characters: `$1x` is the group named `1x`, which is empty.
_REFERENCE = re.compile(r"\$(?:(\$)|(\w+)|\{(\w+)\})")


class Template:
    """A text with references to the groups of a match; an unknown group is empty.

    Source:
        Go `regexp.Expand`. A `$` that begins no reference stands for itself.

    >>> from metricsmith.model.matchers import compile_anchored
    >>> Template("${1}st $2 $$").expand(compile_anchored("(.)(.)").fullmatch("ab"))
    'ast b $'
    """

    __slots__ = ("_parts",)

    def __init__(self, text: str) -> None:
        self._parts: list[str | int | _Name] = []
        position = 0
        for reference in _REFERENCE.finditer(text):
            self._parts.append(text[position : reference.start()])
            dollar, plain, braced = reference.groups()
            self._parts.append("$" if dollar else _group(plain or braced))
            position = reference.end()
        self._parts.append(text[position:])

    def expand(self, match: Any) -> str:
        """Return the text with the match's groups put in."""
        return "".join([part if type(part) is str else _value(part, match) for part in self._parts])


@lru_cache(maxsize=4096)
def template(text: str) -> Template:
    """Return the parsed template of a text."""
    return Template(text)


class _Name(str):
    """A group's name."""

    __slots__ = ()


def _group(reference: str) -> int | _Name:
    number = reference.isascii() and reference.isdigit() and (reference == "0" or reference[0] != "0")
    return int(reference) if number and len(reference) <= 8 else _Name(reference)


def _value(part: str | int, match: Any) -> str:
    if isinstance(part, int):
        return (match.group(part) or "") if part <= match.re.groups else ""
    return (match.group(part) or "") if part in match.re.groupindex else ""
