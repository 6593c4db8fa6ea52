"""Whether all that a group has left to read are transaction markers, which no consumer ever gets.

A marker takes an offset, so a group that has read everything may stay one behind for ever. Who is a few
offsets behind on a log that stands still is looked at: one small read per leading broker, remembered until
the log or the commit moves.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from metricsmith.errors import InputError
from metricsmith.model.arrays import I64, Bool
from metricsmith.sources.kafka.admin import Partition, Trouble
from metricsmith.sources.kafka.client import Client
from metricsmith.sources.kafka.lag import Past
from metricsmith.sources.kafka.records import batches
from metricsmith.sources.kafka.spots import read_spots

MAX_MARKERS = 10
MAX_ASKED = 500
"""Most partitions looked at in a round; the others have their turn in the next."""
READ_BYTES = 4096


class ControlTails:
    """Remembers what was found by topic, partition, commit and end."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, int, int, int], bool] = {}

    def of(
        self,
        client: Client,
        partitions: Sequence[Partition],
        keys: Sequence[tuple[str, int]],
        committed: I64,
        start: I64,
        end: I64,
        past: Past,
    ) -> tuple[Bool, list[Trouble]]:
        """Return which pairs have transaction markers only left to read.

        Shapes:
            keys, committed, start, end: (S,) and `past` of the same pairs.
            returns: (S,)
        """
        near = (committed >= start) & (committed < end) & (end - committed <= MAX_MARKERS)
        if len(past.time_ms) < 2:
            near[:] = False
        else:
            near &= (past.end[:, -2] == end) & (past.committed[:, -2] == committed)
        rows = np.flatnonzero(near).tolist()
        wanted = {row: (*keys[row], int(committed[row]), int(end[row])) for row in rows}
        self._found = {spot: self._found[spot] for spot in wanted.values() if spot in self._found}
        unknown = list(dict.fromkeys(s for s in wanted.values() if s not in self._found))[:MAX_ASKED]
        troubles = self._look(client, partitions, unknown) if unknown else []
        tail = np.zeros(len(keys), dtype=np.bool_)
        for row, spot in wanted.items():
            tail[row] = self._found.get(spot, False)
        return tail, troubles

    def _look(
        self, client: Client, partitions: Sequence[Partition], unknown: Sequence[tuple[str, int, int, int]]
    ) -> list[Trouble]:
        sizes = {spot[:3]: READ_BYTES for spot in unknown}
        found, troubles = read_spots(client, partitions, sizes, "tails")
        for spot in unknown:
            if spot[:3] in found:
                self._found[spot] = only_control(found[spot[:3]], spot[2], spot[3])
        return troubles


def only_control(data: bytes, first: int, end: int) -> bool:
    """Return whether record batches hold nothing but control records between two offsets.

    False as well when the batches do not reach the end.
    """
    try:
        for header, _ in batches(data):
            if header.last_offset >= first and not header.control:
                return False
            if header.last_offset >= end - 1:
                return True
    except InputError:
        pass  # nothing can be said
    return False
