"""Request bodies, read within limits of size, of time, and of memory over all requests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.requests import Request

from metricsmith.api.errors import ApiError, unavailable

READ_LIMIT_S = 60.0


class Bodies:
    """Reads bodies; what is held of them at one time takes `most_bytes` at most.

    Bytes count from their arrival: an announced length costs its sender nothing.
    """

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
        parts: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(READ_LIMIT_S):
                async for part in request.stream():
                    if size + len(part) > max_bytes:
                        raise _too_large(f"more than {max_bytes:,}", max_bytes)
                    if self._held + len(part) > max(self._most, max_bytes):
                        raise unavailable(f"requests hold {self._held:,} bytes already; send fewer at once")
                    self._held += len(part)
                    size += len(part)
                    parts.append(part)
        except BaseException as error:
            self._held -= size
            if isinstance(error, TimeoutError):
                raise _too_slow(size) from None
            raise
        try:
            yield b"".join(parts)
        finally:
            self._held -= size


def media_type(request: Request) -> str:
    """Return the media type of the body in lower case, without its parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _said_length(request: Request) -> int | None:
    said = request.headers.get("content-length", "")
    return int(said[:20]) if said.isascii() and said.isdigit() else None


def _too_large(got: str, most: int) -> ApiError:
    return ApiError("too_large", f"got a body of {got} bytes, wanted at most {most:,}")


def _too_slow(size: int) -> ApiError:
    message = f"got {size:,} bytes of the body in {READ_LIMIT_S:g} s, wanted all of it"
    return ApiError("request_timeout", message)
