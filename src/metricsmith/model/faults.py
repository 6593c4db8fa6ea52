"""What a look at files on disk finds wrong, as lines for people and scripts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

Advance: TypeAlias = Callable[[int], None]
"""Told of each piece of work that is done, in bytes."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that is not as it should be: in which file, in which part of it, what, and what to do.

    A `harmless` one costs nothing: it is what a crash leaves, and the next
    start clears it.
    """

    file: str
    part: str
    what: str
    advice: str
    harmless: bool = False
