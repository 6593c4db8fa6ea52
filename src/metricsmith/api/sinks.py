"""Sinks: how they are, a trial of one, and what they were refused."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from metricsmith.api.body import Bodies
from metricsmith.api.context import ApiContext
from metricsmith.api.errors import ApiError, bad_parameter, json_response
from metricsmith.api.origin import refuse_other_origin
from metricsmith.api.params import read_params
from metricsmith.api.routes import Handler, Operation, Parameter
from metricsmith.api.schemas import COUNT, REFUSAL, REFUSALS, SINK_DONE, SINK_TRIED, SINKS, Schema
from metricsmith.api.times import rfc3339
from metricsmith.api.workers import Workers
from metricsmith.delivery.desk import Desk
from metricsmith.delivery.quarantine import MAX_FILES, Refusal
from metricsmith.delivery.status import SinkStatus
from metricsmith.errors import DeliveryError
from metricsmith.wire.messages import format_timestamp

GROUP = "Sinks"
_ID = Parameter("id", "Id of a refusal.", required=True)
_SINK = Parameter("sink", "Only what this sink was refused.")
_LIMIT = Parameter("limit", f"Only the newest so many, at most {MAX_FILES}; 0 for all.", COUNT)
_NAME = Parameter("name", "Name of a sink.", required=True)


class SinksApi:
    """Lets people try sinks and empty the quarantine. Web pages of other servers may not."""

    def __init__(self, context: ApiContext, workers: Workers, bodies: Bodies) -> None:
        self._context, self._workers, self._bodies = context, workers, bodies

    def operations(self) -> list[Operation]:
        """Return the operations of this group."""
        return [
            Operation(
                "/api/v1/sinks",
                ("GET",),
                self._sinks,
                "List the sinks, and how each is.",
                GROUP,
                answer=SINKS,
                always=True,
            ),
            self._post("/api/v1/sinks/test", self._test, "Send one sample to a sink.", _NAME, SINK_TRIED),
            Operation(
                "/api/v1/quarantine",
                ("GET",),
                self._list,
                "List what destinations refused for good, oldest first.",
                GROUP,
                parameters=(_SINK, _LIMIT),
                answer=REFUSALS,
            ),
            Operation(
                "/api/v1/quarantine/show",
                ("GET",),
                self._show,
                "Show the samples of one refusal.",
                GROUP,
                parameters=(_ID,),
                answers={200: "The refusal.", 422: "There is none of that id."},
                answer=REFUSAL,
            ),
            self._post("/api/v1/quarantine/retry", self._retry, "Send a refusal again.", _ID, SINK_DONE),
            self._post("/api/v1/quarantine/drop", self._drop, "Forget a refusal.", _ID, SINK_DONE),
        ]

    @staticmethod
    def _post(path: str, handler: Handler, summary: str, parameter: Parameter, answer: Schema) -> Operation:
        answers = {
            200: "Done.",
            403: "Sent by a web page of another server.",
            422: "Not done; `error` says why.",
        }
        return Operation(
            path, ("POST",), handler, summary, GROUP, parameters=(parameter,), answers=answers, answer=answer
        )

    async def _sinks(self, request: Request) -> Response:
        return _success(list(map(sink_view, self._context.status().sinks)))

    async def _list(self, request: Request) -> Response:
        params = await read_params(request, self._bodies)
        params.refuse_unknown(["sink", "limit"])
        sink, limit, desk = params.text("sink"), params.count("limit", 0, MAX_FILES) or None, self._desk()
        found = await self._workers.run(lambda: desk.refusals(sink, limit))
        return _success([_refusal(each) for each in found])

    async def _show(self, request: Request) -> Response:
        id = await self._given(request, "id")
        try:
            refusal, samples = await self._workers.run(lambda: self._desk().samples(id))
        except DeliveryError as error:
            raise ApiError("unprocessable", str(error)) from None
        return _success({**_refusal(refusal), "content": samples})

    async def _test(self, request: Request) -> Response:
        refuse_other_origin(request)
        name = await self._given(request, "name")
        try:
            took_s, said = await self._desk().test(name)
        except DeliveryError as error:
            raise ApiError("unprocessable", str(error)) from None
        return _success({"sink": name, "seconds": took_s, "said": said})

    async def _retry(self, request: Request) -> Response:
        refuse_other_origin(request)
        id = await self._given(request, "id")
        try:
            samples = await self._desk().send_again(id)
        except DeliveryError as error:
            raise ApiError("unprocessable", str(error)) from None
        return _success({"id": id, "samples": samples})

    async def _drop(self, request: Request) -> Response:
        refuse_other_origin(request)
        id = await self._given(request, "id")
        try:
            refusal, _ = await self._workers.run(lambda: self._desk().samples(id))
            await self._workers.run(lambda: self._desk().drop(id))
        except DeliveryError as error:
            raise ApiError("unprocessable", str(error)) from None
        return _success({"id": id, "samples": refusal.samples + refusal.events})

    def _desk(self) -> Desk:
        if self._context.sinks is None:
            raise ApiError("unprocessable", "this agent has no sinks")
        return self._context.sinks

    async def _given(self, request: Request, name: str) -> str:
        params = await read_params(request, self._bodies)
        params.refuse_unknown([name])
        if not (text := params.text(name)):
            raise bad_parameter(name, "is missing")
        return text


def sink_view(sink: SinkStatus) -> dict[str, object]:
    """Return how a sink is, for pages."""
    last_ms = sink.last_success_ms
    return {
        "name": sink.name,
        "type": sink.kind,
        "state": sink.state,
        "circuit": sink.circuit.value,
        "behind_batches": sink.behind,
        "lag_seconds": sink.lag_ms / 1000,
        "buffered_samples": sink.buffered,
        "delivered_samples": sink.delivered_samples,
        "dropped_samples": sink.dropped_samples,
        "retries": sink.retries,
        "delivered_events": sink.delivered_events,
        "dropped_events": sink.dropped_events,
        "last_success": None if last_ms is None else format_timestamp(last_ms),
        "last_error": sink.last_error,
        "held_until": None if sink.held_until_ms is None else format_timestamp(sink.held_until_ms),
    }


def _refusal(refusal: Refusal) -> dict[str, Any]:
    return {**asdict(refusal), "at": rfc3339(refusal.at_ms)}


def _success(data: object) -> Response:
    return json_response({"status": "success", "data": data})
