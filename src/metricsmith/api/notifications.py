"""Who is told of alerts: Prometheus' list of Alertmanagers, and how all destinations are."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from metricsmith.api.context import ApiContext
from metricsmith.api.errors import json_response
from metricsmith.api.prometheus import GROUP
from metricsmith.api.routes import Operation
from metricsmith.api.schemas import ALERTMANAGERS, DESTINATIONS
from metricsmith.api.times import rfc3339
from metricsmith.api.workers import Workers
from metricsmith.rules.notify.line import DestinationStatus
from metricsmith.rules.notify.refused import Refused


class NotificationsApi:
    """Says who is told of alerts. Of an address it shows no more than its host."""

    def __init__(self, context: ApiContext, workers: Workers) -> None:
        self._context, self._workers = context, workers

    def operations(self) -> list[Operation]:
        """Return the operations of this group."""
        return [
            Operation(
                "/api/v1/alertmanagers",
                ("GET",),
                self._alertmanagers,
                "List the Alertmanagers that are told of alerts.",
                GROUP,
                answer=ALERTMANAGERS,
                always=True,
            ),
            Operation(
                "/api/v1/alerts/destinations",
                ("GET",),
                self._destinations,
                "Say how all are that alerts are told to, and what they refused for good. Not in Prometheus.",
                GROUP,
                answer=DESTINATIONS,
                always=True,
            ),
        ]

    async def _alertmanagers(self, request: Request) -> Response:
        found = await self._workers.run(self._context.destinations)
        active = [{"url": status.address} for status in found if status.kind == "alertmanager"]
        return _success({"activeAlertmanagers": active, "droppedAlertmanagers": []})

    async def _destinations(self, request: Request) -> Response:
        found = await self._workers.run(self._context.destinations)
        refused = await self._workers.run(self._context.refused)
        return _success(
            {"destinations": list(map(_destination, found)), "refused": list(map(_refused, refused))}
        )


def _destination(status: DestinationStatus) -> dict[str, Any]:
    return {
        "name": status.name,
        "kind": status.kind,
        "address": status.address,
        "waiting": status.waiting,
        "waitingBytes": status.waiting_bytes,
        "waitingSince": None if status.oldest_ms is None else rfc3339(status.oldest_ms),
        "toldAlerts": status.delivered_alerts,
        "lastSuccess": None if status.last_success_ms is None else rfc3339(status.last_success_ms),
        "lastError": status.last_error,
    }


def _refused(refused: Refused) -> dict[str, Any]:
    return {
        "destination": refused.destination,
        "at": rfc3339(refused.at_ms),
        "reason": refused.reason,
        "sent": refused.payload,
    }


def _success(data: object) -> Response:
    return json_response({"status": "success", "data": data})
