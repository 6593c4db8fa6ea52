"""What servers answer to posts is read as they meant it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from metricsmith.net.post import HttpRefused, Poster
from metricsmith.net.settings import Access
from metricsmith.testing.services import free_port

SAID = "the sample is out of order " * 20


@pytest.fixture
async def compressing() -> AsyncIterator[str]:
    """A server that compresses its answers for those that take it so."""

    async def answer(request: web.Request) -> web.Response:
        found = web.Response(status=int(request.path[1:]), text=SAID)
        found.enable_compression()
        return found

    app = web.Application()
    app.router.add_post("/{status}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    yield f"http://127.0.0.1:{port}"
    await runner.cleanup()


async def test_answers_are_asked_for_as_they_can_be_read(compressing: str) -> None:
    poster = Poster(Access(), 5)
    try:
        assert await poster.post(f"{compressing}/200", b"", {}) == SAID.encode()
        with pytest.raises(HttpRefused) as refused:
            await poster.post(f"{compressing}/400", b"", {})
    finally:
        await poster.close()
    assert refused.value.reason.startswith("400 the sample is out of order")
