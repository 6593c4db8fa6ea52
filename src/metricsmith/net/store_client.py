"""HTTP as stores on other servers need it: asked from any thread, answered in time, in bounds, or given up.

Stores are asked from many threads, each of which waits. The connections live in one event loop in a thread
of its own, where a deadline covers all of a request, and a request that nobody waits for any more is ended.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import CancelledError, Future, wait
from dataclasses import dataclass
from threading import Lock, Thread
from typing import Literal
from urllib.parse import urlencode

import aiohttp
from pydantic import SecretStr
from yarl import URL

from metricsmith import __version__
from metricsmith.errors import LimitExceeded, StoreUnavailable
from metricsmith.model.settings_types import format_size, reveal
from metricsmith.net.auth import authorization
from metricsmith.net.connect_errors import why_not_connected
from metricsmith.net.resolver import Resolver
from metricsmith.net.settings import Access
from metricsmith.net.tls import TlsContext

MAX_CONNECTIONS = 32
LOOK_S = 0.1
"""So often a waiting thread looks whether somebody still wants the answer."""
READ_BUFFER_BYTES = 1 << 18
Form = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Reply:
    """What a server answered, whatever the status."""

    status: int
    body: bytes


class StoreClient:
    """Requests to one server. Safe to call from any thread but that of an event loop."""

    def __init__(self, access: Access, headers: Mapping[str, SecretStr]) -> None:
        self._access, self._headers = access, dict(headers)
        self._tls = TlsContext(access.tls)
        self._lock, self._closed = Lock(), False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: Thread | None = None
        self._session: aiohttp.ClientSession | None = None

    def ask(
        self,
        method: Literal["GET", "POST"],
        url: str,
        form: Form,
        *,
        timeout_s: float,
        limit_bytes: int,
        check: Callable[[], None] = lambda: None,
    ) -> Reply:
        """Return the answer to a question that may be asked twice; `check` is called while it is awaited.

        The form goes into the address of a GET and into the body of a POST.

        Raises:
            TimeoutError: no whole answer in time.
            LimitExceeded: the answer is larger than the limit.
            StoreUnavailable: no answer; messages hold no secret and no query.
            whatever `check` raises: the request is given up.
        """
        asked = self._submit(self._ask(method, url, form, timeout_s, limit_bytes))
        while not wait([asked], LOOK_S).done:
            try:
                check()
            except BaseException:
                asked.cancel()
                raise
        try:
            return asked.result()
        except CancelledError:
            raise StoreUnavailable("closed", "the request was given up: the agent stops") from None

    def close(self) -> None:
        """Close the connections; requests that run end."""
        with self._lock:
            self._closed = True
            loop, thread = self._loop, self._thread
            self._loop = self._thread = None
        if loop is None or thread is None:
            return
        asyncio.run_coroutine_threadsafe(self._close(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()

    def _submit(self, work: Coroutine[None, None, Reply]) -> Future[Reply]:
        with self._lock:
            if self._closed:
                work.close()
                raise StoreUnavailable("closed", "the store is closed: the agent stops")
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = Thread(target=self._loop.run_forever, name="store-client", daemon=True)
                self._thread.start()
            return asyncio.run_coroutine_threadsafe(work, self._loop)

    async def _close(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    async def _ask(self, method: str, url: str, form: Form, timeout_s: float, limit_bytes: int) -> Reply:
        try:
            async with asyncio.timeout(timeout_s):
                try:
                    return await self._once(method, url, form, limit_bytes)
                except aiohttp.ClientConnectorError:
                    raise
                # The server closed while nothing was asked, most likely: seen at its end, or at a write.
                except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
                    return await self._once(method, url, form, limit_bytes)
        except TimeoutError:
            raise
        except (aiohttp.ClientSSLError, ssl.SSLError) as error:
            raise StoreUnavailable("tls", f"TLS failed: {error}") from None
        except aiohttp.ClientConnectorError as error:
            raise StoreUnavailable(
                "connection", f"cannot connect: {why_not_connected(error.os_error)}"
            ) from None
        except aiohttp.ClientResponseError as error:
            raise StoreUnavailable(
                "protocol", f"got a malformed HTTP answer: {error.message[:200]}"
            ) from None
        except (aiohttp.ClientError, OSError) as error:
            raise StoreUnavailable("connection", f"the connection failed: {type(error).__name__}") from None

    async def _once(self, method: str, url: str, form: Form, limit_bytes: int) -> Reply:
        headers, body = self._all_headers(), None
        if method == "POST":
            headers["Content-Type"] = "application/x-www-form-urlencoded"
            body = urlencode(form).encode()
        elif form:
            url = f"{url}?{urlencode(form)}"
        async with self._opened().request(
            method,
            URL(url, encoded=True),
            data=body,
            headers=headers,
            ssl=self._context(),
            server_hostname=self._access.tls.server_name,
            allow_redirects=False,
        ) as response:
            return Reply(response.status, await _read(response.content, limit_bytes))

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=MAX_CONNECTIONS, resolver=Resolver()),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"User-Agent": f"metricsmith/{__version__}", "Accept-Encoding": "identity"},
                auto_decompress=False,
                read_bufsize=READ_BUFFER_BYTES,
            )
        return self._session

    def _all_headers(self) -> dict[str, str]:
        try:
            own = {name: reveal(value) for name, value in self._headers.items()}
            if not all(value.isprintable() for value in own.values()):
                raise ValueError("a header holds control characters, wanted one line of text")
            return own | authorization(self._access)
        except (OSError, ValueError) as error:
            raise StoreUnavailable("secret", f"the secret cannot be read: {error}") from None

    def _context(self) -> ssl.SSLContext | bool:
        try:
            return self._tls.current()
        except (OSError, ValueError) as error:
            raise StoreUnavailable("tls", f"the TLS files cannot be used: {error}") from None


async def _read(content: aiohttp.StreamReader, limit_bytes: int) -> bytes:
    pieces: list[bytes] = []
    size = 0
    while piece := await content.readany():
        size += len(piece)
        if size > limit_bytes:
            raise LimitExceeded(f"got an answer over {format_size(limit_bytes)}, wanted at most that much")
        pieces.append(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)
