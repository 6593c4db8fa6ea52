"""What must be so for the agent to be ready, and for its process to be left alone."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at. `reason` says what is wrong, empty where it is `ok`.

    What is wrong may mend by itself, unless it is not `live`: then only a restart helps.
    """

    name: str
    ok: bool = True
    reason: str = ""
    live: bool = True
