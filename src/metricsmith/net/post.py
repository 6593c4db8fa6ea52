"""POST, as notifications and sinks need it: one deadline, no redirects, little read of what is answered."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

import aiohttp
from yarl import URL

from metricsmith import __version__
from metricsmith.errors import Rejected, RetryLater
from metricsmith.net.auth import authorization
from metricsmith.net.connect_errors import why_no_tls
from metricsmith.net.resolver import Resolver
from metricsmith.net.settings import Access
from metricsmith.net.tls import TlsContext

MAX_RETRY_AFTER_S = 3600.0
ANSWER_BYTES = 256 << 10
_SHOWN_CHARACTERS = 300
_MORE_TIME_HELPS = frozenset({408, 425, 429})


NO_HEADERS: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer of 2xx: its headers, whose names are in any case, and the beginning of its body."""

    headers: Mapping[str, str]
    body: bytes


class HttpRefused(Rejected):
    """An answer that says it would be no different later. `body` is its beginning."""

    def __init__(self, status: int, body: bytes, headers: Mapping[str, str] = NO_HEADERS) -> None:
        self.status, self.body, self.headers = status, body, headers
        text = "".join(c if c.isprintable() else " " for c in body.decode(errors="replace"))
        said = text.strip().removeprefix(f"{status} ")  # Go's servers begin with it
        super().__init__(f"{status} {said[:_SHOWN_CHARACTERS]}".strip())


class Poster:
    """Posts bodies. For use in one event loop; connections are opened when they are needed."""

    def __init__(self, access: Access, timeout_s: float) -> None:
        self._access, self._timeout_s = access, timeout_s
        self._tls = TlsContext(access.tls)
        self._session: aiohttp.ClientSession | None = None

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> bytes:
        """Post; returned is the beginning of an answer of 2xx. Raises as `ask`."""
        return (await self.ask(url, body, headers)).body

    async def ask(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Post; returned is an answer of 2xx. Messages hold nothing of the URL.

        Raises:
            RetryLater: no answer in time, none at all, or one that another time may be better.
            HttpRefused: refused for good; `reason` begins with the status.
        """
        async with self._answered():
            return await self._post(url, body, headers)

    async def head(self, url: str) -> tuple[int, Mapping[str, str]]:
        """Ask whether a server is there, without credentials; return the status and headers of any answer.

        Raises:
            RetryLater: no answer in time, or none at all.
        """
        async with (
            self._answered(),
            self._opened().head(
                URL(url),
                ssl=self._context(),
                server_hostname=self._access.tls.server_name,
                allow_redirects=False,
            ) as response,
        ):
            return response.status, response.headers

    @asynccontextmanager
    async def _answered(self) -> AsyncIterator[None]:
        """Wait as long as is set, and turn what keeps a request from being answered into our error."""
        try:
            async with asyncio.timeout(self._timeout_s):
                yield
        except TimeoutError:
            raise RetryLater(f"no answer within {round(self._timeout_s, 2):g}s", reason="timeout") from None
        except (aiohttp.ClientSSLError, ssl.SSLError) as error:
            raise RetryLater(f"TLS failed: {why_no_tls(error)}", reason="tls") from None
        except aiohttp.ClientConnectorError as error:
            number = error.os_error.errno or 0
            why = os.strerror(number) if number > 0 else "the name is not known"
            raise RetryLater(f"cannot connect: {why}", reason="connection") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            # Texts of these errors hold the URL.
            raise RetryLater(f"the connection failed: {type(error).__name__}", reason="connection") from None

    def _context(self) -> ssl.SSLContext | bool:
        try:
            return self._tls.current()
        except (OSError, ValueError) as error:
            raise _unreadable(error) from None

    async def _post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        try:
            headers = {**headers, **authorization(self._access)}
        except (OSError, ValueError) as error:
            raise _unreadable(error) from None
        async with self._opened().post(
            URL(url),
            data=body,
            headers=headers,
            ssl=self._context(),
            server_hostname=self._access.tls.server_name,
            allow_redirects=False,
        ) as response:
            answer = await _beginning(response)
            if response.status // 100 != 2:
                raise _refused(response, answer)
            return Answer(response.headers, answer)

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, resolver=Resolver()),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
                cookie_jar=aiohttp.DummyCookieJar(),
                # Answers are short, and people read what they say.
                headers={"User-Agent": f"metricsmith/{__version__}", "Accept-Encoding": "identity"},
                auto_decompress=False,
            )
        return self._session

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None


def _unreadable(error: OSError | ValueError) -> RetryLater:
    return RetryLater(f"a secret or certificate cannot be read: {error}", reason="secret")


async def _beginning(response: aiohttp.ClientResponse) -> bytes:
    """Return ANSWER_BYTES of an answer, or all of a shorter one."""
    parts, left = [], ANSWER_BYTES
    while left and (part := await response.content.read(left)):
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def _refused(response: aiohttp.ClientResponse, answer: bytes) -> RetryLater | HttpRefused:
    status = response.status
    if 300 <= status < 400:
        return RetryLater(
            f"got a redirect ({status}), wanted the address that it leads to in the settings",
            reason="redirect",
        )
    if status >= 500 or status in _MORE_TIME_HELPS:
        after_s = retry_after(response.headers.get("Retry-After"), response.headers.get("Date"))
        return RetryLater(f"got HTTP status {status}", after_s, reason=f"status_{status // 100}xx")
    return HttpRefused(status, answer, response.headers)


def retry_after(header: str | None, date: str | None = None) -> float | None:
    """Return the seconds that a server asks to wait, an hour at most; None when it does not say.

    A time is meant by the clock of the server, which says in `date` how late it is.

    >>> retry_after("7"), retry_after("99999999"), retry_after("soon"), retry_after("-1")
    (7.0, 3600.0, None, None)
    >>> retry_after("Wed, 21 Oct 2026 07:28:30 GMT", "Wed, 21 Oct 2026 07:28:00 GMT")
    30.0
    """
    if header is None:
        return None
    if header.isascii() and header.isdigit() and len(header) < 20:
        return min(float(header), MAX_RETRY_AFTER_S)
    try:
        moment, now = parsedate_to_datetime(header), parsedate_to_datetime(date or "")
        return min(max((moment - now).total_seconds(), 0.0), MAX_RETRY_AFTER_S)
    except (ValueError, TypeError, OverflowError):
        return None
