"""What goes over the socket: JSON with its length before it, both ways.

    worker    {"hello": 1, "session": "…", "pid": 7, "service": "shop", "instance": "host"}
    receiver  {"applied": 0}                      the last push of this session that it has
    worker    {"push": 1, "shapes": […], "cells": [[number, shape, labels], …],
               "changes": [[number, values, bins], …]}
    receiver  {"applied": 1}                      it is in the totals, and on disk where these are kept
    worker    {"bye": 1}
    receiver  {"refused": "malformed", "because": "…"}    and the connection is closed; never to be sent again

A cell is one label set of a metric, with the values of all its lines. It is defined once in a connection, and
its number used from then on. `values` are what was added since the last push or, of a gauge, what is now;
null when the cell is no more. `bins` are what was added to a sketch: positive, negative, zero.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

VERSION = 1
MAX_FRAME_BYTES = 8 << 20
_LENGTH_BYTES = 4


class BadFrame(Exception):
    """What came is not a frame of this protocol. `reason` is from a fixed set."""

    def __init__(self, reason: str, text: str) -> None:
        self.reason = reason
        super().__init__(text)


def encode_frame(message: dict[str, Any]) -> bytes:
    """Return a message as it is sent."""
    body = json.dumps(message, separators=(",", ":"), ensure_ascii=False).encode(errors="replace")
    return len(body).to_bytes(_LENGTH_BYTES, "big") + body


class FrameReader:
    """Puts together what comes in pieces."""

    def __init__(self) -> None:
        self._received = bytearray()

    def feed(self, piece: bytes) -> Iterator[dict[str, Any]]:
        """Yield the messages that are complete now.

        Raises:
            BadFrame: it is too large, or no JSON object.
        """
        self._received += piece
        while len(self._received) >= _LENGTH_BYTES:
            size = int.from_bytes(self._received[:_LENGTH_BYTES], "big")
            if size > MAX_FRAME_BYTES:
                raise BadFrame("too_large", f"got a frame of {size} bytes, wanted at most {MAX_FRAME_BYTES}")
            end = _LENGTH_BYTES + size
            if len(self._received) < end:
                return
            body = bytes(self._received[_LENGTH_BYTES:end])
            del self._received[:end]
            yield _decoded(body)

    @property
    def waiting(self) -> bool:
        """Whether a part of a message has come."""
        return bool(self._received)


def _decoded(body: bytes) -> dict[str, Any]:
    try:
        message = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadFrame("malformed", f"got no JSON: {type(error).__name__}") from None
    if not isinstance(message, dict):
        raise BadFrame("malformed", f"got a {type(message).__name__}, wanted a JSON object")
    return message
