"""What a query does, step by step: /api/v1/explain."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from metricsmith.api.body import Bodies
from metricsmith.api.context import ApiContext
from metricsmith.api.errors import bad_parameter, json_response
from metricsmith.api.params import read_params
from metricsmith.api.prometheus import (
    ERRORS,
    GROUP,
    QUERY_PARAMETER,
    query_options,
    range_times,
    timeout_seconds,
)
from metricsmith.api.queries import Queries
from metricsmith.api.routes import DURATION, TIME, Operation, Parameter
from metricsmith.api.schemas import EXPLAIN
from metricsmith.model.progress import Progress


class ExplainApi:
    """Runs a query and answers with its plan and the figures of each step, in place of its result."""

    def __init__(self, context: ApiContext, queries: Queries, bodies: Bodies) -> None:
        self._context = context
        self._queries = queries
        self._bodies = bodies

    def operations(self) -> list[Operation]:
        """Return the operations of this group."""
        return [
            Operation(
                "/api/v1/explain",
                ("GET", "POST"),
                self._explain,
                "Run a query and say what each step of its plan did.",
                GROUP,
                (
                    QUERY_PARAMETER,
                    Parameter("time", "Evaluation time of an instant query; now when absent.", TIME),
                    Parameter("start", "First time of a range query.", TIME),
                    Parameter("end", "Last time of a range query.", TIME),
                    Parameter("step", "Time between steps of a range query.", DURATION),
                    Parameter("timeout", "Longest time of the query; the server's limit stays.", DURATION),
                    Parameter("lookback_delta", "How far an instant selector looks back.", DURATION),
                ),
                answers={200: "`data.steps` are in the order of their execution.", **ERRORS},
                answer=EXPLAIN,
            )
        ]

    async def _explain(self, request: Request) -> Response:
        params = await read_params(request, self._bodies)
        engine, query, options = self._context.engine, params.text("query"), query_options(params)
        times: tuple[int, int | None, int]
        if any(params.text(name) for name in ("start", "end", "step")):
            if params.text("time"):
                raise bad_parameter("time", "a range query has start, end and step, and no time")
            times = range_times(params, self._context.limits.max_steps)
        else:
            times = params.time_ms("time", self._context.clock.now_ms()), None, 0

        def answer(progress: Progress, timeout_s: float) -> dict[str, Any]:
            analysis = engine.analyze(query, *times, timeout_s=timeout_s, progress=progress, **options)
            return analysis.to_api()

        data = await self._queries.run(request, "explain", query, answer, timeout_seconds(params))
        return json_response({"status": "success", "data": data})
