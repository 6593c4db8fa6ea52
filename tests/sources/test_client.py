"""Transport security, credentials, and compressed bodies that lie."""

from __future__ import annotations

import gzip
import logging
import ssl
import tracemalloc
import zlib

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from metricsmith.errors import ScrapeError
from metricsmith.sources.client import gunzip


def server_context(authority, ask_client=False):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.cert, authority.key)
    if ask_client:
        context.load_verify_locations(authority.ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


async def up(scraping, **settings):
    async with scraping(**settings) as source:
        batch = await source.batch()
        return batch.value[-5]


async def test_https_is_verified(scraping, serve, authority):
    url = await serve("a 1\n", tls=server_context(authority))
    trusted = {"ca_file": str(authority.ca), "server_name": "shop.test"}
    assert await up(scraping, targets=[url], tls=trusted) == 1
    assert await up(scraping, targets=[url], tls={"insecure_skip_verify": True}) == 1
    for distrusted in ({}, {"ca_file": str(authority.ca)}, {**trusted, "server_name": "other.test"}):
        async with scraping(targets=[url], tls=distrusted) as source:
            before = source.failures("tls")
            assert (await source.batch()).value[-5] == 0
            assert source.failures("tls") == before + 1


async def test_a_client_certificate_is_shown(scraping, serve, authority):
    url = await serve("a 1\n", tls=server_context(authority, ask_client=True))
    trusted = {"ca_file": str(authority.ca), "server_name": "shop.test"}
    client = {"cert_file": str(authority.cert), "key_file": str(authority.key)}
    assert await up(scraping, targets=[url], tls={**trusted, **client}) == 1
    assert await up(scraping, targets=[url], tls=trusted) == 0


async def test_replaced_certificate_files_are_used(scraping, serve, authority, tmp_path):
    url = await serve("a 1\n", tls=server_context(authority))
    ca = tmp_path / "ca.pem"
    async with scraping(targets=[url], tls={"ca_file": str(ca), "server_name": "shop.test"}) as source:
        assert (await source.batch()).value[-5] == 0, "there is no such file yet"
        ca.write_bytes(authority.ca.read_bytes())
        assert (await source.batch()).value[-5] == 1
        ca.write_text("no certificate any more")
        assert source.recorder.read(await source.batch())[f'up{{instance="{url[8:]}", job="shop"}}'] == 0


class Guarded:
    """A target that wants one Authorization header, and remembers what it got."""

    def __init__(self, wanted: str) -> None:
        self.wanted = wanted
        self.got: list[str | None] = []

    async def __call__(self, request: web.Request) -> web.Response:
        self.got.append(request.headers.get("Authorization"))
        return web.Response(status=200 if self.got[-1] == self.wanted else 401, text="a 1\n")


@pytest.mark.parametrize(
    ("settings", "header"),
    [
        ({"basic_auth": {"username": "ann", "password": "päss"}}, "Basic YW5uOnDDpHNz"),
        ({"basic_auth": {"username": "ann", "password_file": "SECRET"}}, "Basic YW5uOmZyb20gYSBmaWxl"),
        ({"authorization": {"credentials": "token"}}, "Bearer token"),
        ({"authorization": {"credentials": "file:SECRET"}}, "Bearer from a file"),
        ({"authorization": {"type": "Custom", "credentials_file": "SECRET"}}, "Custom from a file"),
    ],
)
async def test_credentials_are_sent(scraping, serve, tmp_path, settings, header):
    secret = tmp_path / "secret"
    secret.write_text("from a file\n")
    filled = {
        kind: {key: value.replace("SECRET", str(secret)) for key, value in auth.items()}
        for kind, auth in settings.items()
    }
    assert await up(scraping, targets=[await serve(Guarded(header))], **filled) == 1


async def test_a_rotated_secret_is_used_and_never_shown(scraping, serve, tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    secret = tmp_path / "secret"
    guarded = Guarded("Bearer second-secret")
    settings = {"authorization": {"credentials_file": str(secret)}, "params": {"token": ["query-secret"]}}
    async with scraping(targets=[await serve(guarded)], **settings) as source:
        assert (await source.batch()).value[-5] == 0
        assert source.failures("secret") == 1
        secret.write_text("first-secret")
        assert (await source.batch()).value[-5] == 0
        secret.write_text("second-secret\r\nX-Smuggled: 1")
        assert (await source.batch()).value[-5] == 0
        assert source.failures("secret") == 2
        secret.write_text("second-secret")
        batch = await source.batch()
        assert batch.value[-5] == 1
        assert "secret" not in batch.layout.stream
    assert guarded.got == ["Bearer first-secret", "Bearer second-secret"]
    assert "401" in caplog.text
    assert "first-secret" not in caplog.text
    assert "query-secret" not in caplog.text


async def test_credentials_do_not_follow_a_redirect_to_another_server(scraping, serve):
    other = Guarded("none")
    elsewhere = await serve(other)

    async def handler(_):
        raise web.HTTPFound(elsewhere)

    assert await up(scraping, targets=[await serve(handler)], authorization={"credentials": "token"}) == 0
    assert other.got == [None]


@given(parts=st.lists(st.binary(max_size=300), min_size=1, max_size=4))
def test_gunzip_returns_all_members(parts):
    whole = b"".join(parts)
    packed = b"".join(gzip.compress(part) for part in parts)
    assert gunzip(packed, len(whole)) == whole
    if whole:
        with pytest.raises(ScrapeError, match="over"):
            gunzip(packed, len(whole) - 1)


@given(body=st.binary(max_size=300), cut=st.integers(1, 20), flip=st.integers(0, 200))
def test_gunzip_refuses_damage(body, cut, flip):
    packed = gzip.compress(body)
    with pytest.raises(ScrapeError):
        gunzip(packed[:-cut], 1000)
    at = len(packed) - 8 + flip % 4  # the checksum
    damaged = packed[:at] + bytes([packed[at] ^ 0xFF]) + packed[at + 1 :]
    with pytest.raises(ScrapeError):
        gunzip(damaged, 1000)


def test_a_bomb_costs_no_more_memory_than_the_limit():
    layer = zlib.compressobj(9, zlib.DEFLATED, zlib.MAX_WBITS | 16)
    bomb = b"".join(layer.compress(bytes(1 << 20)) for _ in range(256)) + layer.flush()
    tracemalloc.start()
    try:
        with pytest.raises(ScrapeError) as refused:
            gunzip(bomb, 1 << 20)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()
    assert refused.value.reason == "body_size"


def test_many_members_are_refused():
    with pytest.raises(ScrapeError, match="members"):
        gunzip(gzip.compress(b"") * 1000, 1000)
