"""Prometheus' admin API of the store, served where `server.admin_api` allows it."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from metricsmith.api.body import Bodies
from metricsmith.api.context import ApiContext, StoreAdmin
from metricsmith.api.errors import ApiError, bad_parameter, json_response
from metricsmith.api.origin import refuse_other_origin
from metricsmith.api.params import MAX_TIME_MS, MIN_TIME_MS, read_params
from metricsmith.api.routes import TIME, Handler, Operation, Parameter
from metricsmith.api.schemas import Schema, prometheus
from metricsmith.api.selectors import read_selectors

GROUP = "Admin"
_SNAPSHOT: Schema = {
    "type": "object",
    "required": ["name", "path", "blocks", "samples", "bytes"],
    "properties": {
        "name": {"type": "string", "description": "Folder under `snapshots/` of the data directory."},
        "path": {"type": "string", "description": "The same, as the agent's machine knows it."},
        **{name: {"type": "integer", "minimum": 0} for name in ("blocks", "samples", "bytes")},
    },
}

_DELETED: Schema = {
    "type": "object",
    "required": ["series"],
    "properties": {"series": {"type": "integer", "minimum": 0, "description": "Series that lost samples."}},
}


class AdminApi:
    """Changes of the store as a whole. Web pages of other servers may not ask for them."""

    def __init__(self, context: ApiContext, bodies: Bodies) -> None:
        self._context, self._bodies = context, bodies

    def operations(self) -> list[Operation]:
        """Return the operations of this group."""
        return [
            self._operation(
                "/api/v1/admin/tsdb/snapshot",
                self._snapshot,
                "Make a snapshot of all that is stored, everything acknowledged before included.",
                (Parameter("skip_head", "`true`: only what is in blocks already."),),
                prometheus(_SNAPSHOT),
            ),
            self._operation(
                "/api/v1/admin/tsdb/delete_series",
                self._delete_series,
                "Delete samples that were accepted before: at once for queries, then from disk.",
                (
                    Parameter("match[]", "Series selector.", required=True, repeated=True),
                    Parameter("start", "Begin of the range; all times when absent.", TIME),
                    Parameter("end", "End of the range; all times when absent.", TIME),
                ),
                prometheus(_DELETED),
            ),
        ]

    def _operation(
        self,
        path: str,
        handler: Handler,
        summary: str,
        parameters: tuple[Parameter, ...] = (),
        answer: Schema | None = None,
    ) -> Operation:
        async def guarded(request: Request) -> Response:
            refuse_other_origin(request)
            self._refuse_unless_allowed()
            return await handler(request)

        answers = {
            200: "Done.",
            403: "`server.admin_api` is not true, or a web page of another server asks.",
            422: "The store is not of this machine.",
            503: "Cannot be done now.",
        }
        return Operation(
            path, ("POST", "PUT"), guarded, summary, GROUP, parameters, answers=answers, answer=answer
        )

    def _refuse_unless_allowed(self) -> None:
        if not self._context.admin_allowed:
            message = "admin APIs are off; set server.admin_api: true and restart the agent"
            raise ApiError("forbidden", message)

    def _admin(self) -> StoreAdmin:
        if self._context.admin is None:
            raise ApiError("unprocessable", "no samples are kept here: storage.type is not embedded")
        return self._context.admin

    async def _snapshot(self, request: Request) -> Response:
        params = await read_params(request, self._bodies)
        params.refuse_unknown(["skip_head"])
        made = await self._admin().snapshot(skip_head=params.text("skip_head") in ("true", "1"))
        data = {
            "name": made.name,
            "path": made.path,
            "blocks": made.blocks,
            "samples": made.samples,
            "bytes": made.bytes,
        }
        return json_response({"status": "success", "data": data})

    async def _delete_series(self, request: Request) -> Response:
        params = await read_params(request, self._bodies)
        params.refuse_unknown(["match[]", "start", "end"])
        if not params.all("match[]"):
            raise bad_parameter("match[]", "no match[] parameter provided", "none", "a series selector")
        selectors = read_selectors(params)
        start_ms, end_ms = params.time_ms("start", MIN_TIME_MS), params.time_ms("end", MAX_TIME_MS)
        if end_ms < start_ms:
            raise bad_parameter("end", "end timestamp must not be before start time")
        series = await self._admin().delete_series(selectors, start_ms, end_ms)
        return json_response({"status": "success", "data": {"series": series}})
