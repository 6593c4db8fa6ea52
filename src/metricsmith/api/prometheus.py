"""Prometheus' query API: /api/v1/query and query_range."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from metricsmith.api.body import Bodies
from metricsmith.api.context import ApiContext
from metricsmith.api.errors import bad_data, bad_parameter
from metricsmith.api.jsonout import JsonChunks, query_answer
from metricsmith.api.params import Params, read_params
from metricsmith.api.queries import Queries
from metricsmith.api.routes import DURATION, NUMBER, TIME, Operation, Parameter
from metricsmith.api.schemas import QUERY
from metricsmith.model.progress import Progress
from metricsmith.model.query_result import Result
from metricsmith.model.selection import RaggedGroup
from metricsmith.store_contracts import QueryEngine

GROUP = "Prometheus query API"
ERRORS = {400: "Malformed request.", 422: "The query has no answer.", 503: "Time-out, or not ready."}
QUERY_PARAMETER = Parameter("query", "PromQL expression.", required=True)
_TIMEOUT = Parameter("timeout", "Longest time of the query; the server's limit stays.", DURATION)
_LOOKBACK = Parameter("lookback_delta", "How far an instant selector looks back.", DURATION)
_LIMIT = Parameter("limit", "Most series in the answer; 0 means all.", NUMBER)
_STATS = Parameter("stats", "Any text, such as `all`: say what the query took.")
TRUNCATED = "results truncated due to limit"
MAX_LIMIT = 999_999_999


class QueryApi:
    """Evaluates PromQL for clients."""

    def __init__(self, context: ApiContext, queries: Queries, bodies: Bodies) -> None:
        self._context = context
        self._bodies = bodies
        self._queries = queries
        self._engine: QueryEngine = context.server or context.engine

    def operations(self) -> list[Operation]:
        """Return the operations of this group."""
        both, answers = ("GET", "POST"), {200: "`data.resultType` and `data.result`.", **ERRORS}
        return [
            Operation(
                "/api/v1/query",
                both,
                self._query,
                "Evaluate an expression at one time.",
                GROUP,
                (
                    QUERY_PARAMETER,
                    Parameter("time", "Evaluation time; now when absent.", TIME),
                    _TIMEOUT,
                    _LOOKBACK,
                    _LIMIT,
                    _STATS,
                ),
                answers=answers,
                answer=QUERY,
            ),
            Operation(
                "/api/v1/query_range",
                both,
                self._query_range,
                "Evaluate an expression at each step of a range of time.",
                GROUP,
                (
                    QUERY_PARAMETER,
                    Parameter("start", "First time.", TIME, required=True),
                    Parameter("end", "Last time.", TIME, required=True),
                    Parameter("step", "Time between steps.", DURATION, required=True),
                    _TIMEOUT,
                    _LOOKBACK,
                    _LIMIT,
                    _STATS,
                ),
                answers=answers,
                answer=QUERY,
            ),
        ]

    async def _query(self, request: Request) -> Response:
        params = await self._params(request)
        time_ms = params.time_ms("time", self._context.clock.now_ms())
        evaluate = partial(self._engine.instant, params.text("query"), time_ms, **query_options(params))
        return await self._answer(request, "instant", params, evaluate)

    async def _query_range(self, request: Request) -> Response:
        params = await self._params(request)
        times = range_times(params, self._context.limits.max_steps)
        evaluate = partial(self._engine.range, params.text("query"), *times, **query_options(params))
        return await self._answer(request, "range", params, evaluate)

    async def _params(self, request: Request) -> Params:
        return await read_params(request, self._bodies)

    async def _answer(
        self, request: Request, kind: str, params: Params, evaluate: Callable[..., Result]
    ) -> Response:
        limit = params.count("limit", 0, MAX_LIMIT)

        clock, wants_stats = self._context.clock, bool(params.text("stats"))
        arrived = clock.monotonic()

        def answer(progress: Progress, timeout_s: float) -> list[bytes]:
            began = clock.monotonic()
            result = _cut(evaluate(progress=progress, timeout_s=timeout_s), limit)
            took = _stats(progress, began - arrived, clock.monotonic() - began) if wants_stats else None
            return query_answer(result, took, progress.check)

        text, timeout_s = params.text("query"), timeout_seconds(params)
        return JsonChunks(await self._queries.run(request, kind, text, answer, timeout_s))


def range_times(params: Params, max_steps: int) -> tuple[int, int, int]:
    """Return start, end and step of a range query, in milliseconds.

    Raises:
        ApiError: they are none, or too many steps.
    """
    start_ms, end_ms = params.time_ms("start"), params.time_ms("end")
    if end_ms < start_ms:
        raise bad_parameter("end", "end timestamp must not be before start time")
    step_ms = params.duration_ms("step")
    if step_ms <= 0:
        raise bad_parameter(
            "step", "zero or negative query resolution step widths are not accepted. Try a positive integer"
        )
    if (end_ms - start_ms) // step_ms > max_steps:
        raise bad_data(
            f"exceeded maximum resolution of {max_steps:,} points per timeseries. "
            "Try decreasing the query resolution (?step=XX)"
        )
    return start_ms, end_ms, step_ms


def timeout_seconds(params: Params) -> float | None:
    """Return how long a client lets its query take, None where it does not say."""
    return params.duration_ms("timeout") / 1000 if params.text("timeout") else None


def query_options(params: Params) -> dict[str, Any]:
    """Return what else a client may say of its query, as arguments of the engine."""
    options: dict[str, Any] = {}
    if params.text("lookback_delta"):
        options["lookback_ms"] = params.duration_ms("lookback_delta")
        if options["lookback_ms"] <= 0:
            raise bad_parameter("lookback_delta", "it must be above zero")
    return options


def _stats(progress: Progress, queued_s: float, evaluated_s: float) -> dict[str, Any]:
    """Return what a query took, in seconds and samples, in Prometheus' words."""
    inner_s = sum(step.seconds for step in progress.steps)
    return {
        "timings": {
            "evalTotalTime": evaluated_s,
            "resultSortTime": 0.0,
            "queryPreparationTime": max(0.0, evaluated_s - inner_s),
            "innerEvalTime": inner_s,
            "execQueueTime": queued_s,
            "execTotalTime": queued_s + evaluated_s,
        },
        "samples": {"totalQueryableSamples": progress.samples, "peakSamples": progress.peak_samples},
    }


def _cut(result: Result, limit: int) -> Result:
    """Return the result with at most `limit` series, and a warning when some are left out."""
    if not limit or len(result.keys) <= limit or result.type not in ("vector", "matrix"):
        return result
    raw = result.raw
    return replace(
        result,
        keys=result.keys[:limit],
        values=result.values[:limit],
        present=None if result.present is None else result.present[:limit],
        raw=raw and RaggedGroup(raw.rows[:limit], raw.offsets[: limit + 1], raw.times, raw.values, raw.stale),
        warnings=[*result.warnings, TRUNCATED],
    )
