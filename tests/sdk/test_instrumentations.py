"""What instruments frameworks by prometheus_client works on, with our registry and with our metrics."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import prometheus_client as peer
import pytest
from prometheus_client.asgi import make_asgi_app
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

import metricsmith.sdk as ours

Get = Callable[..., Awaitable[bytes]]


async def answer(request: Request) -> PlainTextResponse:
    return PlainTextResponse("ok")


@pytest.mark.parametrize("accept", ["", "application/openmetrics-text; version=1.0.0"])
async def test_the_applications_of_prometheus_client_serve_our_registry(get: Get, accept: str) -> None:
    registry = ours.Registry()
    ours.Counter("orders", "Orders.", ["payment"], registry=registry).labels("card").inc()

    def ask_wsgi(query: str = "") -> bytes:
        environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "HTTP_ACCEPT": accept, "QUERY_STRING": query}
        return b"".join(peer.make_wsgi_app(registry)(environ, lambda status, headers: None))  # type: ignore[arg-type]

    app = make_asgi_app(registry)  # type: ignore[arg-type]
    for body in (await get(app, "/", accept=accept), ask_wsgi()):
        assert b'orders_total{payment="card"} 1.0' in body
    for body in (await get(app, "/", "name[]=nothing", accept), ask_wsgi("name[]=nothing")):
        assert body.strip() in (b"", b"# EOF")


class Middleware:
    """Measures requests, in the way of instrumentations of frameworks."""

    def __init__(self, app: Any, metrics: Any, registry: Any) -> None:
        self._app = app
        self._requests = metrics.Counter(
            "http_requests_total", "Requests.", ["method", "path"], registry=registry
        )
        self._seconds = metrics.Histogram(
            "http_seconds", "Time.", ["path"], registry=registry, buckets=(0.1, 5)
        )
        self._active = metrics.Gauge(
            "http_active", "Active.", ["method"], registry=registry, multiprocess_mode="livesum"
        )

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        path = scope["path"]
        with self._active.labels(method="GET").track_inprogress(), self._seconds.labels(path).time():
            await self._app(scope, receive, send)
        self._requests.labels(method=scope["method"], path=path).inc()


@pytest.mark.parametrize("metrics", [peer, ours], ids=["their metrics", "our metrics"])
@pytest.mark.parametrize(
    "make", [peer.CollectorRegistry, ours.Registry], ids=["their registry", "our registry"]
)
async def test_a_middleware_counts_with_either_library(get: Get, metrics: Any, make: Any) -> None:
    registry = make()
    routes = [Route("/items", answer), Mount("/metrics", make_asgi_app(registry))]
    app = Middleware(Starlette(routes=routes), metrics, registry)
    for _ in range(3):
        await get(app, "/items")
    lines = (await get(app, "/metrics/")).decode().splitlines()
    assert 'http_requests_total{method="GET",path="/items"} 3.0' in lines
    assert 'http_seconds_count{path="/items"} 3.0' in lines
    assert 'http_active{method="GET"} 1.0' in lines


async def test_prometheus_fastapi_instrumentator_with_our_registry(get: Get) -> None:
    found = pytest.importorskip("prometheus_fastapi_instrumentator")
    registry = ours.Registry(auto_describe=True)
    app = Starlette(routes=[Route("/items", answer)])
    found.Instrumentator(registry=registry).instrument(app)
    for _ in range(3):
        await get(app, "/items")
    labels = {"handler": "/items", "method": "GET", "status": "2xx"}
    assert registry.get_sample_value("http_requests_total", labels) == 3


async def test_starlette_exporter_fills_the_default_registry_of_prometheus_client(get: Get) -> None:
    found = pytest.importorskip("starlette_exporter")
    app = Starlette(routes=[Route("/items", answer)])
    app.add_middleware(found.PrometheusMiddleware, app_name="sdk_test", prefix="sdk_test")
    for _ in range(3):
        await get(app, "/items")
    text = ours.generate_latest(ours.REGISTRY).decode()
    lines = [line for line in text.splitlines() if line.startswith("sdk_test_requests_total{")]
    assert len(lines) == 1
    assert lines[0].endswith(" 3.0")
    for collector in list(peer.REGISTRY._collector_to_names):
        if str(getattr(collector, "_name", "")).startswith("sdk_test"):
            peer.REGISTRY.unregister(collector)
