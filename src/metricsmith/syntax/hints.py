"""What somebody may have meant who wrote something else."""

from __future__ import annotations

from collections.abc import Collection
from difflib import get_close_matches

MIN_WORD = 3
MAX_WORD = 40
"""Longer words are not compared: it takes quadratic time, and no known word is so long."""


def did_you_mean(word: str, known: Collection[str]) -> str:
    """Return a clause that names the nearest known word; empty when none is near.

    >>> did_you_mean("ofset", ["by", "offset"])
    ', did you mean `offset`?'
    """
    if not MIN_WORD <= len(word) <= MAX_WORD:
        return ""
    near = get_close_matches(word.lower(), known, n=1)
    return f", did you mean `{near[0]}`?" if near else ""
