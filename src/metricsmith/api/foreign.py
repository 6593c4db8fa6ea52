"""Pages of other origins may not push: what a browser sends unasked is refused."""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.requests import Request

from metricsmith.api.errors import ApiError


def refuse_foreign(request: Request) -> None:
    """Refuse a request that a page of another origin makes.

    For endpoints whose protocol asks for no content type: a browser posts
    plain text there for any page, without asking first, but says from where.

    Raises:
        ApiError: the request's origin is not its host.
    """
    origin = request.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
        raise ApiError("forbidden", f"got a request of the web page {origin[:100]}, wanted none of others")
