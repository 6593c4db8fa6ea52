"""Prometheus' API of rules and alerts. No rules are evaluated yet, so there are none."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from metricsmith.api.body import Bodies
from metricsmith.api.errors import bad_parameter, json_response
from metricsmith.api.params import quoted, read_params
from metricsmith.api.prometheus import GROUP
from metricsmith.api.routes import Operation, Parameter
from metricsmith.api.schemas import ALERTMANAGERS, ALERTS, RULES
from metricsmith.api.selectors import read_selectors
from metricsmith.api.workers import Workers

_BOOLEANS = frozenset({"", "1", "t", "T", "TRUE", "true", "True", "0", "f", "F", "FALSE", "false", "False"})


class RulesApi:
    """Says which rules there are, and what they found."""

    def __init__(self, workers: Workers, bodies: Bodies) -> None:
        self._workers = workers
        self._bodies = bodies

    def operations(self) -> list[Operation]:
        """Return the operations of this group."""
        filters = (
            Parameter("type", "Only rules that `alert`, or that `record`."),
            Parameter("exclude_alerts", "Leave out the active alerts of each rule: true or false."),
            Parameter("match[]", "Only rules whose labels match.", repeated=True),
        )
        summary = "Rules; none are evaluated yet."
        return [
            Operation(
                "/api/v1/rules",
                ("GET",),
                self._rules,
                summary,
                GROUP,
                filters,
                answers={200: "`data.groups`.", 400: "Malformed request."},
                answer=RULES,
                always=True,
            ),
            Operation(
                "/api/v1/alerts",
                ("GET",),
                self._alerts,
                "Active alerts; no rules are evaluated yet.",
                GROUP,
                answer=ALERTS,
                always=True,
            ),
            Operation(
                "/api/v1/alertmanagers",
                ("GET",),
                self._alertmanagers,
                "Where alerts are sent; nowhere yet.",
                GROUP,
                answer=ALERTMANAGERS,
                always=True,
            ),
        ]

    async def _rules(self, request: Request) -> Response:
        params = await read_params(request, self._bodies)
        kind, exclude = params.text("type"), params.text("exclude_alerts")
        if kind.lower() not in ("", "alert", "record"):
            raise bad_parameter("type", f"not supported value {quoted(kind)}")
        if exclude not in _BOOLEANS:
            raise bad_parameter("exclude_alerts", f"got {quoted(exclude)}, wanted true or false")
        await self._workers.run(lambda: read_selectors(params))
        return json_response({"status": "success", "data": {"groups": []}})

    async def _alerts(self, request: Request) -> Response:
        return json_response({"status": "success", "data": {"alerts": []}})

    async def _alertmanagers(self, request: Request) -> Response:
        data: dict[str, list[object]] = {"activeAlertmanagers": [], "droppedAlertmanagers": []}
        return json_response({"status": "success", "data": data})
