"""Aggregates of metrics over time: /api/v1/metrics/aggregate.

Aggregation has no engine of its own: each function is a PromQL `…_over_time` whose window is a bucket.
Windows of PromQL are open on the left and closed on the right; buckets are [b, b + interval). With times
in whole milliseconds the bucket is exactly the window of length `interval` that ends at b + interval − 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from starlette.requests import Request
from starlette.responses import Response

from metricsmith.api.body import Bodies
from metricsmith.api.context import ApiContext
from metricsmith.api.errors import bad_parameter, json_response, problems_error
from metricsmith.api.messages import (
    END_PARAMETER,
    ERRORS,
    GROUP,
    SERVICE_PARAMETER,
    Span,
    matchers_of,
    read_span,
)
from metricsmith.api.params import Params, quoted, read_params
from metricsmith.api.queries import Queries
from metricsmith.api.routes import TIME, Operation, Parameter
from metricsmith.api.schemas import BUCKETS
from metricsmith.errors import QueryLimitExceeded
from metricsmith.model.duration import format_duration
from metricsmith.model.labels import NAME_LABEL, decode_labels, escape_value
from metricsmith.model.progress import Progress
from metricsmith.model.query_result import Result
from metricsmith.wire.messages import SERVICE, format_timestamp, json_value

DEFAULT_RANGE_MS = 3_600_000
DEFAULT_INTERVAL_MS = 60_000
MAX_INTERVAL_MS = 10 * 365 * 86_400_000
MAX_BUCKETS = 11_000
MAX_VALUES = 1_000_000
FUNCTIONS = {
    "avg": "avg_over_time(",
    "min": "min_over_time(",
    "max": "max_over_time(",
    "sum": "sum_over_time(",
    "count": "count_over_time(",
    "last": "last_over_time(",
    "p50": "quantile_over_time(0.5, ",
    "p95": "quantile_over_time(0.95, ",
    "p99": "quantile_over_time(0.99, ",
}
"""What each aggregate function is in PromQL, up to its range argument."""

_INTERVAL = {"type": "string", "default": "1m"}
_AGGREGATE = (
    Parameter("metric", "The metric, or a short name such as cpu_usage.", required=True),
    SERVICE_PARAMETER,
    Parameter("start", "Begin; one hour before the end when absent.", TIME),
    END_PARAMETER,
    Parameter("interval", "Length of a bucket, which holds [begin, begin + interval).", _INTERVAL),
    Parameter("func", "The function.", {"type": "string", "enum": list(FUNCTIONS), "default": "avg"}),
)


class AggregateApi:
    """Answers one value per bucket of time."""

    def __init__(self, context: ApiContext, queries: Queries, bodies: Bodies) -> None:
        self._context = context
        self._bodies = bodies
        self._queries = queries

    def operations(self) -> list[Operation]:
        """Return the operations of this group."""
        return [
            Operation(
                "/api/v1/metrics/aggregate",
                ("GET",),
                self._aggregate,
                "One value per bucket of time for each series; buckets are aligned to the Unix epoch.",
                GROUP,
                _AGGREGATE,
                answers={200: "`series` lists service, tags and buckets.", **ERRORS},
                answer=BUCKETS,
                error=problems_error,
            ),
        ]

    async def _aggregate(self, request: Request) -> Response:
        params = await read_params(request, self._bodies)
        params.refuse_unknown([p.name for p in _AGGREGATE])
        if not params.text("metric"):
            raise bad_parameter("metric", "is missing", "nothing", "the name of a metric")
        function, interval_ms = _function(params), _interval_ms(params)
        span = _whole_buckets(read_span(params, self._context, DEFAULT_RANGE_MS), interval_ms)
        context = self._context

        def answer(progress: Progress, timeout_s: float) -> Response:
            matchers = matchers_of(context.store, params, span)
            selector = "{" + ",".join(f'"{m.name}"{m.op}"{escape_value(m.value)}"' for m in matchers) + "}"
            text = f"{FUNCTIONS[function]}{selector}[{interval_ms}ms])"
            series = []
            if span.start_ms < span.end_ms:
                first_end_ms = span.start_ms + interval_ms - 1
                result = context.engine.range(
                    text, first_end_ms, span.end_ms, interval_ms, timeout_s=timeout_s, progress=progress
                )
                series = _bucket_series(result, interval_ms)
            metric, interval = matchers[0].value, format_duration(interval_ms)
            return json_response({"metric": metric, "func": function, "interval": interval, "series": series})

        asked = f"{function} of {params.text('metric')}"
        return await self._queries.run(request, "aggregate", asked, answer)


def _function(params: Params) -> str:
    name = params.text("func") or "avg"
    if name not in FUNCTIONS:
        wanted = "one of " + ", ".join(FUNCTIONS)
        raise bad_parameter("func", f"got {quoted(name)}, wanted {wanted}", quoted(name), wanted)
    return name


def _interval_ms(params: Params) -> int:
    if not (text := params.text("interval")):
        return DEFAULT_INTERVAL_MS
    interval_ms = params.duration_ms("interval")
    if not 0 < interval_ms <= MAX_INTERVAL_MS:
        wanted = f"above zero and at most {format_duration(MAX_INTERVAL_MS)}"
        raise bad_parameter("interval", f"got {quoted(text)}, wanted {wanted}", quoted(text), wanted)
    return interval_ms


def _whole_buckets(span: Span, interval_ms: int) -> Span:
    """Return the range of the buckets in which the range begins and ends: first and last millisecond."""
    first_ms = span.start_ms - span.start_ms % interval_ms
    end_ms = span.end_ms - span.end_ms % interval_ms + interval_ms - 1
    buckets = (end_ms - first_ms + 1) // interval_ms
    if buckets > MAX_BUCKETS:
        wanted = f"at most {MAX_BUCKETS}: a longer interval or a shorter range"
        raise bad_parameter(
            "interval", f"got {buckets} buckets, wanted {wanted}", f"{buckets} buckets", wanted
        )
    return Span(first_ms, end_ms)


def _bucket_series(result: Result, interval_ms: int) -> list[dict[str, Any]]:
    if result.values.size > MAX_VALUES:
        raise QueryLimitExceeded(
            f"got {len(result.keys)} series of {len(result.steps)} buckets, wanted at most "
            f"{MAX_VALUES:,} values: give a service, a longer interval, or a shorter range",
            "points",
        )
    begins = [format_timestamp(end - interval_ms + 1) for end in result.steps.tolist()]
    series = []
    for row, key in enumerate(result.keys):
        tags = decode_labels(key)
        tags.pop(NAME_LABEL, None)  # last_over_time keeps it
        values = result.values[row].tolist()
        steps: Sequence[int] = range(len(begins))
        if result.present is not None:
            steps = np.flatnonzero(result.present[row]).tolist()
        buckets = [{"start": begins[step], "value": json_value(values[step])} for step in steps]
        series.append({"service": tags.pop(SERVICE, ""), "tags": tags, "buckets": buckets})
    return series
