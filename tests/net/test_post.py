"""What servers answer to posts is read as they meant it."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from metricsmith.errors import RetryLater
from metricsmith.net.connect_errors import why_no_tls
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


async def test_an_https_address_of_a_plain_server_is_told_as_that(compressing: str) -> None:
    poster = Poster(Access(), 5)
    try:
        with pytest.raises(RetryLater, match=r"TLS failed: the server does not speak it.*http://$"):
            await poster.post(compressing.replace("http", "https"), b"", {})
    finally:
        await poster.close()


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (20, "not trusted (unable to get local issuer certificate)"),
        (62, "for another name"),  # OpenSSL's own words have the name
    ],
)
def test_what_is_wrong_with_a_certificate(code: int, said: str) -> None:
    error = ssl.SSLCertVerificationError()
    error.verify_code, error.verify_message = code, "unable to get local issuer certificate"
    assert why_no_tls(error) == f"its certificate is {said}"


@pytest.mark.parametrize("body", [b"404 page not found\n", b"page not found"])
def test_a_status_that_the_body_repeats_is_told_once(body: bytes) -> None:
    assert HttpRefused(404, body).reason == "404 page not found"
