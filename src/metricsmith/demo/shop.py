"""The shop backend: real HTTP routes over data in memory, with a chaos mode."""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from prometheus_client import generate_latest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from metricsmith.demo.shop_metrics import PAYMENT_METHODS, ShopMetrics

PRODUCTS = 500
KEPT = 1000
"""Orders and users kept in memory; older ones are forgotten."""

PAYMENT_FAILS = 0.03
CHAOS_SHARE = 0.15
"""Share of requests that chaos mode disturbs."""


class Shop:
    """State and handlers of one shop.

    Money and stock are not the point: each order makes one call to a payment
    service and one to a stock service, whose latencies are drawn at random.
    """

    def __init__(self, chaos: bool = False, seed: int | None = None) -> None:
        self.metrics = ShopMetrics()
        self.chaos = chaos
        self._random = random.Random(seed)
        self._orders: deque[dict[str, Any]] = deque(maxlen=KEPT)
        self._users: deque[dict[str, Any]] = deque(maxlen=KEPT)
        self._next_order = 1

    def app(self) -> Starlette:
        """Return the ASGI application."""
        handlers: list[tuple[str, str, Callable[[Request], Awaitable[Response]]]] = [
            ("GET", "/", self._say({"shop": "metricsmith demo", "products": PRODUCTS})),
            ("GET", "/health", self._say({"status": "healthy"})),
            ("GET", "/metrics", self._exposition),
            ("GET", "/api/products", self._products),
            ("GET", "/api/products/{id:int}", self._product),
            ("GET", "/api/orders", self._list_orders),
            ("POST", "/api/orders", self._create_order),
            ("GET", "/api/users", self._list_users),
            ("POST", "/api/users", self._create_user),
            ("GET", "/api/cart", self._say({"items": []})),
            ("GET", "/api/status", self._status),
        ]
        routes = [Route(path, handler, methods=[method]) for method, path, handler in handlers]
        return Starlette(routes=routes, middleware=[Middleware(_Measure, shop=self, routes=routes)])

    @staticmethod
    def _say(answer: dict[str, Any]) -> Callable[[Request], Awaitable[Response]]:
        async def handler(_request: Request) -> Response:
            return JSONResponse(answer)

        return handler

    async def _exposition(self, _request: Request) -> Response:
        return Response(generate_latest(self.metrics.registry), media_type="text/plain; version=0.0.4")

    async def _products(self, _request: Request) -> Response:
        return JSONResponse([{"id": i, "name": f"product {i}"} for i in range(1, 21)])

    async def _product(self, request: Request) -> Response:
        number = request.path_params["id"]
        if not 1 <= number <= PRODUCTS:
            return JSONResponse({"error": f"no product {number}"}, 404)
        return JSONResponse({"id": number, "name": f"product {number}"})

    async def _list_orders(self, _request: Request) -> Response:
        return JSONResponse(list(self._orders)[-20:])

    async def _list_users(self, _request: Request) -> Response:
        return JSONResponse(list(self._users)[-20:])

    async def _create_user(self, _request: Request) -> Response:
        user = {"id": len(self._users) + 1}
        self._users.append(user)
        return JSONResponse(user, 201)

    async def _status(self, _request: Request) -> Response:
        return JSONResponse({"orders": len(self._orders), "chaos": self.chaos})

    async def _create_order(self, _request: Request) -> Response:
        self.metrics.orders_created.inc()
        await self._call("stock", 4)
        method = self._random.choice(PAYMENT_METHODS)
        await self._call("payment", 18)
        if self._random.random() < PAYMENT_FAILS * (5 if self.chaos else 1):
            self.metrics.payments.labels(method, "declined").inc()
            self.metrics.orders_failed.labels("payment_declined").inc()
            return JSONResponse({"error": "payment declined"}, 402)
        self.metrics.payments.labels(method, "accepted").inc()
        self.metrics.orders_success.inc()
        order = {"id": self._next_order, "payment": method}
        self._next_order += 1
        self._orders.append(order)
        return JSONResponse(order, 201)

    async def _call(self, service: str, typical_ms: float) -> None:
        latency_ms = min(self._random.lognormvariate(0, 0.5) * typical_ms, 2000)
        await asyncio.sleep(latency_ms / 1000)
        self.metrics.external.labels(service).observe(latency_ms)

    async def disturb(self) -> int | None:
        """Do what chaos mode does to a request; return a status code that replaces the answer, or None."""
        self.metrics.latency.set(0)
        if not self.chaos or self._random.random() > CHAOS_SHARE:
            return None
        match self._random.choice(("latency", "latency", "error", "restart")):
            case "latency":
                added_ms = self._random.uniform(50, 400)
                self.metrics.chaos.labels("latency").inc()
                self.metrics.latency.set(added_ms)
                await asyncio.sleep(added_ms / 1000)
                return None
            case "restart":
                self.metrics.chaos.labels("restart").inc()
                self.metrics.restarts.inc()
                return 503
        self.metrics.chaos.labels("error").inc()
        return 500


class _Measure:
    """Counts and times every request, by route template: a stranger's paths never become labels."""

    def __init__(self, app: ASGIApp, shop: Shop, routes: list[Route]) -> None:
        self.app, self.shop, self.routes = app, shop, routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        route, status = self._template(scope), 500
        started = time.perf_counter()

        async def remember(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        replaced = await self.shop.disturb() if route not in ("/metrics", "/health") else None
        app: ASGIApp = self.app if replaced is None else JSONResponse({"error": "chaos"}, replaced)
        try:
            await app(scope, receive, remember)
        finally:
            labels = (_method(scope), route, str(status))
            self.shop.metrics.requests.labels(*labels).inc()
            self.shop.metrics.duration.labels(*labels).observe(time.perf_counter() - started)

    def _template(self, scope: Scope) -> str:
        for route in self.routes:
            if route.matches(scope)[0] is not Match.NONE:
                return route.path.replace("{id:int}", ":id")
        return "unmatched"


def _method(scope: Scope) -> str:
    method: str = scope["method"]
    return method if method in ("GET", "POST", "HEAD", "PUT", "DELETE") else "other"
