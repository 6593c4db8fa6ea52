"""What a command ends with."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """Exit codes; 2 is also what a wrong option gives."""

    OK = 0
    FAILURE = 1
    USAGE = 2
    BAD_CONFIG = 3
    BAD_QUERY = 4
    UNREACHABLE = 5
    INTERRUPTED = 130
