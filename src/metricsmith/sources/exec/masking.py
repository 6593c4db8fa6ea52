"""Secrets of an integration hidden in what is logged or shown of it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

MASK = "***"
MIN_LENGTH = 4
"""Shorter values are in every other line: hiding them would hide nothing but the message."""
_SECRET_NAME = re.compile("pass|pwd|secret|token|key|cred|auth|pin", re.IGNORECASE)
_PLAIN = re.compile(
    r"true|false|yes|no|null|none|\d{1,6}"
    r"|(https?://)?[a-z0-9.-]*(\.[a-z0-9-]+|localhost)(:\d{1,5})?/?"  # an address
    r"|(?:/[\w.-]+)+/?",
    re.IGNORECASE | re.ASCII,
)


class Masking:
    """Hides values that the integration was given. Values of all its runs: a rotated secret stays one."""

    MOST = 10_000

    def __init__(self) -> None:
        self._known: set[str] = set()
        self._values: list[str] = []

    def learn(self, values: Iterable[str]) -> None:
        """Hide these from now on, and each line of those that have several."""
        found = {part for value in values for part in (value, *map(str.strip, value.splitlines()))}
        new = {value for value in found if len(value) >= MIN_LENGTH} - self._known
        if not new:
            return
        self._known = new if len(self._known) + len(new) > self.MOST else self._known | new
        self._values = sorted(self._known, key=len, reverse=True)  # one may be the beginning of another

    def hide(self, text: str) -> str:
        """Return a text without them."""
        for value in self._values:
            text = text.replace(value, MASK)
        return text

    def hide_bytes(self, line: bytes) -> bytes:
        """Return a line without them, whatever its encoding."""
        return self.hide(line.decode(errors="surrogateescape")).encode(errors="surrogateescape")


def hidden_values(name: str, value: Any) -> Iterator[str]:
    """Return the texts in a setting that are not to be shown.

    All but numbers, addresses and paths, without which a log says nothing; under
    a name that sounds like a secret's, these too.
    """
    if isinstance(value, dict):
        for key, each in value.items():
            yield from hidden_values(str(key), each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from hidden_values(name, each)
    elif value is not None and (_SECRET_NAME.search(name) or not _PLAIN.fullmatch(str(value))):
        yield str(value)
