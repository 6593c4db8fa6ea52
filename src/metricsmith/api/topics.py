"""What the agent's bus sources have seen: topics, and the last messages."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from metricsmith.api.body import Bodies
from metricsmith.api.context import ApiContext
from metricsmith.api.errors import bad_data, bad_parameter, json_response
from metricsmith.api.params import read_params
from metricsmith.api.routes import NUMBER, Operation, Parameter
from metricsmith.api.schemas import BUS_MESSAGES, TOPICS
from metricsmith.api.workers import Workers

GROUP = "Message bus"


class TopicsApi:
    """Lists topics, with the rates of their messages, and shows messages."""

    def __init__(self, context: ApiContext, workers: Workers, bodies: Bodies) -> None:
        self._context, self._workers, self._bodies = context, workers, bodies

    def operations(self) -> list[Operation]:
        """Return the operations of this group."""
        return [
            Operation(
                "/api/v1/bus/topics",
                ("GET",),
                self._topics,
                "List the topics seen on the bus since the start, with their rates.",
                GROUP,
                answer=TOPICS,
            ),
            Operation(
                "/api/v1/bus/messages",
                ("GET",),
                self._messages,
                "Show the last messages of the bus: those after a number; without one, the number alone.",
                GROUP,
                parameters=(Parameter("after", "`next` of the answer before.", NUMBER),),
                answer=BUS_MESSAGES,
            ),
        ]

    async def _messages(self, request: Request) -> Response:
        params = await read_params(request, self._bodies)
        params.refuse_unknown(["after"])
        text = params.text("after")
        if text and not (text.isascii() and text.isdigit() and len(text) < 20):
            raise bad_parameter("after", f"got {text[:40]}, wanted a number", text[:40], "a number")
        after = int(text) if text else None
        highest, found = await self._workers.run(lambda: self._context.bus_messages(after))
        shown = [{"topic": m.topic, "body": m.body.decode(errors="backslashreplace")} for m in found]
        return json_response({"status": "success", "data": {"next": highest, "messages": shown}})

    async def _topics(self, request: Request) -> Response:
        found = await self._workers.run(self._context.topics)
        if found is None:
            raise bad_data("this agent does not listen to a bus: it has no source of type bus or bus_kafka")
        return json_response({"status": "success", "data": [each.as_json() for each in found]})
