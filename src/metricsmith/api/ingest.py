"""POST of metric messages: /api/v1/metrics and /api/v1/metrics/batch."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from anyio import to_thread
from starlette.requests import Request
from starlette.responses import Response

from metricsmith.api.body import Bodies, media_type
from metricsmith.api.context import ApiContext
from metricsmith.api.errors import ApiError, json_response, problems_error
from metricsmith.api.routes import Body, Operation
from metricsmith.api.schemas import ACCEPTED
from metricsmith.model.batch import Batch
from metricsmith.wire.messages import Message, TimeRange, batch_of, parse_batch, parse_message

GROUP = "Metric messages"
INLINE_BYTES = 64 << 10
"""Smaller bodies are decoded on the event loop: a thread hop would cost more."""

ERRORS = {
    400: "Not JSON.",
    408: "The body does not arrive in time.",
    413: "The body is too large.",
    415: "Not sent as application/json.",
    422: "Fields are wrong; `problems` names each.",
    503: "Cannot be accepted now; send it again.",
}
MESSAGE_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["service", "metrics"],
    "additionalProperties": False,
    "properties": {
        "service": {"type": "string"},
        "timestamp": {"type": "string", "description": "RFC 3339; UTC without a zone; now when absent."},
        "metrics": {
            "type": "object",
            "additionalProperties": {
                "oneOf": [{"type": "number"}, {"type": "string", "enum": ["NaN", "+Inf", "-Inf"]}]
            },
        },
        "tags": {"type": "object", "additionalProperties": {"type": "string"}},
    },
}
BATCH_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["metrics"],
    "properties": {"metrics": {"type": "array", "items": MESSAGE_SCHEMA}},
}
_EXAMPLE = {
    "service": "org.plantd.MyService",
    "timestamp": "2024-01-01T12:00:00Z",
    "metrics": {"custom_metric": 42.5},
    "tags": {"environment": "production"},
}


class IngestApi:
    """Takes metric messages; answers when they are durable and can be read."""

    def __init__(self, context: ApiContext, bodies: Bodies) -> None:
        self._context = context
        self._bodies = bodies

    def operations(self) -> list[Operation]:
        """Return the operations of this group."""
        answers = {201: "Accepted: durable and readable.", **ERRORS}
        return [
            Operation(
                "/api/v1/metrics",
                ("POST",),
                self._post_message,
                "Submit the metrics of one service at one time.",
                GROUP,
                body=Body("application/json", MESSAGE_SCHEMA, _EXAMPLE),
                answers=answers,
                answer=ACCEPTED,
                error=problems_error,
            ),
            Operation(
                "/api/v1/metrics/batch",
                ("POST",),
                self._post_batch,
                "Submit several messages: all are accepted, or none.",
                GROUP,
                body=Body("application/json", BATCH_SCHEMA, {"metrics": [_EXAMPLE]}),
                answers=answers,
                answer=ACCEPTED,
                error=problems_error,
            ),
        ]

    async def _post_message(self, request: Request) -> Response:
        return await self._take(request, lambda body, times: [parse_message(body, times)])

    async def _post_batch(self, request: Request) -> Response:
        return await self._take(request, parse_batch)

    async def _take(self, request: Request, parse: Callable[[bytes, TimeRange], list[Message]]) -> Response:
        # Asking for the JSON type keeps web pages of other origins from posting here unasked.
        if media_type(request) != "application/json":
            got = media_type(request) or "none"
            raise ApiError(
                "unsupported_media_type",
                f"got the content type {got[:100]}, wanted application/json"
                " (curl: -H 'Content-Type: application/json')",
            )
        if request.headers.get("content-encoding", "identity").lower() != "identity":
            got = request.headers["content-encoding"][:100]
            message = f"got the content encoding {got}, wanted a body that is not compressed"
            raise ApiError("unsupported_media_type", message)
        async with self._bodies.read(request, self._context.limits.max_body_bytes) as body:
            decode = partial(self._decode, body, parse)
            count, batch = decode() if len(body) <= INLINE_BYTES else await to_thread.run_sync(decode)
        left_out = await self._context.emit(batch)
        self._context.telemetry.count("metricsmith_push_samples_total", len(batch), protocol="json")
        kept = max(0, len(batch) - left_out.samples)
        return json_response({"status": "accepted", "messages": count, "samples": kept}, 201)

    def _decode(self, body: bytes, parse: Callable[[bytes, TimeRange], list[Message]]) -> tuple[int, Batch]:
        now_ms, limits = self._context.clock.now_ms(), self._context.limits
        times = TimeRange(now_ms - limits.max_age_ms, now_ms + limits.max_ahead_ms, now_ms)
        messages = parse(body, times)
        return len(messages), batch_of(messages, self._context.series)
