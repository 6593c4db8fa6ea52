"""Groups of metrics as a Pushgateway takes them: PUT, POST and DELETE of /metrics/job/NAME/…"""

from __future__ import annotations

from anyio import to_thread
from starlette.requests import Request
from starlette.responses import Response

from metricsmith.api.body import Bodies, media_type
from metricsmith.api.context import ApiContext
from metricsmith.api.errors import ApiError, translate, unavailable
from metricsmith.api.origin import refuse_other_origin
from metricsmith.api.routes import Body, Operation, Parameter
from metricsmith.errors import InputError
from metricsmith.sources.pushgateway.address import read_grouping
from metricsmith.sources.pushgateway.group import Labels, read_group
from metricsmith.sources.pushgateway.source import PushgatewaySource
from metricsmith.wire.exposition import format_of
from metricsmith.wire.gunzip import gunzip

GROUP = "Pushgateway"
PREFIX = "/metrics/"
PROTOBUF = "application/vnd.google.protobuf"
PATHS = ("/metrics/job/{grouping:path}", "/metrics/job@base64/{grouping:path}")
_GROUPING = "Value of `job`, then pairs of label and value; `LABEL@base64` marks an encoded value."
_ERRORS = {
    400: "Malformed; the group stays as it was.",
    403: "Sent by a web page of another origin.",
    408: "The body does not arrive in time.",
    413: "Too large, or too many groups.",
    415: "Not the text format or OpenMetrics.",
    503: "Cannot be accepted now; send it again.",
}


def text_error(error: ApiError) -> Response:
    """Return the error as plain text, as a Pushgateway does."""
    return Response(f"{error}\n", error.status, media_type="text/plain", headers=error.headers)


class PushgatewayApi:
    """Takes pushes of jobs that end before anybody could scrape them."""

    def __init__(self, context: ApiContext, bodies: Bodies) -> None:
        self._context = context
        self._bodies = bodies

    def operations(self) -> list[Operation]:
        """Return the operations of this group, at an address for each way to write the job."""
        done, gone = {200: "Durable and readable.", **_ERRORS}, {202: "The group is gone.", **_ERRORS}
        body = Body("text/plain", {"type": "string"}, "backup_last_success_timestamp_seconds 1.7e9\n")
        where = (Parameter("grouping", _GROUPING, required=True, place="path"),)
        return [
            Operation(path, (method,), handler, summary, GROUP, where, has, answers, "text/plain", text_error)
            for path in PATHS
            for method, handler, summary, has, answers in (
                ("PUT", self._push, "Push a group: it takes the place of the one before.", body, done),
                (
                    "POST",
                    self._push,
                    "Push metrics into a group: those of the same names give way.",
                    body,
                    done,
                ),
                ("DELETE", self._delete, "End a group.", None, gone),
            )
        ]

    async def _push(self, request: Request) -> Response:
        refuse_other_origin(request)
        gateway, labels = self._gateway(), _labels(request)
        now_ms, context = self._context.clock.now_ms(), self._context
        try:
            async with self._bodies.read(request, context.limits.max_body_bytes) as body:
                text, format = self._text(request, body), format_of(request.headers.get("content-type"))
                most = gateway.config.max_samples
                group = await to_thread.run_sync(read_group, labels, text, format, now_ms, most)
            await gateway.push(group, replace_all=request.method == "PUT")
        except (InputError, ApiError) as error:
            told = translate(error)
            if told is not None and told.status < 500:
                await gateway.failed(labels, now_ms)
            raise
        context.telemetry.count("metricsmith_push_samples_total", len(group.samples), protocol="pushgateway")
        return Response(status_code=200)

    async def _delete(self, request: Request) -> Response:
        await self._gateway().delete(_labels(request), self._context.clock.now_ms())
        return Response(status_code=202)

    def _gateway(self) -> PushgatewaySource:
        found = self._context.pushgateway()
        if found is None:
            raise unavailable("the agent is starting, stopping or reloading")
        return found

    def _text(self, request: Request, body: bytes) -> bytes:
        if media_type(request) == PROTOBUF:
            raise ApiError(
                "unsupported_media_type",
                f"got {PROTOBUF}, wanted the text format (client_golang:"
                " pusher.Format(expfmt.NewFormat(expfmt.TypeTextPlain)))",
            )
        encoding = request.headers.get("content-encoding", "identity").strip().lower()
        if encoding == "gzip":
            return gunzip(body, self._context.limits.max_body_bytes)
        if encoding not in ("", "identity"):
            raise ApiError(
                "unsupported_media_type", f"got Content-Encoding {encoding[:40]}, wanted gzip or none"
            )
        return body


def _labels(request: Request) -> Labels:
    # The raw path: an encoded slash is one within a value.
    path = request.scope.get("raw_path", b"").decode("ascii", "replace").partition("?")[0]
    return read_grouping(path.removeprefix(PREFIX))
