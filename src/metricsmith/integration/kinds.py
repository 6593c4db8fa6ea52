"""Kinds of integrations; light, so that the command line starts at once."""

from __future__ import annotations

from enum import StrEnum


class Kind(StrEnum):
    """How an integration runs."""

    PYTHON = "python"
    EXEC = "exec"
    OHI = "ohi"
