"""One configured part."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import BaseModel

STORAGE = "storage"
"""Name of the store, and of the sink that writes it where one does."""


@dataclass(frozen=True, slots=True)
class Part:
    """One configured source, processor, store or sink: equal parts need no restart at a reload.

    `processors` are those of a sink, for what it is sent alone.
    """

    group: str
    type: str
    name: str
    config: BaseModel
    processors: tuple[Part, ...] = ()
