"""Requests to a Kubernetes API: pages of a list and the lines of a watch, everything within bounds."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Self

import aiohttp
import orjson
from yarl import URL

from metricsmith import __version__
from metricsmith.errors import DiscoveryError, LimitExceeded, WireError
from metricsmith.model.settings_types import format_size
from metricsmith.net.connect_errors import why_not_connected
from metricsmith.net.post import retry_after
from metricsmith.net.resolver import Resolver
from metricsmith.sources.exec.lines import LineSplitter
from metricsmith.sources.kubernetes.access import Access, Way
from metricsmith.wire.gunzip import gunzip

MAX_PAGE_BYTES = 64 << 20
MAX_EVENT_BYTES = 8 << 20
"""The API server keeps objects of at most 1.5 MB; as JSON they are longer."""
_MAX_REFUSAL_BYTES = 64 << 10
_BUFFER_BYTES = 1 << 16
_REASONS = {400: "bad_request", 401: "unauthorized", 403: "forbidden", 404: "not_found", 410: "expired"}


@dataclass(frozen=True, slots=True)
class Resource:
    """What is asked for: a kind of object, in a namespace, in all (None), or in the agent's own (empty)."""

    plural: str
    namespace: str | None

    def path(self, way: Way) -> str:
        """Return the path below the API's address."""
        if self.namespace is None:
            return f"api/v1/{self.plural}"
        place = self.namespace or way.namespace
        if not place:
            raise DiscoveryError("credentials", "the agent's own namespace is not known")
        return f"api/v1/namespaces/{place}/{self.plural}"

    def __str__(self) -> str:
        if self.namespace is None:
            return f"{self.plural} of all namespaces"
        return f"{self.plural} of " + (
            f"the namespace {self.namespace}" if self.namespace else "the own namespace"
        )


