"""A WSGI application whose workers count together: `gunicorn -c gunicorn.conf.py app:app`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any

from metricsmith.sdk import Counter, Gauge, Histogram, processes

processes.share(service="shop")

ORDERS = Counter("shop_orders_total", "Orders taken.", ["payment"])
SECONDS = Histogram("shop_request_seconds", "Time of a request.")
ACTIVE = Gauge("shop_requests_active", "Requests under way.", multiprocess_mode="livesum")


def app(environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
    """Take an order. With `?sure` the answer means that it is counted, whatever becomes of this worker."""
    with ACTIVE.track_inprogress(), SECONDS.time():
        ORDERS.labels("card").inc()
    counted = processes.flush() if environ.get("QUERY_STRING") == "sure" else True
    start_response("200 OK" if counted else "503 Service Unavailable", [("Content-Type", "text/plain")])
    return [f"{os.getpid()}\n".encode()]
