"""One configured part."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import BaseModel


@dataclass(frozen=True, slots=True)
class Part:
    """One configured source, processor or sink: equal parts need no restart at a reload.

    `processors` are those of a sink, for what it is sent alone.
    """

    group: str
    type: str
    name: str
    config: BaseModel
    processors: tuple[Part, ...] = ()
