"""The end of an ASGI application as the moment of the last push."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

Message: TypeAlias = MutableMapping[str, Any]
Asgi: TypeAlias = Callable[
    [MutableMapping[str, Any], Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]],
    Awaitable[None],
]
_ENDS = ("lifespan.shutdown.complete", "lifespan.shutdown.failed")


def flushed_at_shutdown(app: Asgi, flush: Callable[[], object]) -> Asgi:
    """Return the application, with a flush when its lifespan ends; also of one that knows of no lifespan."""

    async def wrapped(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "lifespan":
            await app(scope, receive, send)
            return

        asked = False

        async def received() -> Message:
            nonlocal asked
            asked = True
            message: Message = await receive()
            return message

        async def sent(message: Message) -> None:
            if message["type"] in _ENDS:
                flush()
            await send(message)

        try:
            await app(scope, received, sent)
        except Exception:
            if asked:
                raise
            # Servers take this for an application without a lifespan, and do not tell it of the end.
            await _lifespan_of_its_own(receive, sent)

    return wrapped


async def _lifespan_of_its_own(receive: Any, send: Any) -> None:
    while True:
        message = await receive()
        kind = message["type"]
        await send({"type": f"{kind}.complete"})
        if kind == "lifespan.shutdown":
            return
