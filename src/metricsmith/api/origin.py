"""Whether a request was made by a web page of somebody else."""

from __future__ import annotations

from starlette.requests import Request

from metricsmith.api.errors import ApiError
from metricsmith.model.host_names import AllowedHosts, advice

SETTING = "server.allowed_hosts"
OPEN_PAGES = frozenset({"/metrics", "/health", "/ready", "/-/healthy", "/-/ready"})
"""Read by scrapers and probes, by whatever name they know."""


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


def refuse_other_host(request: Request, allowed: AllowedHosts) -> None:
    """Raise if a request asks by a name that may be that of an attacker's page (DNS rebinding).

    To such a page we are of its own origin, so nothing else keeps it from reading and posting.

    Raises:
        ApiError: it does.
    """
    if host := allowed.refused(request.headers):
        raise ApiError("misdirected", advice(host, SETTING))
