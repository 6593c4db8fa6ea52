"""gzip bodies of others, within a limit."""

from __future__ import annotations

import zlib

from metricsmith.errors import LimitExceeded, WireError
from metricsmith.model.settings_types import format_size

MAX_MEMBERS = 64


def gunzip(body: bytes, limit_bytes: int) -> bytes:
    """Return the decompressed body; a bomb costs no more memory than the limit.

    Raises:
        WireError: not gzip, cut short, or of too many members.
        LimitExceeded: over the limit.
    """
    pieces: list[bytes] = []
    room = limit_bytes + 1
    for _ in range(MAX_MEMBERS):
        member = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
        try:
            pieces.append(member.decompress(body, room))
        except zlib.error as error:
            raise WireError(f"the body is not gzip: {error}") from None
        room -= len(pieces[-1])
        if room <= 0:
            raise LimitExceeded(f"got a body over {format_size(limit_bytes)}, wanted at most that much")
        if not member.eof:
            raise WireError("the gzip body is cut short")
        body = member.unused_data
        if not body:
            return pieces[0] if len(pieces) == 1 else b"".join(pieces)
    raise WireError(f"the gzip body has more than {MAX_MEMBERS} members")
