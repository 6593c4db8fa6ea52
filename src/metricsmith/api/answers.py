"""Answers on their way out: bounded in memory over all clients, and in time for each."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from metricsmith.api.errors import unavailable
from metricsmith.errors import MetricsmithError

SEND_LIMIT_S = 30.0
"""Longest wait for a client to take one piece."""
PIECE_BYTES = 256 << 10
SMALL_BYTES = 64 << 10
"""Answers up to this size are always sent: how the agent is must be told however much others hold."""


class SlowReader(MetricsmithError):
    """The client did not take its answer in time."""


class Answers:
    """Sends answers; those that are held until clients have read them take `most_bytes` at most.

    One answer may be larger, when no other is held.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most, self._held = most_bytes, 0

    @contextmanager
    def hold(self, response: Response) -> Iterator[None]:
        """Count an answer for the time of the block.

        Raises:
            ApiError: answers of others take all memory.
        """
        size = int(response.headers.get("content-length", 0))
        size = 0 if size <= SMALL_BYTES else size
        if size and self._held and self._held + size > self._most:
            raise unavailable(f"answers hold {self._held:,} bytes until they are read; ask for less at once")
        self._held += size
        try:
            yield
        finally:
            self._held -= size


async def send_in_pieces(response: Response, scope: Scope, receive: Receive, send: Send) -> None:
    """Send an answer; on return no more than a piece of it is held.

    The server takes a part of any size at once and holds it until it is read. It
    waits only before it takes the next one, hence the small and the empty parts.

    Raises:
        SlowReader: the client does not read.
    """

    async def send_part(message: Message) -> None:
        try:
            async with asyncio.timeout(SEND_LIMIT_S):
                await send(message)
        except TimeoutError:
            raise SlowReader(f"the client took no part of its answer in {SEND_LIMIT_S:g} s") from None

    async def send_split(message: Message) -> None:
        body = message.get("body", b"")
        if len(body) <= PIECE_BYTES:
            await send_part(message)
            return
        for start in range(0, len(body), PIECE_BYTES):
            piece = body[start : start + PIECE_BYTES]
            await send_part({"type": "http.response.body", "body": piece, "more_body": True})
        if not message.get("more_body", False):
            await send_part({"type": "http.response.body", "body": b""})

    await response(scope, receive, send_split)
