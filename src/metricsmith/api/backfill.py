"""Backfill of recording rules: POST /api/v1/rules/backfill, as `metricsmith rules backfill` asks for it."""

from __future__ import annotations

from typing import Annotated, Any

import orjson
from pydantic import Field, ValidationError
from starlette.requests import Request
from starlette.responses import Response

from metricsmith.api.body import Bodies, media_type
from metricsmith.api.context import ApiContext
from metricsmith.api.errors import ApiError, bad_data, json_response
from metricsmith.api.prometheus import GROUP
from metricsmith.api.routes import Body, Operation
from metricsmith.api.schemas import BACKFILL
from metricsmith.contracts import PartConfig
from metricsmith.errors import ConfigError
from metricsmith.model.duration import format_duration
from metricsmith.model.wording import mistakes
from metricsmith.model.yaml_lines import MAX_BYTES, show
from metricsmith.rules.backfill import BackfillRequest

_TIME = {"type": "integer", "description": "Milliseconds since the Unix epoch."}
_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["rules", "group", "start_ms", "end_ms"],
    "additionalProperties": False,
    "properties": {
        "file": {"type": "string", "description": "Name of the rule file, for messages."},
        "rules": {"type": "string", "description": "The rule file."},
        "group": {"type": "string", "description": "The group of it that is meant."},
        "start_ms": _TIME,
        "end_ms": _TIME,
        "interval_ms": {"type": "integer", "description": "That of the group when absent.", "minimum": 1},
        "continued": {"type": "boolean", "description": "Whether an earlier request went until the start."},
    },
}


class _Order(PartConfig):
    file: Annotated[str, Field(max_length=4096)] = "rules"
    rules: Annotated[str, Field(max_length=MAX_BYTES)]
    group: Annotated[str, Field(max_length=1000)]
    start_ms: Annotated[int, Field(ge=0, le=1 << 53)]
    end_ms: Annotated[int, Field(ge=0, le=1 << 53)]
    interval_ms: Annotated[int, Field(ge=1, le=1 << 53)] | None = None
    continued: bool = False


class BackfillApi:
    """Has recording rules evaluated over the past."""

    def __init__(self, context: ApiContext, bodies: Bodies) -> None:
        self._context = context
        self._bodies = bodies

    def operations(self) -> list[Operation]:
        """Return the operations of this group."""
        return [
            Operation(
                "/api/v1/rules/backfill",
                ("POST",),
                self._post,
                "Evaluate the recording rules of a group over the past, for some seconds; `nextMs` goes on.",
                GROUP,
                body=Body("application/json", _SCHEMA),
                answers={
                    200: "What is recorded is durable and readable.",
                    400: "Malformed, rules with mistakes, or a range that is not kept.",
                    413: "The body is too large.",
                    415: "Not sent as application/json.",
                    422: "Another backfill runs.",
                    503: "Cannot be accepted now; send it again.",
                },
                answer=BACKFILL,
            )
        ]

    async def _post(self, request: Request) -> Response:
        # Asking for the JSON type keeps web pages of other origins from posting here unasked.
        if media_type(request) != "application/json":
            got = media_type(request)[:100] or "none"
            raise ApiError("unsupported_media_type", f"got the content type {got}, wanted application/json")
        async with self._bodies.read(request, self._context.limits.max_body_bytes) as body:
            order = _order(body)
        self._check(order)
        asked = BackfillRequest(
            order.file,
            order.rules,
            order.group,
            order.start_ms,
            order.end_ms,
            order.interval_ms,
            order.continued,
        )
        try:
            done = await self._context.backfill(asked)
        except ConfigError as error:
            raise bad_data(str(error)) from None
        data = {
            "rounds": done.rounds,
            "samples": done.samples,
            "nextMs": done.next_ms,
            "failures": list(done.failures),
        }
        return json_response({"status": "success", "data": data})

    def _check(self, order: _Order) -> None:
        now_ms, kept_ms = self._context.clock.now_ms(), self._context.limits.max_age_ms
        if order.end_ms < order.start_ms:
            raise bad_data(f"got the end {order.end_ms} before the start {order.start_ms}")
        if order.end_ms > now_ms:
            raise bad_data(f"got an end {format_duration(order.end_ms - now_ms)} ahead, wanted the past")
        if order.start_ms < now_ms - kept_ms:
            raise bad_data(
                f"got a start {format_duration((now_ms - order.start_ms) // 1000 * 1000)} ago,"
                f" wanted at most {format_duration(kept_ms)}: older samples are not kept (storage.retention)"
            )


def _order(body: bytes) -> _Order:
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise bad_data(f"the body is not JSON: {error}") from None
    if not isinstance(data, dict):
        raise bad_data("got no JSON object, wanted one with rules, group, start_ms and end_ms")
    try:
        return _Order.model_validate(data, strict=True)
    except ValidationError as error:
        found = (f"{show(place)}: {message}" for place, message, _ in mistakes(_Order, data, (), error))
        raise bad_data("; ".join(found)) from None
