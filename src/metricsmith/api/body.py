"""Request bodies, read within a limit."""

from __future__ import annotations

from starlette.requests import Request

from metricsmith.api.errors import ApiError


async def read_body(request: Request, max_bytes: int) -> bytes:
    """Return the body.

    Raises:
        ApiError: it is, or says that it is, larger than the limit.
    """
    said = request.headers.get("content-length", "")
    if said.isdigit() and int(said[:20]) > max_bytes:
        raise _too_large(said, max_bytes)
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > max_bytes:
            raise _too_large(f"more than {max_bytes}", max_bytes)
        parts.append(part)
    return b"".join(parts)


def media_type(request: Request) -> str:
    """Return the media type of the body in lower case, without its parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _too_large(got: str, most: int) -> ApiError:
    return ApiError("too_large", f"got a body of {got} bytes, wanted at most {most} (server.max_body)")
