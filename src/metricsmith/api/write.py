"""The remote-write receiver, 1.0 and 2.0: POST /api/v1/write."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from functools import partial

from anyio import to_thread
from starlette.requests import Request
from starlette.responses import Response

from metricsmith.api.body import Bodies, media_type
from metricsmith.api.context import ApiContext
from metricsmith.api.errors import ApiError, bad_data
from metricsmith.api.routes import Body, Operation
from metricsmith.model.left_out import NOTHING, LeftOut
from metricsmith.wire.remote_write import RemoteWriteDecoder, WriteRequest
from metricsmith.wire.remote_write_2 import RemoteWrite2Decoder
from metricsmith.wire.remote_write_answers import EXEMPLARS_WRITTEN, HISTOGRAMS_WRITTEN, SAMPLES_WRITTEN

log = logging.getLogger(__name__)

PROTOBUF = "application/x-protobuf"
VERSION_1, VERSION_2 = "prometheus.WriteRequest", "io.prometheus.write.v2.Request"
INLINE_BYTES = 32 << 10
"""Smaller bodies are decoded on the event loop: a thread hop would cost more."""

_WANTED = (
    f"wanted remote write 1.0 or 2.0: {PROTOBUF}, with proto={VERSION_1} or none, or with"
    f" proto={VERSION_2}; snappy"
)


class RemoteWriteApi:
    """Takes remote-write requests; answers 204 when their samples are durable and can be read."""

    def __init__(self, context: ApiContext, bodies: Bodies) -> None:
        self._context = context
        self._bodies = bodies
        self._decode: dict[str, Callable[..., WriteRequest]] = {
            VERSION_1: RemoteWriteDecoder(context.series).decode,
            VERSION_2: RemoteWrite2Decoder(context.series).decode,
        }
        self._decoding = asyncio.Lock()  # a decoder serves one thread at a time

    def operations(self) -> list[Operation]:
        """Return the operations of this group."""
        return [
            Operation(
                "/api/v1/write",
                ("POST",),
                self._write,
                "Receive samples by Prometheus remote write 1.0 or 2.0.",
                "Remote write",
                body=Body(
                    PROTOBUF,
                    {"type": "string", "format": "binary"},
                    also={f"{PROTOBUF};proto={VERSION_2}": {"type": "string", "format": "binary"}},
                ),
                answers={
                    204: "Accepted: durable and readable, as much of it as headers say.",
                    400: "Malformed, or (2.0) taken in part, as headers say; not to be sent again.",
                    408: "The body does not arrive in time.",
                    413: "The body is too large; send fewer samples per request.",
                    415: "Neither remote write 1.0 nor 2.0.",
                    503: "Cannot be accepted now; send it again.",
                },
            )
        ]

    async def _write(self, request: Request) -> Response:
        version = _version(request)
        limit = self._context.limits.max_body_bytes
        async with self._bodies.read(request, limit) as body, self._decoding:
            decode = partial(self._decode[version], body, max_decompressed=limit)
            decoded = decode() if len(body) <= INLINE_BYTES else await to_thread.run_sync(decode)
        self._count_skipped(decoded)
        left_out = NOTHING
        if len(decoded.batch) or decoded.batch.layout.metadata:
            left_out = await self._context.emit(decoded.batch)
        telemetry = self._context.telemetry
        telemetry.count("metricsmith_push_samples_total", len(decoded.batch), protocol="remote_write")
        written = _written(len(decoded.batch) - left_out.samples)
        if version == VERSION_2 and (problems := _problems(decoded, left_out)):
            raise _partial(f"all is written but {'; '.join(problems)}", written)
        return Response(status_code=204, headers=written)

    def _count_skipped(self, decoded: WriteRequest) -> None:
        for kind, count, why in (
            ("native_histogram", decoded.skipped_histograms, "native histograms are not supported"),
            ("exemplar", decoded.skipped_exemplars, "exemplars are not supported"),
            ("bad_labels", decoded.refused, decoded.why),
        ):
            if count:
                self._context.telemetry.problem(
                    log,
                    "metricsmith_samples_dropped_total",
                    f"remote write: {count} samples skipped: {why}",
                    amount=count,
                    component="remote_write",
                    reason=kind,
                )


def _problems(decoded: WriteRequest, left_out: LeftOut) -> list[str]:
    """Return what of a request is not written, and why."""
    problems = left_out.reasons()
    if decoded.refused:
        problems.append(f"{decoded.refused} samples of series that cannot be named: {decoded.why}")
    elif decoded.why:
        problems.append(decoded.why)
    if decoded.skipped_histograms:
        problems.append(f"{decoded.skipped_histograms} native histograms, which are not supported")
    return problems


def _written(samples: int) -> dict[str, str]:
    """Return the headers that say what was written."""
    # Processors may make more samples than were sent, and more may be left out.
    return {SAMPLES_WRITTEN: str(max(0, samples)), HISTOGRAMS_WRITTEN: "0", EXEMPLARS_WRITTEN: "0"}


def _partial(message: str, headers: Mapping[str, str]) -> ApiError:
    error = bad_data(message)
    error.headers.update(headers)
    return error


def _version(request: Request) -> str:
    """Return the message that a request says it is, after its content type."""
    encoding = request.headers.get("content-encoding", "")
    if encoding.strip().lower() != "snappy":
        raise _unsupported(f"got Content-Encoding {encoding[:40] or 'none'}")
    parameters = request.headers.get("content-type", "").split(";")[1:]
    protos = [value for name, _, value in (p.strip().partition("=") for p in parameters) if name == "proto"]
    proto = protos[0].strip('" ') if protos else VERSION_1
    if media_type(request) not in ("", PROTOBUF) or proto not in (VERSION_1, VERSION_2):
        raise _unsupported(f"got Content-Type {request.headers['content-type'][:80]}")
    version = request.headers.get("x-prometheus-remote-write-version", "0.1.0").strip()
    if proto == VERSION_1 and not version.startswith(("0.1", "1.")):
        raise _unsupported(f"got X-Prometheus-Remote-Write-Version {version[:40]}")
    return proto


def _unsupported(got: str) -> ApiError:
    return ApiError("unsupported_media_type", f"{got}, {_WANTED}")
