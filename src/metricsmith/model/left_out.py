"""What of an accepted batch was not taken, for senders that are told."""

from __future__ import annotations

from typing import NamedTuple


class LeftOut(NamedTuple):
    """How many samples of an accepted batch are neither kept nor sent on; the rest is.

    `outside` are of times that are not accepted, `limited` of new series beyond `limits`. What
    processors leave out is not counted: that is as the operator wants it.
    """

    outside: int = 0
    limited: int = 0

    @property
    def samples(self) -> int:
        """All of them."""
        return self.outside + self.limited

    def reasons(self) -> list[str]:
        """Return in words how many samples are left out and why, empty for none."""
        told = (
            (self.outside, "samples older than the retention or too far ahead"),
            (self.limited, "samples of new series beyond the limits on series"),
        )
        return [f"{count} {what}" for count, what in told if count]


NOTHING = LeftOut()
