"""The page that scrapers read."""

from __future__ import annotations

import zlib

from metricsmith.sdk.clock import Clock
from metricsmith.sdk.export.http_server import Request, Response
from metricsmith.sdk.exposition import expose
from metricsmith.sdk.registry import Registry

PATH = "/metrics"
GZIP_FROM_BYTES = 1024


class MetricsPage:
    """Text or OpenMetrics, whatever the scraper asks for; gzip for those that understand it."""

    def __init__(self, registry: Registry, clock: Clock) -> None:
        self._registry, self._clock = registry, clock
        self.scrapes = self.sent_bytes = 0
        self.last_scrape_ms = 0

    def __call__(self, request: Request) -> Response:
        """Return the metrics, or a word on where they are."""
        if request.path == "/":
            return Response(f"metrics are at {PATH}\n".encode())
        if request.path != PATH:
            return Response(f"nothing here; metrics are at {PATH}\n".encode(), status=404)
        body, content_type = expose(self._registry, request.headers.get("accept", ""))
        headers = {"Vary": "Accept, Accept-Encoding"}
        if len(body) >= GZIP_FROM_BYTES and takes_gzip(request.headers.get("accept-encoding", "")):
            body = gzip(body)
            headers["Content-Encoding"] = "gzip"
        self.scrapes += 1
        self.sent_bytes += len(body)
        self.last_scrape_ms = self._clock.now_ms()
        return Response(body, content_type, headers=headers)


def takes_gzip(accept_encoding: str) -> bool:
    """Return whether gzip is among the encodings that a client takes.

    >>> takes_gzip("deflate, gzip;q=0.5"), takes_gzip("gzip;q=0, identity")
    (True, False)
    """
    for each in accept_encoding.lower().split(","):
        name, _, weight = each.partition(";")
        if name.strip() in ("gzip", "x-gzip", "*"):
            return weight.strip().replace(" ", "").rstrip("0.") != "q="
    return False


def gzip(body: bytes) -> bytes:
    """Return a gzip member. Level 1: a scrape's text shrinks tenfold at a third of the time of level 6."""
    packer = zlib.compressobj(1, zlib.DEFLATED, 31)
    return packer.compress(body) + packer.flush()
