"""HTTP as sources need it: one lean session, a limit on everything that a server can send."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import aiohttp
from yarl import URL

from metricsmith import __version__
from metricsmith.errors import LimitExceeded, ScrapeError, WireError
from metricsmith.model.settings_types import format_size
from metricsmith.net.auth import authorization
from metricsmith.net.connect_errors import why_not_connected
from metricsmith.net.resolver import Resolver
from metricsmith.net.settings import HttpSettings
from metricsmith.net.tls import TlsContext
from metricsmith.wire.gunzip import gunzip as unpack

USER_AGENT = f"metricsmith/{__version__}"
MAX_REDIRECTS = 10
KEEP_ALIVE_S = 300.0
"""Longer than usual intervals: a scrape should find its connection open."""
READ_BUFFER_BYTES = 1 << 18


@dataclass(frozen=True, slots=True)
class Answer:
    """The body of a 200 answer, still compressed when `gzip` is set."""

    body: bytes
    gzip: bool
    content_type: str
    headers: Mapping[str, str]


class HttpClient:
    """GET with authentication, TLS, one deadline and a limit on the body. Use as an async context."""

    def __init__(self, settings: HttpSettings) -> None:
        self._settings = settings
        self._tls = TlsContext(settings.tls)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE_S, resolver=Resolver()),
            # One deadline per request is set in `get`; aiohttp's own would be a second timer for the same.
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": USER_AGENT, "Accept-Encoding": "gzip"},
            auto_decompress=False,
            read_bufsize=READ_BUFFER_BYTES,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def get(self, url: URL, headers: Mapping[str, str], timeout_s: float, limit_bytes: int) -> Answer:
        """Return the answer to a GET.

        Raises:
            ScrapeError: no answer in time, none at all, another status than 200,
                or a body over the limit. Messages hold no header and no query.
        """
        try:
            async with asyncio.timeout(timeout_s):
                return await self._get(url, headers, limit_bytes)
        except TimeoutError:
            raise ScrapeError("timeout", f"no complete answer within {round(timeout_s, 2):g}s") from None
        except (aiohttp.ClientSSLError, ssl.SSLError) as error:
            raise ScrapeError("tls", f"TLS failed: {error}") from None
        except aiohttp.TooManyRedirects:
            raise ScrapeError("redirect", f"got more than {MAX_REDIRECTS} redirects") from None
        except (aiohttp.RedirectClientError, aiohttp.InvalidURL):
            raise ScrapeError("redirect", "got a redirect to something that is no HTTP URL") from None
        except aiohttp.ClientResponseError as error:
            raise ScrapeError("protocol", f"got a malformed HTTP answer: {error.message[:200]}") from None
        except aiohttp.ClientConnectorError as error:
            raise ScrapeError("connection", f"cannot connect: {why_not_connected(error.os_error)}") from None
        except (aiohttp.ClientError, OSError) as error:
            raise ScrapeError("connection", (str(error) or type(error).__name__)[:300]) from None

    async def _get(self, url: URL, headers: Mapping[str, str], limit_bytes: int) -> Answer:
        assert self._session is not None, "HttpClient is used outside its context"
        settings = self._settings
        async with self._session.get(
            url,
            headers=self._authorized(headers),
            ssl=self._context(),
            server_hostname=settings.tls.server_name,
            allow_redirects=settings.follow_redirects,
            max_redirects=MAX_REDIRECTS,
        ) as response:
            if response.status != 200:
                reason = (response.reason or "")[:100]
                raise ScrapeError(
                    "status", f"got HTTP status {response.status} {reason}, wanted 200".rstrip()
                )
            encoding = response.headers.get("Content-Encoding", "identity").lower()
            if encoding not in ("identity", "", "gzip", "x-gzip"):
                raise ScrapeError("encoding", f"got Content-Encoding {encoding[:50]!r}, wanted gzip or none")
            body = await _read(response.content, limit_bytes)
            content_type = response.headers.get("Content-Type", "")
            return Answer(body, encoding.endswith("gzip"), content_type, response.headers)

    def _authorized(self, headers: Mapping[str, str]) -> Mapping[str, str]:
        try:
            return {**headers, **authorization(self._settings)}
        except (OSError, ValueError) as error:
            raise ScrapeError("secret", f"the secret cannot be read: {error}") from None

    def _context(self) -> ssl.SSLContext | bool:
        try:
            return self._tls.current()
        except (OSError, ValueError) as error:
            raise ScrapeError("tls", f"the TLS files cannot be used: {error}") from None


async def _read(content: aiohttp.StreamReader, limit_bytes: int) -> bytes:
    pieces: list[bytes] = []
    size = 0
    while piece := await content.readany():
        size += len(piece)
        if size > limit_bytes:
            raise over_limit(limit_bytes)
        pieces.append(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def over_limit(limit_bytes: int) -> ScrapeError:
    """Return the error for a body over the limit."""
    return ScrapeError("body_size", f"got a body over {format_size(limit_bytes)}, wanted at most that much")


def gunzip(body: bytes, limit_bytes: int) -> bytes:
    """Return the decompressed body; a bomb costs no more memory than the limit.

    Raises:
        ScrapeError: not gzip, cut short, or over the limit.
    """
    try:
        return unpack(body, limit_bytes)
    except LimitExceeded:
        raise over_limit(limit_bytes) from None
    except WireError as error:
        raise ScrapeError("encoding", str(error)) from None
