"""Request bodies, read within limits of size, of time, and of memory over all requests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.requests import Request

from metricsmith.api.errors import ApiError, unavailable

READ_LIMIT_S = 60.0


class Bodies:
    """Reads bodies; those that are held at one time take `most_bytes` at most."""

    def __init__(self, most_bytes: int) -> None:
        self._most, self._held = most_bytes, 0

    @asynccontextmanager
    async def read(self, request: Request, max_bytes: int) -> AsyncIterator[bytes]:
        """Give the body for the time of the block.

        Raises:
            ApiError: it is, or says that it is, larger than the limit; it comes
                too slowly; bodies of others take all memory.
        """
        length = _said_length(request)
        if length is not None and length > max_bytes:
            raise _too_large(f"{length:,}", max_bytes)
        reserved = max_bytes if length is None else length
        if self._held + reserved > max(self._most, max_bytes):
            raise unavailable(f"requests hold {self._held:,} bytes already; send fewer at once")
        self._held += reserved
        try:
            yield await _read(request, max_bytes)
        finally:
            self._held -= reserved


async def _read(request: Request, max_bytes: int) -> bytes:
    parts, size = [], 0
    try:
        async with asyncio.timeout(READ_LIMIT_S):
            async for part in request.stream():
                size += len(part)
                if size > max_bytes:
                    raise _too_large(f"more than {max_bytes:,}", max_bytes)
                parts.append(part)
    except TimeoutError:
        message = f"got {size:,} bytes of the body in {READ_LIMIT_S:g} s, wanted all of it"
        raise ApiError("request_timeout", message) from None
    return b"".join(parts)


def media_type(request: Request) -> str:
    """Return the media type of the body in lower case, without its parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _said_length(request: Request) -> int | None:
    said = request.headers.get("content-length", "")
    return int(said[:20]) if said.isascii() and said.isdigit() else None


def _too_large(got: str, most: int) -> ApiError:
    return ApiError("too_large", f"got a body of {got} bytes, wanted at most {most:,}")
