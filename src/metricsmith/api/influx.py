"""InfluxDB's write endpoints, 1.x and 2.x, and as much else as senders ask for before they write."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial

from anyio import to_thread
from starlette.requests import Request
from starlette.responses import Response

from metricsmith.api.body import Bodies
from metricsmith.api.context import ApiContext
from metricsmith.api.errors import ApiError, bad_data, json_response
from metricsmith.api.influx_query import answer_query
from metricsmith.api.origin import refuse_other_origin
from metricsmith.api.params import quoted, read_params
from metricsmith.api.routes import Body, Operation, Parameter
from metricsmith.model.duration import format_duration
from metricsmith.model.left_out import NOTHING, LeftOut
from metricsmith.wire.gunzip import gunzip
from metricsmith.wire.line_protocol import LineDecoder, WriteDocument
from metricsmith.wire.line_protocol_line import MalformedLine, checked_text

log = logging.getLogger(__name__)

GROUP = "InfluxDB"
INLINE_BYTES = 32 << 10
"""Smaller bodies are decoded on the event loop: a thread hop would cost more."""
DATABASE_TAG = b"db"
"""The label that tells databases and buckets apart; a line's own tag of that name wins."""
MAX_DATABASE_BYTES = 200
VERSION_HEADERS = {"X-Influxdb-Version": "1.8.10-metricsmith", "X-Influxdb-Build": "OSS"}

_PRECISIONS_1 = ("n", "ns", "u", "us", "µ", "ms", "s", "m", "h")
_PRECISIONS_2 = ("ns", "us", "ms", "s")
_ANSWERS = {
    204: "Accepted: durable and readable.",
    403: "Sent by a web page of another origin.",
    408: "The body does not arrive in time.",
    413: "The body is too large; send fewer lines per request.",
    415: "Compressed otherwise than by gzip.",
    503: "Cannot be accepted now; send it again.",
}
_CODES_2 = {
    400: "invalid",
    403: "forbidden",
    408: "request timeout",
    413: "request too large",
    415: "unsupported media type",
    503: "unavailable",
}


def error_1(error: ApiError) -> Response:
    """Return an error as InfluxDB 1.x words it; there is a header, too, for clients that read no body."""
    header = str(error).encode("ascii", "replace").decode().replace("\n", " ").replace("\r", " ")[:1000]
    headers = {**VERSION_HEADERS, "X-Influxdb-Error": header, **error.headers}
    return json_response({"error": str(error)}, error.status, headers)


def error_2(error: ApiError) -> Response:
    """Return an error as InfluxDB 2.x words it."""
    code = _CODES_2.get(error.status, "internal error")
    return json_response({"code": code, "message": str(error)}, error.status, error.headers)


