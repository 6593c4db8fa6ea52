"""GET of metric messages: /api/v1/metrics, and of aggregates over time: /api/v1/metrics/aggregate.

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
from metricsmith.api.params import Params, quoted, read_params
from metricsmith.api.recent import Cursor, recent_messages
from metricsmith.api.routes import TIME, Operation, Parameter
from metricsmith.api.workers import Workers
from metricsmith.errors import QueryLimitExceeded
from metricsmith.model.aliases import resolve_alias
from metricsmith.model.duration import format_duration
from metricsmith.model.labels import NAME_LABEL, decode_labels, escape_value
from metricsmith.model.matchers import Matcher, MatchOp
from metricsmith.promql.result import Result
from metricsmith.wire.messages import SERVICE, format_timestamp, json_value

GROUP = "Metric messages"
DEFAULT_LIMIT, MAX_LIMIT = 100, 10_000
DEFAULT_RANGE_MS = 3_600_000
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

_ERRORS = {400: "A parameter is wrong; `problems` names it.", 422: "Too much to answer.", 503: "Time-out."}
_SERVICE = Parameter("service", "Only this service.")
_START = Parameter("start", "Begin of the range, included.", TIME)
_END = Parameter("end", "End of the range, included; now when absent.", TIME)
_INTERVAL = {"type": "string", "default": "1m"}
_LIMIT = {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT}
_MESSAGES = (
    _SERVICE,
    Parameter("metric", "Only this metric; short names such as cpu_usage are understood."),
    _START,
    _END,
    Parameter("limit", "Most messages in the answer.", _LIMIT),
    Parameter("cursor", "`cursor` of the page before."),
)
_AGGREGATE = (
    Parameter("metric", "The metric, or a short name such as cpu_usage.", required=True),
    _SERVICE,
    Parameter("start", "Begin; one hour before the end when absent.", TIME),
    _END,
    Parameter("interval", "Length of a bucket, which holds [begin, begin + interval).", _INTERVAL),
    Parameter("func", "The function.", {"type": "string", "enum": list(FUNCTIONS), "default": "avg"}),
)


class MessagesApi:
    """Gives back what services sent, as messages and as aggregates."""

    def __init__(self, context: ApiContext, workers: Workers, bodies: Bodies) -> None:
        self._context = context
        self._bodies = bodies
        self._workers = workers

    def operations(self) -> list[Operation]:
        """Return the operations of this group."""
        return [
            Operation(
                "/api/v1/metrics",
                ("GET",),
                self.messages,
                "Messages, newest first.",
                GROUP,
                _MESSAGES,
                answers={200: "`metrics` lists messages; `cursor` is set when more follow.", **_ERRORS},
                error=problems_error,
            ),
            Operation(
                "/api/v1/metrics/aggregate",
                ("GET",),
                self.aggregate,
                "One value per bucket of time for each series; buckets are aligned to the Unix epoch.",
                GROUP,
                _AGGREGATE,
                answers={200: "`series` lists service, tags and buckets.", **_ERRORS},
                error=problems_error,
            ),
        ]

    async def messages(self, request: Request) -> Response:
        params = await read_params(request, self._bodies)
        params.refuse_unknown([p.name for p in _MESSAGES])
        now_ms = self._context.clock.now_ms()
        limits = self._context.limits
        end_ms = params.time_ms("end", now_ms + limits.max_ahead_ms)
        start_ms = params.time_ms("start", now_ms - limits.max_age_ms)
        _check_range(params, start_ms, end_ms)
        limit = params.count("limit", DEFAULT_LIMIT, MAX_LIMIT, least=1)
        after = _cursor(params.text("cursor"))
        # Nothing older than the retention exists, so looking further back costs time only.
        start_ms = max(start_ms, now_ms - limits.max_age_ms)

        def answer() -> Response:
            matchers = self._matchers(params, start_ms, end_ms)
            store = self._context.store
            found, cursor = recent_messages(store, matchers, start_ms, end_ms, limit, after)
            return json_response({"metrics": found, "cursor": None if cursor is None else cursor.text()})

        return await self._workers.run(answer)

    async def aggregate(self, request: Request) -> Response:
        params = await read_params(request, self._bodies)
        params.refuse_unknown([p.name for p in _AGGREGATE])
        end_ms = params.time_ms("end", self._context.clock.now_ms())
        start_ms = params.time_ms("start", end_ms - DEFAULT_RANGE_MS)
        _check_range(params, start_ms, end_ms)
        if not params.text("metric"):
            raise bad_parameter("metric", "is missing", "nothing", "the name of a metric")
        interval_ms = params.duration_ms("interval") if params.text("interval") else 60_000
        if interval_ms <= 0:
            text = quoted(params.text("interval"))
            raise bad_parameter("interval", f"got {text}, wanted one above zero", text, "one above zero")
        function = params.text("func") or "avg"
        if function not in FUNCTIONS:
            wanted = "one of " + ", ".join(FUNCTIONS)
            raise bad_parameter("func", f"got {quoted(function)}, wanted {wanted}", quoted(function), wanted)
        first_ms, last_ms = start_ms - start_ms % interval_ms, end_ms - end_ms % interval_ms
        buckets = (last_ms - first_ms) // interval_ms + 1
        if buckets > MAX_BUCKETS:
            wanted = f"at most {MAX_BUCKETS}: a longer interval or a shorter range"
            raise bad_parameter(
                "interval", f"got {buckets} buckets, wanted {wanted}", f"{buckets} buckets", wanted
            )

        def answer() -> Response:
            matchers = self._matchers(params, first_ms, last_ms + interval_ms - 1)
            selector = "{" + ",".join(f'"{m.name}"{m.op}"{escape_value(m.value)}"' for m in matchers) + "}"
            text = f"{FUNCTIONS[function]}{selector}[{interval_ms}ms])"
            ends = (first_ms + interval_ms - 1, last_ms + interval_ms - 1)
            result = self._context.engine.range(text, *ends, interval_ms)
            return json_response(
                {
                    "metric": matchers[0].value,
                    "func": function,
                    "interval": format_duration(interval_ms),
                    "series": _bucket_series(result, interval_ms),
                }
            )

        return await self._workers.run(answer)

    def _matchers(self, params: Params, start_ms: int, end_ms: int) -> list[Matcher]:
        """Return the matchers of metric and service; a short name is looked up among the service's series."""
        service = [Matcher(SERVICE, MatchOp.EQ, value)] if (value := params.text("service")) else []
        if not (name := params.text("metric")):
            return service

        def exists(metric: str) -> bool:
            named = Matcher(NAME_LABEL, MatchOp.EQ, metric)
            return bool(self._context.store.series([named, *service], start_ms, end_ms))

        return [Matcher(NAME_LABEL, MatchOp.EQ, resolve_alias(name, exists)), *service]


def _bucket_series(result: Result, interval_ms: int) -> list[dict[str, Any]]:
    if result.values.size > MAX_VALUES:
        raise QueryLimitExceeded(
            f"got {len(result.keys)} series of {len(result.steps)} buckets, wanted at most "
            f"{MAX_VALUES:,} values: give a service, a longer interval, or a shorter range"
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


def _check_range(params: Params, start_ms: int, end_ms: int) -> None:
    if end_ms < start_ms:
        wanted = "a time not before start"
        raise bad_parameter(
            "end", "end timestamp must not be before start time", quoted(params.text("end")), wanted
        )


def _cursor(text: str) -> Cursor | None:
    cursor = Cursor.parse(text) if text else None
    if text and cursor is None:
        wanted = "the cursor of an earlier answer, unchanged"
        raise bad_parameter("cursor", f"got {quoted(text)}, wanted {wanted}", quoted(text), wanted)
    return cursor
