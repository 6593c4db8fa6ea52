"""Output of a process cut into lines, within bounds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Line:
    """A line without its end. Of one that is too long (`cut`) the rest is passed over."""

    text: bytes
    cut: bool = False


class LineSplitter:
    """Turns pieces of output into lines of at most `max_bytes`; never holds more than one of them."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._pieces: list[bytes] = []
        self._held = 0
        self._passing_over = False

    def feed(self, data: bytes) -> list[Line]:
        """Return the lines that end in `data`, and the beginning of one that got too long."""
        found: list[Line] = []
        *ended, rest = data.split(b"\n")
        for piece in ended:
            found += self._take(piece)
            found += self.finish()
            self._passing_over = False
        found += self._take(rest)
        return found

    def finish(self) -> list[Line]:
        """Return what is left: a line that was not ended, or none."""
        text = b"".join(self._pieces).removesuffix(b"\r")
        self._pieces, self._held = [], 0
        return [Line(text)] if text.strip() else []

    def _take(self, piece: bytes) -> list[Line]:
        if self._passing_over or not piece:
            return []
        if self._held + len(piece) <= self._max_bytes:
            self._pieces.append(piece)
            self._held += len(piece)
            return []
        begin = b"".join([*self._pieces, piece[: self._max_bytes - self._held]])
        self._pieces, self._held, self._passing_over = [], 0, True
        return [Line(begin, cut=True)]