class InfluxApi:
    """Takes line protocol; answers 204 when the samples are durable and can be read."""

    def __init__(self, context: ApiContext, bodies: Bodies) -> None:
        self._context = context
        self._bodies = bodies
        self._decoder = LineDecoder(context.series)
        self._decoding = asyncio.Lock()  # the decoder serves one thread at a time

    def operations(self) -> list[Operation]:
        """Return the operations of this group."""
        body = Body("text/plain", {"type": "string"}, "cpu,host=a usage_idle=98.5 1700000000000000000")
        precision = Parameter("precision", "Unit of timestamps; nanoseconds when absent.")
        return [
            Operation(
                "/write",
                ("POST",),
                self._write_1,
                "Receive line protocol as InfluxDB 1.x: good lines are taken beside malformed ones.",
                GROUP,
                parameters=(
                    Parameter("db", "Database: becomes the label `db`.", required=True),
                    precision,
                    Parameter("rp", "Retention policy: not used."),
                ),
                body=body,
                answers={
                    **_ANSWERS,
                    400: "Some lines, or all, are malformed or outside the accepted times, and not taken.",
                },
                error=error_1,
            ),
            Operation(
                "/api/v2/write",
                ("POST",),
                self._write_2,
                "Receive line protocol as InfluxDB 2.x: all lines are taken, or none.",
                GROUP,
                parameters=(
                    Parameter("bucket", "Bucket: becomes the label `db`.", required=True),
                    Parameter("org", "Organization: not used."),
                    precision,
                ),
                body=body,
                answers={
                    **_ANSWERS,
                    400: "Malformed: nothing is taken; or outside the accepted times: the rest is taken.",
                },
                error=error_2,
            ),
            Operation(
                "/ping",
                ("GET",),
                self._ping,
                "Tell that the agent is here, as InfluxDB does.",
                GROUP,
                answers={204: "It is."},
                error=error_1,
            ),
            Operation(
                "/query",
                ("GET", "POST"),
                self._query,
                "Answer what senders ask before they write: SHOW DATABASES and CREATE DATABASE.",
                GROUP,
                parameters=(Parameter("q", "The statement.", required=True),),
                answers={200: "The answer.", 400: "Another statement; queries are PromQL here."},
                error=error_1,
            ),
        ]

    async def _write_1(self, request: Request) -> Response:
        database = request.query_params.get("db", "")
        if not database:
            raise bad_data("database is required")
        found = await self._decode(request, database, _PRECISIONS_1)
        left_out = await self._keep(found)
        if found.first_bad is not None:
            raise bad_data("; ".join((_partial(found), *self._reasons(left_out))))
        self._check_kept(left_out)
        return Response(status_code=204, headers=VERSION_HEADERS)

    async def _write_2(self, request: Request) -> Response:
        bucket = request.query_params.get("bucket", "") or request.query_params.get("bucketID", "")
        if not bucket:
            raise bad_data("bucket is required")
        found = await self._decode(request, bucket, _PRECISIONS_2)
        if found.first_bad is not None:
            self._dropped(len(found.batch), "request_refused", "in a request that has a malformed line")
            raise bad_data(f"{_first_bad(found)}; nothing of the request is written")
        self._check_kept(await self._keep(found))
        return Response(status_code=204)

    async def _ping(self, request: Request) -> Response:
        return Response(status_code=204, headers=VERSION_HEADERS)

    async def _query(self, request: Request) -> Response:
        params = await read_params(request, self._bodies)
        return json_response(answer_query(params.text("q")), headers=VERSION_HEADERS)

    async def _decode(self, request: Request, database: str, precisions: tuple[str, ...]) -> WriteDocument:
        refuse_other_origin(request)
        tag = (DATABASE_TAG, _database(database))
        precision = request.query_params.get("precision", "") or "ns"
        if precision not in precisions:
            raise bad_data(f"got the precision {quoted(precision)}, wanted one of {', '.join(precisions)}")
        limit = self._context.limits.max_body_bytes
        unpack = _unpacking(request, limit)
        async with self._bodies.read(request, limit) as body, self._decoding:
            now_ms = self._context.clock.now_ms()

            def decode() -> WriteDocument:
                return self._decoder.decode(unpack(body), now_ms=now_ms, precision=precision, tags=(tag,))

            small = len(body) <= INLINE_BYTES and "content-encoding" not in request.headers
            found = decode() if small else await to_thread.run_sync(decode)
        self._dropped(found.strings, "string", "for their values are strings")
        self._dropped(found.bad_lines, "malformed", f"for their lines are malformed: {found.first_bad}")
        return found

    async def _keep(self, found: WriteDocument) -> LeftOut:
        """Hand the samples on; return what of them is left out."""
        if not len(found.batch):
            return NOTHING
        left_out = await self._context.emit(found.batch)
        telemetry = self._context.telemetry
        telemetry.count("metricsmith_push_samples_total", len(found.batch), protocol="line_protocol")
        return left_out

    def _check_kept(self, left_out: LeftOut) -> None:
        if reasons := self._reasons(left_out):
            raise bad_data(f"partial write: {'; '.join(reasons)}")

    def _reasons(self, left_out: LeftOut) -> list[str]:
        # The first words are those that senders know: they log them, and do not send the lines again.
        reasons = []
        if left_out.outside:
            limits = self._context.limits
            oldest, newest = format_duration(limits.max_age_ms), format_duration(limits.max_ahead_ms)
            accepted = f"accepted are times up to {oldest} ago and {newest} ahead; is the precision right?"
            reasons.append(f"points beyond retention policy dropped={left_out.outside} ({accepted})")
        if left_out.limited:
            why = "of new series beyond the limits on series; those of known series are written"
            reasons.append(f"series limit exceeded dropped={left_out.limited} ({why})")
        return reasons

    def _dropped(self, count: int, reason: str, why: str) -> None:
        if count:
            self._context.telemetry.problem(
                log,
                "metricsmith_samples_dropped_total",
                f"line protocol: {count} fields or lines not taken {why}",
                amount=count,
                component="line_protocol",
                reason=reason,
            )


def _database(name: str) -> bytes:
    try:
        text = checked_text(name.encode())
    except (UnicodeEncodeError, MalformedLine):
        raise bad_data(f"got the database {quoted(name)}, wanted text without control characters") from None
    if len(text) > MAX_DATABASE_BYTES:
        raise bad_data(f"got a database of {len(text)} bytes, wanted at most {MAX_DATABASE_BYTES}")
    return text


def _unpacking(request: Request, limit: int) -> Callable[[bytes], bytes]:
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding in ("gzip", "x-gzip"):
        return partial(gunzip, limit_bytes=limit)
    if encoding not in ("", "identity"):
        raise ApiError("unsupported_media_type", f"got Content-Encoding {encoding[:40]}, wanted gzip or none")
    return bytes


def _first_bad(found: WriteDocument) -> str:
    more = f" and {found.bad_lines - 1} more lines" if found.bad_lines > 1 else ""
    return f"{found.first_bad}{more}"


def _partial(found: WriteDocument) -> str:
    written = found.lines - found.bad_lines
    if not written:
        return _first_bad(found)
    return f"partial write: {_first_bad(found)}; {written} lines written dropped={found.bad_lines}"