class ApiClient:
    """Lists and watches. Use as an async context; all that it raises is a DiscoveryError."""

    def __init__(self, access: Access, timeout_s: float) -> None:
        self._access, self._timeout_s = access, timeout_s
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, resolver=Resolver()),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": f"metricsmith/{__version__}", "Accept": "application/json"},
            auto_decompress=False,
            read_bufsize=_BUFFER_BYTES,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def page(self, resource: Resource, query: Mapping[str, str]) -> bytes:
        """Return the JSON of a page of a list, at most MAX_PAGE_BYTES."""
        way = await self._access.way()
        with _told(self._timeout_s):
            async with (
                asyncio.timeout(self._timeout_s),
                self._get(way, resource, query, "list", encoding="gzip") as response,
            ):
                body = await _read(response)
                zipped = response.headers.get("Content-Encoding", "").lower() == "gzip"
        return await asyncio.to_thread(_unzipped, body) if zipped else body

    async def watch(
        self,
        resource: Resource,
        query: Mapping[str, str],
        silence_s: float,
        opened: Callable[[], None],
        take: Callable[[bytes], None],
    ) -> None:
        """Give the lines of a watch to `take` as they come; return when the server ends it.

        A connection on which nothing comes for `silence_s` is given up, for
        that is what a dead one looks like.
        """
        way = await self._access.way()
        with _told(self._timeout_s):
            async with asyncio.timeout(self._timeout_s) as waiting:
                # Without compression: an event must not wait for the next ones.
                async with self._get(way, resource, query, "watch", encoding="identity") as response:
                    opened()
                    waiting.reschedule(None)
                    await _lines(response.content, silence_s, take)

    @asynccontextmanager
    async def _get(
        self, way: Way, resource: Resource, query: Mapping[str, str], verb: str, encoding: str
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        assert self._session is not None, "ApiClient is used outside its context"
        async with self._session.get(
            _url(way, resource).with_query(query),
            headers={**way.headers, "Accept-Encoding": encoding},
            ssl=way.tls,
            server_hostname=way.server_name,
            allow_redirects=False,  # the token is for this server alone
        ) as response:
            if response.status == 401:
                self._access.refused()
            if response.status != 200:
                raise await _refusal(response, resource, verb)
            try:
                yield response
            except BaseException:
                # The rest is not wanted, and over TLS a farewell would wait for a peer that may be dead.
                if response.connection is not None and response.connection.transport is not None:
                    response.connection.transport.abort()
                raise


def _url(way: Way, resource: Resource) -> URL:
    return way.url.with_path(f"{way.url.path.rstrip('/')}/{resource.path(way)}")


@contextmanager
def _told(timeout_s: float) -> Iterator[None]:
    """Turn what goes wrong with a connection into a DiscoveryError; texts hold no header."""
    try:
        yield
    except TimeoutError:
        raise DiscoveryError("timeout", f"no complete answer within {timeout_s:g}s") from None
    except (aiohttp.ClientSSLError, ssl.SSLError) as error:
        raise DiscoveryError("tls", f"TLS failed: {error}"[:300]) from None
    except aiohttp.ClientResponseError as error:
        raise DiscoveryError("malformed", f"got a malformed HTTP answer: {error.message[:200]}") from None
    except aiohttp.ClientConnectorError as error:
        raise DiscoveryError("connection", f"cannot connect: {why_not_connected(error.os_error)}") from None
    except (aiohttp.ClientError, OSError) as error:
        raise DiscoveryError(
            "connection", f"the connection failed: {str(error)[:200] or type(error).__name__}"
        ) from None


async def _read(response: aiohttp.ClientResponse) -> bytes:
    pieces: list[bytes] = []
    size = 0
    while piece := await response.content.readany():
        size += len(piece)
        if size > MAX_PAGE_BYTES:
            raise _too_large("a page", MAX_PAGE_BYTES)
        pieces.append(piece)
    return b"".join(pieces)


async def _lines(content: aiohttp.StreamReader, silence_s: float, take: Callable[[bytes], None]) -> None:
    splitter = LineSplitter(MAX_EVENT_BYTES)
    while True:
        try:
            async with asyncio.timeout(silence_s):
                data = await content.readany()
        except TimeoutError:
            raise DiscoveryError("silent", f"the watch said nothing for {silence_s:g}s") from None
        for line in splitter.feed(data) if data else splitter.finish():
            if line.cut:
                raise _too_large("an event", MAX_EVENT_BYTES)
            take(line.text)
        if not data:
            return
        await asyncio.sleep(0)  # a burst of events is not the only work there is


def _unzipped(body: bytes) -> bytes:
    try:
        return gunzip(body, MAX_PAGE_BYTES)
    except LimitExceeded:
        raise _too_large("a page", MAX_PAGE_BYTES) from None
    except WireError as error:
        raise DiscoveryError("malformed", str(error)) from None


def _too_large(what: str, limit_bytes: int) -> DiscoveryError:
    return DiscoveryError(
        "too_large", f"got {what} over {format_size(limit_bytes)}, wanted at most that much"
    )


async def _refusal(response: aiohttp.ClientResponse, resource: Resource, verb: str) -> DiscoveryError:
    """Return what another status than 200 means, and what would help."""
    status = response.status
    said = _message(await response.content.read(_MAX_REFUSAL_BYTES))
    after_s = retry_after(response.headers.get("Retry-After"), response.headers.get("Date"))
    return refusal(status, said, resource, verb, after_s)


def refusal(
    status: int, said: str, resource: Resource, verb: str, after_s: float | None = None
) -> DiscoveryError:
    """Return the error for a status, of an answer or in an event."""
    reason = _REASONS.get(status) or ("throttled" if status == 429 else f"status_{status // 100}xx")
    hint = {
        "unauthorized": "the token or certificate is not accepted: has it expired, is it for this cluster?",
        "forbidden": f"wanted a {'ClusterRole' if resource.namespace is None else 'Role'}, bound to this"
        f" account, that allows the verbs list and watch on {resource.plural}",
        "not_found": "is this the address of a Kubernetes API?",
        "bad_request": "are the selectors right?",
    }.get(reason)
    message = f"{verb} {resource}: got HTTP status {status}{f': {said}' if said else ''}"
    return DiscoveryError(reason, f"{message} ({hint})" if hint else message, after_s)


def _message(body: bytes) -> str:
    """The words of a `Status`, which is what an API server refuses with."""
    try:
        status = orjson.loads(body)
    except orjson.JSONDecodeError:
        return ""
    return shown(status.get("message")) if isinstance(status, dict) else ""


def shown(text: object) -> str:
    """Return a text of the server as a log may have it."""
    return "".join(c if c.isprintable() else " " for c in text)[:300] if isinstance(text, str) else ""
