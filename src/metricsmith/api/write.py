"""The remote-write 1.0 receiver: POST /api/v1/write."""

from __future__ import annotations

import asyncio
import logging
from functools import partial

from anyio import to_thread
from starlette.requests import Request
from starlette.responses import Response

from metricsmith.api.body import Bodies, media_type
from metricsmith.api.context import ApiContext
from metricsmith.api.errors import ApiError
from metricsmith.api.routes import Body, Operation
from metricsmith.wire.remote_write import RemoteWriteDecoder, WriteRequest

log = logging.getLogger(__name__)

PROTOBUF = "application/x-protobuf"
INLINE_BYTES = 32 << 10
"""Smaller bodies are decoded on the event loop: a thread hop would cost more."""

_WANTED = "wanted remote write 1.0: application/x-protobuf (prometheus.WriteRequest), snappy"


class RemoteWriteApi:
    """Takes remote-write requests; answers 204 when their samples are durable and can be read."""

    def __init__(self, context: ApiContext, bodies: Bodies) -> None:
        self._context = context
        self._bodies = bodies
        self._decoder = RemoteWriteDecoder(context.series)
        self._decoding = asyncio.Lock()  # the decoder serves one thread at a time

    def operations(self) -> list[Operation]:
        """Return the operations of this group."""
        return [
            Operation(
                "/api/v1/write",
                ("POST",),
                self._write,
                "Receive samples by Prometheus remote write 1.0.",
                "Remote write",
                body=Body(PROTOBUF, {"type": "string", "format": "binary"}),
                answers={
                    204: "Accepted: durable and readable.",
                    400: "Malformed; not to be sent again.",
                    408: "The body does not arrive in time.",
                    413: "The body is too large; send fewer samples per request.",
                    415: "Not remote write 1.0.",
                    503: "Cannot be accepted now; send it again.",
                },
            )
        ]

    async def _write(self, request: Request) -> Response:
        _check_headers(request)
        limit = self._context.limits.max_body_bytes
        async with self._bodies.read(request, limit) as body, self._decoding:
            decode = partial(self._decoder.decode, body, max_decompressed=limit)
            decoded = decode() if len(body) <= INLINE_BYTES else await to_thread.run_sync(decode)
        self._count_skipped(decoded)
        if len(decoded.batch) or decoded.batch.layout.metadata:
            await self._context.emit(decoded.batch)
        telemetry = self._context.telemetry
        telemetry.count("metricsmith_push_samples_total", len(decoded.batch), protocol="remote_write")
        return Response(status_code=204)

    def _count_skipped(self, decoded: WriteRequest) -> None:
        for kind, count in (
            ("native_histogram", decoded.skipped_histograms),
            ("exemplar", decoded.skipped_exemplars),
        ):
            if count:
                self._context.telemetry.problem(
                    log,
                    "metricsmith_samples_dropped_total",
                    f"remote write: {count} samples skipped: {kind}s are not supported",
                    amount=count,
                    component="remote_write",
                    reason=kind,
                )


def _check_headers(request: Request) -> None:
    encoding = request.headers.get("content-encoding", "")
    if encoding.strip().lower() != "snappy":
        raise _unsupported(f"got Content-Encoding {encoding[:40] or 'none'}")
    kind = media_type(request)
    version = request.headers.get("x-prometheus-remote-write-version", "0.1.0").strip()
    parameters = request.headers.get("content-type", "").partition(";")[2]
    if kind not in ("", PROTOBUF) or "io.prometheus.write.v2" in parameters:
        raise _unsupported(f"got Content-Type {request.headers['content-type'][:80]}")
    if not version.startswith(("0.1", "1.")):
        raise _unsupported(f"got X-Prometheus-Remote-Write-Version {version[:40]}")


def _unsupported(got: str) -> ApiError:
    return ApiError("unsupported_media_type", f"{got}, {_WANTED}")
