"""Prometheus' API on expressions that are read and not evaluated: format, tree, exemplars."""

from __future__ import annotations

from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import Response

from metricsmith.api.body import Bodies
from metricsmith.api.errors import bad_data, json_response
from metricsmith.api.jsonout import JsonChunks
from metricsmith.api.params import MAX_TIME_MS, MIN_TIME_MS, read_params
from metricsmith.api.prometheus import ERRORS, GROUP, QUERY_PARAMETER
from metricsmith.api.routes import TIME, Handler, Operation, Parameter
from metricsmith.api.schemas import EMPTY_LIST, TEXT, TREE, Schema
from metricsmith.api.workers import Workers
from metricsmith.promql.parser import parse
from metricsmith.promql.pretty import pretty_expr
from metricsmith.promql.tree import tree_json


class ExpressionApi:
    """Says how an expression is understood."""

    def __init__(self, workers: Workers, bodies: Bodies) -> None:
        self._workers = workers
        self._bodies = bodies

    def operations(self) -> list[Operation]:
        """Return the operations of this group."""
        return [
            _operation(
                "format_query",
                self._format,
                "Return an expression as canonical text, long ones on several lines.",
                TEXT,
            ),
            _operation("parse_query", self._parse, "Return the tree of an expression.", TREE),
            _operation(
                "query_exemplars",
                self._exemplars,
                "Exemplars of the series in an expression; none are kept.",
                EMPTY_LIST,
                Parameter("start", "Begin of the range; all times when absent.", TIME),
                Parameter("end", "End of the range; all times when absent.", TIME),
            ),
        ]

    async def _format(self, request: Request) -> Response:
        text = await self._read(request, lambda query: pretty_expr(parse(query)))
        return json_response({"status": "success", "data": text})

    async def _parse(self, request: Request) -> Response:
        tree = await self._read(request, lambda query: tree_json(parse(query)))
        return JsonChunks([b'{"status":"success","data":', tree.encode(), b"}"])

    async def _exemplars(self, request: Request) -> Response:
        params = await read_params(request, self._bodies)
        start_ms, end_ms = params.time_ms("start", MIN_TIME_MS), params.time_ms("end", MAX_TIME_MS)
        if end_ms < start_ms:
            raise bad_data("end timestamp must not be before start timestamp")
        await self._workers.run(lambda: parse(params.text("query")))
        return json_response({"status": "success", "data": []})

    async def _read(self, request: Request, work: Callable[[str], str]) -> str:
        query = (await read_params(request, self._bodies)).text("query")
        return await self._workers.run(lambda: work(query))  # long texts take long


def _operation(name: str, handler: Handler, summary: str, answer: Schema, *more: Parameter) -> Operation:
    return Operation(
        f"/api/v1/{name}",
        ("GET", "POST"),
        handler,
        summary,
        GROUP,
        (QUERY_PARAMETER, *more),
        answers={200: "`data` is the answer.", **ERRORS},
        answer=answer,
    )
