"""The Starlette application: one route per path, made from the operations of each group."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import ExitStack

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from metricsmith.api.admin import AdminApi
from metricsmith.api.aggregate import AggregateApi
from metricsmith.api.answers import Answers, SlowReader, send_in_pieces
from metricsmith.api.backfill import BackfillApi
from metricsmith.api.body import Bodies
from metricsmith.api.compression import Compression
from metricsmith.api.context import AgentStatus, ApiContext, ApiLimits, MetricsPage
from metricsmith.api.errors import ApiError, prometheus_error, translate, unavailable
from metricsmith.api.explain import ExplainApi
from metricsmith.api.exposition import MetricsPageApi
from metricsmith.api.expressions import ExpressionApi
from metricsmith.api.federate import FederateApi
from metricsmith.api.health import HealthApi
from metricsmith.api.influx import InfluxApi
from metricsmith.api.ingest import IngestApi
from metricsmith.api.messages import MessagesApi
from metricsmith.api.notifications import NotificationsApi
from metricsmith.api.openapi import OpenApi
from metricsmith.api.origin import OPEN_PAGES, refuse_other_host
from metricsmith.api.otlp import OtlpApi
from metricsmith.api.prometheus import QueryApi
from metricsmith.api.pushgateway import PushgatewayApi
from metricsmith.api.queries import Queries
from metricsmith.api.read import RemoteReadApi
from metricsmith.api.routes import Operation
from metricsmith.api.rules import RulesApi
from metricsmith.api.series import SeriesApi
from metricsmith.api.server_info import ServerInfoApi
from metricsmith.api.sinks import SinksApi
from metricsmith.api.status import StatusApi
from metricsmith.api.targets import TargetsApi
from metricsmith.api.topics import TopicsApi
from metricsmith.api.workers import Workers
from metricsmith.api.write import RemoteWriteApi
from metricsmith.errors import ConfigError, Problem

__all__ = ["AgentStatus", "ApiContext", "ApiLimits", "MetricsPage", "create_app"]

log = logging.getLogger(__name__)

CLIENT_GONE = 499
"""Code under which a request is counted whose sender went away before it was read; nobody gets it."""


def create_app(context: ApiContext) -> Starlette:
    """Return the application that serves the whole API."""
    workers = Workers(context.limits.concurrent_queries, context.limits.queued_queries)
    queries = Queries(context, workers)
    bodies = Bodies(context.limits.max_bodies_bytes)
    answers = Answers(context.limits.max_answers_bytes)
    # Status and metrics have workers of their own: what takes long must not hide how the agent is.
    about = Workers(1, 200)
    operations = [
        *HealthApi(context).operations(),
        *StatusApi(context, Workers(1, 200)).operations(),
        *MetricsPageApi(context, Workers(1, 200)).operations(),
        *QueryApi(context, queries, bodies).operations(),
        *SeriesApi(context, workers, bodies).operations(),
        *ExpressionApi(workers, bodies).operations(),
        *FederateApi(context, queries, bodies).operations(),
        *TargetsApi(context, queries, about, bodies).operations(),
        *RulesApi(context, about, bodies).operations(),
        *NotificationsApi(context, about).operations(),
        *BackfillApi(context, bodies).operations(),
        *SinksApi(context, about, bodies).operations(),
        *AdminApi(context, bodies).operations(),
        *ServerInfoApi(context, about, bodies).operations(),
        *MessagesApi(context, workers, bodies).operations(),
        *AggregateApi(context, queries, bodies).operations(),
        *IngestApi(context, bodies).operations(),
        *RemoteWriteApi(context, bodies).operations(),
        *InfluxApi(context, bodies).operations(),
        *PushgatewayApi(context, bodies).operations(),
        *TopicsApi(context, about, bodies).operations(),
        *OtlpApi(context, bodies).operations(),
        *ExplainApi(context, queries, bodies).operations(),
        *RemoteReadApi(context, queries, bodies).operations(),
    ]
    operations += OpenApi(operations).operations()
    _check_metrics_path(context.metrics_path, operations)
    paths: dict[str, list[Operation]] = {}
    for operation in operations:
        paths.setdefault(operation.path, []).append(operation)
    compression = Compression()
    routes = [
        Route(path, _Endpoint(context, answers, compression, path, found)) for path, found in paths.items()
    ]
    return Starlette(routes=routes, exception_handlers={404: _Unknown(context)})


def _check_metrics_path(path: str, operations: Sequence[Operation]) -> None:
    if sum(operation.path == path and "GET" in operation.methods for operation in operations) > 1:
        message = f'got "{path}", which is another page of the agent, wanted one that is free'
        raise ConfigError([Problem("storage.metrics_path", message)])


class _Endpoint:
    """Serves one path: picks the operation, counts and times it, turns errors into answers."""

    def __init__(
        self,
        context: ApiContext,
        answers: Answers,
        compression: Compression,
        path: str,
        operations: Sequence[Operation],
    ) -> None:
        self._answers, self._compression = answers, compression
        self._telemetry, self._clock, self._status = context.telemetry, context.clock, context.status
        self._path, self._hosts = path, context.hosts
        self._open = path in OPEN_PAGES or path == context.metrics_path
        self._by_method = {method: o for o in operations for method in o.methods}
        if "GET" in self._by_method:
            self._by_method["HEAD"] = self._by_method["GET"]
        self._error = operations[0].error

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        began = self._clock.monotonic()
        response = await self._answer(request)
        with ExitStack() as held:
            try:
                held.enter_context(self._answers.hold(response))
                response = await self._compression.apply(request, response)
                held.close()  # what is held from here on is smaller, so there is room for it
                held.enter_context(self._answers.hold(response))
            except ApiError as error:
                response = self._refuse(error)
            self._count(request, began, response)
            try:
                await send_in_pieces(response, scope, receive, send)
            except SlowReader as error:
                self._telemetry.problem(
                    log,
                    "metricsmith_http_refused_total",
                    f"{self._path}: connection given up: {error}",
                    route=self._path,
                    reason="slow_reader",
                )

    def _count(self, request: Request, began: float, response: Response) -> None:
        method = request.method if request.method in self._by_method else "other"
        self._telemetry.observe(
            "metricsmith_http_request_seconds",
            self._clock.monotonic() - began,
            route=self._path,
            method=method,
        )
        self._telemetry.count(
            "metricsmith_http_requests_total",
            route=self._path,
            method=method,
            code=str(response.status_code),
        )

    async def _answer(self, request: Request) -> Response:
        try:
            if not (self._open and request.method in ("GET", "HEAD")):
                refuse_other_host(request, self._hosts)
        except ApiError as error:
            return self._refuse_host(error)
        operation = self._by_method.get(request.method)
        if operation is None:
            allowed = ", ".join(sorted(self._by_method))
            message = f"got {request.method[:20]}, wanted {allowed} for {self._path}"
            return self._refuse(ApiError("method_not_allowed", message, headers={"Allow": allowed}))
        try:
            if not operation.always and not self._status().serving:
                raise unavailable("the agent is starting or stopping; /-/ready says when it serves")
            return await operation.handler(request)
        except ClientDisconnect:
            return Response(status_code=CLIENT_GONE)
        except Exception as error:
            told = translate(error)
            if told is None:
                log.exception("%s %s failed", request.method, self._path)
                told = ApiError("internal", "internal error; the agent's log says more")
            return self._refuse(told)

    def _refuse_host(self, error: ApiError) -> Response:
        """Tell the log, too: where it is a name of ours, somebody has to add it to the settings."""
        name, told = "metricsmith_http_refused_total", f"{self._path}: refused: {error}"
        self._telemetry.problem(log, name, told, route=self._path, reason=error.kind)
        return self._error(error)

    def _refuse(self, error: ApiError) -> Response:
        if error.kind not in ("execution", "timeout"):
            self._telemetry.count("metricsmith_http_refused_total", route=self._path, reason=error.kind)
        return self._error(error)


class _Unknown:
    """Answers for paths that are not served."""

    def __init__(self, context: ApiContext) -> None:
        self._telemetry = context.telemetry

    async def __call__(self, request: Request, error: Exception) -> Response:
        self._telemetry.count("metricsmith_http_requests_total", route="unknown", method="other", code="404")
        path = request.url.path[:200]
        return prometheus_error(
            ApiError("not_found", f"nothing is served at {path}; /openapi.json lists what is")
        )
