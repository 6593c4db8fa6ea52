"""The topics that the agent's bus sources have seen."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from metricsmith.api.context import ApiContext
from metricsmith.api.errors import json_response
from metricsmith.api.routes import Operation
from metricsmith.api.schemas import TOPICS
from metricsmith.api.workers import Workers


class TopicsApi:
    """Lists topics, with the rates of their messages."""

    def __init__(self, context: ApiContext, workers: Workers) -> None:
        self._context, self._workers = context, workers

    def operations(self) -> list[Operation]:
        """Return the operation of this group."""
        summary, group = "List the topics seen on the bus since the start, with their rates.", "Message bus"
        return [Operation("/api/v1/bus/topics", ("GET",), self._topics, summary, group, answer=TOPICS)]

    async def _topics(self, request: Request) -> Response:
        found = await self._workers.run(self._context.topics)
        return json_response({"status": "success", "data": [each.as_json() for each in found]})
