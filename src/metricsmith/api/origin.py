"""Whether a request that changes something comes from a page of somebody else."""

from __future__ import annotations

from starlette.requests import Request

from metricsmith.api.errors import ApiError


def refuse_other_origin(request: Request) -> None:
    """Raise if a web page of another server sent this; browsers send forms anywhere unasked.

    Raises:
        ApiError: it did.
    """
    origin, host = request.headers.get("origin"), request.headers.get("host", "")
    if origin is not None and origin.partition("://")[2].lower() != host.lower():
        raise ApiError(
            "forbidden", f"got a request from a page of {origin[:200]}, wanted none but {host[:200]}"
        )
