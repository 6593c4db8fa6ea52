"""The payload of an ORIGINS frame: how far the journals of other agents have come."""

from __future__ import annotations

import struct
from collections.abc import Mapping

from metricsmith.errors import JournalCorrupt
from metricsmith.model.origin import Position

_RECORD = struct.Struct("<16sQQIq")


def pack_origins(positions: Mapping[bytes, Position]) -> bytes:
    """Return the payload for the positions of some producers."""
    return b"".join(_RECORD.pack(who, p.life, p.sequence, p.parts, p.time_ms) for who, p in positions.items())


def unpack_origins(payload: bytes | memoryview) -> dict[bytes, Position]:
    """Return the positions in a payload, by producer.

    Raises:
        JournalCorrupt: its length is wrong.
    """
    if len(payload) % _RECORD.size:
        raise JournalCorrupt(f"got origins of {len(payload)} bytes, wanted {_RECORD.size} for each")
    return {who: Position(*numbers) for who, *numbers in _RECORD.iter_unpack(payload)}
