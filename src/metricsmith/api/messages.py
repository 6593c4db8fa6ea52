"""GET of metric messages: /api/v1/metrics, newest first, page by page."""

from __future__ import annotations

from typing import NamedTuple

from starlette.requests import Request
from starlette.responses import Response

from metricsmith.api.body import Bodies
from metricsmith.api.context import ApiContext
from metricsmith.api.errors import bad_parameter, json_response, problems_error
from metricsmith.api.params import Params, quoted, read_params
from metricsmith.api.recent import Cursor, recent_messages
from metricsmith.api.routes import TIME, Operation, Parameter
from metricsmith.api.schemas import MESSAGES
from metricsmith.api.workers import Workers
from metricsmith.model.aliases import resolve_alias
from metricsmith.model.labels import NAME_LABEL
from metricsmith.model.matchers import Matcher, MatchOp
from metricsmith.store_contracts import Readable
from metricsmith.wire.messages import SERVICE

GROUP = "Metric messages"
DEFAULT_LIMIT, MAX_LIMIT = 100, 10_000
ERRORS = {400: "A parameter is wrong; `problems` names it.", 422: "Too much to answer.", 503: "Time-out."}
SERVICE_PARAMETER = Parameter("service", "Only this service.")
_START = Parameter("start", "Begin of the range, included.", TIME)
END_PARAMETER = Parameter("end", "End of the range, included; now when absent.", TIME)
_LIMIT = {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT}
_MESSAGES = (
    SERVICE_PARAMETER,
    Parameter("metric", "Only this metric; short names such as cpu_usage are understood."),
    _START,
    END_PARAMETER,
    Parameter("limit", "Most messages in the answer.", _LIMIT),
    Parameter("cursor", "`cursor` of the page before."),
)


class Span(NamedTuple):
    """A closed range of time; empty when its end is before its start."""

    start_ms: int
    end_ms: int


class MessagesApi:
    """Gives back what services sent."""

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
                self._messages,
                "Messages, newest first.",
                GROUP,
                _MESSAGES,
                answers={200: "`metrics` lists messages; `cursor` is set when more follow.", **ERRORS},
                answer=MESSAGES,
                error=problems_error,
            ),
        ]

    async def _messages(self, request: Request) -> Response:
        params = await read_params(request, self._bodies)
        params.refuse_unknown([p.name for p in _MESSAGES])
        span = read_span(params, self._context)
        limit = params.count("limit", DEFAULT_LIMIT, MAX_LIMIT, least=1)
        after = _cursor(params.text("cursor"))
        store = self._context.store

        def answer() -> Response:
            matchers = matchers_of(store, params, span)
            found, cursor = recent_messages(store, matchers, span.start_ms, span.end_ms, limit, after)
            return json_response({"metrics": found, "cursor": None if cursor is None else cursor.text()})

        return await self._workers.run(answer)


def matchers_of(store: Readable, params: Params, span: Span) -> list[Matcher]:
    """Return the matchers of metric and service; a short name is looked up among the service's series."""
    service = [Matcher(SERVICE, MatchOp.EQ, value)] if (value := params.text("service")) else []
    if not (name := params.text("metric")):
        return service

    def exists(metric: str) -> bool:
        named = Matcher(NAME_LABEL, MatchOp.EQ, metric)
        return bool(store.series([named, *service], span.start_ms, span.end_ms))

    return [Matcher(NAME_LABEL, MatchOp.EQ, resolve_alias(name, exists)), *service]


def read_span(params: Params, context: ApiContext, default_ms: int | None = None) -> Span:
    """Return the range from `start` to `end`, cut to the times that the store can hold.

    Without `start` it is `default_ms` long, or as long as the store's history.
    """
    now_ms, limits = context.clock.now_ms(), context.limits
    oldest_ms, newest_ms = now_ms - limits.max_age_ms, now_ms + limits.max_ahead_ms
    end_ms = params.time_ms("end", newest_ms if default_ms is None else now_ms)
    start_ms = params.time_ms("start", oldest_ms if default_ms is None else end_ms - default_ms)
    if end_ms < start_ms:
        got, wanted = quoted(params.text("end")), "a time not before start"
        raise bad_parameter("end", "end timestamp must not be before start time", got, wanted)
    return Span(max(start_ms, oldest_ms), min(end_ms, newest_ms))


def _cursor(text: str) -> Cursor | None:
    cursor = Cursor.parse(text) if text else None
    if text and cursor is None:
        wanted = "the cursor of an earlier answer, unchanged"
        raise bad_parameter("cursor", f"got {quoted(text)}, wanted {wanted}", quoted(text), wanted)
    return cursor
