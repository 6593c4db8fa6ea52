"""The OTLP receiver: POST /v1/metrics."""

from __future__ import annotations

import asyncio
import logging
from functools import partial

from anyio import to_thread
from starlette.requests import Request
from starlette.responses import Response

from metricsmith.api.body import Bodies, media_type
from metricsmith.api.context import ApiContext
from metricsmith.api.errors import ApiError, translate, unavailable
from metricsmith.api.routes import Body, Operation
from metricsmith.model.left_out import NOTHING, LeftOut
from metricsmith.wire.gunzip import gunzip
from metricsmith.wire.otlp.answers import export_response, status
from metricsmith.wire.otlp.decode import Decoded, OtlpDecoder
from metricsmith.wire.otlp.json_form import protobuf_of

log = logging.getLogger(__name__)

PATHS = ("/v1/metrics", "/api/v1/otlp/v1/metrics")
PROTOBUF, JSON = "application/x-protobuf", "application/json"
INLINE_BYTES = 32 << 10
"""Smaller bodies are decoded on the event loop: a thread hop would cost more."""

_GRPC_CODES = {400: 3, 403: 7, 404: 5, 405: 12, 413: 8, 415: 3, 503: 14}
_INTERNAL = 13
_ANSWERS = {
    200: "Accepted: durable and readable. `partialSuccess` tells what of it is not.",
    400: "Malformed; not to be sent again.",
    413: "The body is too large; send fewer points per request.",
    415: "Neither Protobuf nor JSON, or compressed otherwise than by gzip.",
    503: "Cannot be accepted now; send it again.",
}


class OtlpApi:
    """Takes metrics from OpenTelemetry; answers when they are durable and can be read."""

    def __init__(self, context: ApiContext, bodies: Bodies) -> None:
        self._context = context
        self._bodies = bodies
        self._decoder = OtlpDecoder(context.series, context.otlp)
        self._decoding = asyncio.Lock()  # the decoder serves one thread at a time

    def operations(self) -> list[Operation]:
        """Return the operations of this group."""
        return [
            Operation(
                path,
                ("POST",),
                self._post,
                "Receive metrics by OTLP over HTTP.",
                "OpenTelemetry",
                body=Body(PROTOBUF, {"type": "string", "format": "binary"}, also={JSON: {"type": "object"}}),
                answers=_ANSWERS,
                media_type=PROTOBUF,
                error=lambda error: _refusal(error, as_json=True),
                always=True,  # a refusal at start is told in the sender's own form
            )
            for path in PATHS
        ]

    async def _post(self, request: Request) -> Response:
        as_json = media_type(request) == JSON
        try:
            if not self._context.status().serving:
                raise unavailable("the agent is starting or stopping")
            return await self._take(request, as_json)
        except Exception as error:
            told = translate(error)
            if told is None:
                raise
            if told.kind == "request_timeout":  # senders of OTLP repeat a 503, and drop at a 408
                told = unavailable(str(told))
            self._context.telemetry.count(
                "metricsmith_http_refused_total", route=request.url.path, reason=told.kind
            )
            return _refusal(told, as_json=as_json)

    async def _take(self, request: Request, as_json: bool) -> Response:
        encoding = _check_headers(request)
        limit = self._context.limits.max_body_bytes
        async with self._bodies.read(request, limit) as body, self._decoding:
            decode = partial(self._decode, body, encoding == "gzip", as_json)
            decoded = decode() if len(body) <= INLINE_BYTES else await to_thread.run_sync(decode)
            if decoded.commit is not None:  # sums must not be asked for until these are accepted
                left_out = await self._accept(decoded)
                decoded.commit()
        if decoded.commit is None:
            left_out = await self._accept(decoded)
        self._count(decoded)
        answer = export_response(*_refused(decoded, left_out), as_json=as_json)
        return Response(answer, media_type=JSON if as_json else PROTOBUF)

    def _decode(self, body: bytes, compressed: bool, as_json: bool) -> Decoded:
        plain = gunzip(body, self._context.limits.max_body_bytes) if compressed else body
        return self._decoder.decode(protobuf_of(plain) if as_json else plain, self._context.clock.now_ms())

    async def _accept(self, decoded: Decoded) -> LeftOut:
        if len(decoded.batch) or decoded.batch.layout.metadata:
            return await self._context.emit(decoded.batch)
        return NOTHING

    def _count(self, decoded: Decoded) -> None:
        telemetry = self._context.telemetry
        telemetry.count("metricsmith_push_samples_total", len(decoded.batch), protocol="otlp")
        for reason, points in decoded.rejected.items():
            telemetry.problem(
                log,
                "metricsmith_samples_dropped_total",
                f"OTLP: {points} points are not taken: {decoded.message}",
                amount=points,
                component="otlp",
                reason=reason,
            )
        if decoded.exemplars:
            telemetry.problem(
                log,
                "metricsmith_samples_dropped_total",
                f"OTLP: {decoded.exemplars} exemplars skipped: they are not supported",
                amount=decoded.exemplars,
                level=logging.DEBUG,  # instrumented programs send them all the time
                component="otlp",
                reason="exemplar",
            )


def _refused(decoded: Decoded, left_out: LeftOut) -> tuple[int, str]:
    """Return how many points are not kept, and why."""
    rejected = sum(decoded.rejected.values())
    if left_out.samples:  # a point of a histogram is several samples
        rejected = min(rejected + left_out.samples, decoded.points)
    return rejected, "; ".join(filter(None, (decoded.message, *left_out.reasons())))


def _check_headers(request: Request) -> str:
    """Return the encoding of the body, empty for none."""
    kind = media_type(request)
    if kind not in (PROTOBUF, JSON):
        raise _unsupported(f"got Content-Type {kind[:80] or 'none'}, wanted {PROTOBUF} or {JSON}")
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("gzip", "identity", ""):
        raise _unsupported(f"got Content-Encoding {encoding[:40]}, wanted gzip or none")
    return encoding


def _unsupported(message: str) -> ApiError:
    return ApiError("unsupported_media_type", message)


def _refusal(error: ApiError, *, as_json: bool) -> Response:
    body = status(_GRPC_CODES.get(error.status, _INTERNAL), str(error), as_json=as_json)
    return Response(body, error.status, media_type=JSON if as_json else PROTOBUF, headers=error.headers)
