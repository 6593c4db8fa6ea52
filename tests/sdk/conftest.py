"""What tests of the SDK share: asking an ASGI application without a server."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

Get = Callable[..., Awaitable[bytes]]


@pytest.fixture
def get() -> Get:
    """Return a function that gets the body of a path of an ASGI application."""

    async def ask(app: Any, path: str, query: str = "", accept: str = "") -> bytes:
        body: list[bytes] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: dict[str, Any]) -> None:
            body.append(message.get("body", b""))

        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "root_path": "",
            "query_string": query.encode(),
            "headers": [(b"accept", accept.encode()), (b"host", b"testserver")],
            "server": ("testserver", 80),
            "client": ("127.0.0.1", 1),
        }
        await app(scope, receive, send)
        return b"".join(body)

    return ask
