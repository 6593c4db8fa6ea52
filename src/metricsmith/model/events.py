"""Things that happened, as integrations tell them: text with attributes, not samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened once.

    Units:
        Milliseconds since the Unix epoch, UTC.
    """

    time_ms: int
    summary: str
    category: str
    attributes: Mapping[str, str | float | bool] = field(default_factory=dict)
