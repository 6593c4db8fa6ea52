"""How far the journals of other agents are in this one; changes only by commits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from metricsmith.errors import OutOfOrder
from metricsmith.model.batch import Batch
from metricsmith.model.origin import Position
from metricsmith.wire.frames.format import Kind, pack_frame
from metricsmith.wire.frames.origins import pack_origins

MAX_PRODUCERS = 10_000
"""One more, and the one that was silent longest is forgotten."""


class Origins:
    """Positions by producer. `position` may be called by any thread, the rest by the one that commits."""

    def __init__(self, known: Mapping[bytes, Position]) -> None:
        self._known = dict(known)

    def position(self, producer: bytes) -> Position | None:
        """Return a producer's position, None for one that is not known."""
        return self._known.get(producer)

    def check(self, batches: Iterable[Batch]) -> None:
        """Return when each batch follows the one before it of the same producer.

        Raises:
            OutOfOrder: one does not: committed now, it would count what was not.
        """
        ahead: dict[bytes, Position] = {}
        for origin in (batch.origin for batch in batches):
            if origin is None:
                continue
            have = ahead.get(origin.producer, self._known.get(origin.producer))
            if have != origin.after:
                raise OutOfOrder(f"got a batch that follows {origin.after}, wanted one that follows {have}")
            ahead[origin.producer] = origin.position

    def keep(self, batches: Iterable[Batch]) -> None:
        """Note what was committed."""
        for origin in (batch.origin for batch in batches):
            if origin is not None:
                self._known[origin.producer] = origin.position
        while len(self._known) > MAX_PRODUCERS:
            del self._known[min(self._known, key=lambda who: self._known[who].time_ms)]

    def head(self, first_sequence: int) -> Sequence[bytes | memoryview]:
        """Return what a new segment begins with: all positions, so that older segments can go."""
        if not self._known:
            return ()
        return list(pack_frame(Kind.ORIGINS, first_sequence - 1, pack_origins(self._known)))
