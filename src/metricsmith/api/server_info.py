"""Prometheus' API about the server itself: what Grafana and promtool ask before they query."""

from __future__ import annotations

import platform
from datetime import UTC, datetime

from starlette.requests import Request
from starlette.responses import Response

from metricsmith import __version__
from metricsmith.api.context import ApiContext
from metricsmith.api.errors import json_response
from metricsmith.api.prometheus import GROUP
from metricsmith.api.routes import Operation
from metricsmith.api.schemas import ANY
from metricsmith.model.duration import format_duration

API_VERSION = "2.55.0"
"""The Prometheus version whose API this is; Grafana decides by it which calls it may make."""


class ServerInfoApi:
    """Describes this server in Prometheus' terms."""

    def __init__(self, context: ApiContext) -> None:
        self._context = context

    def operations(self) -> list[Operation]:
        """Return the operations of this group."""
        return [
            Operation(path, ("GET",), handler, summary, GROUP, always=True, answer=ANY)
            for path, handler, summary in (
                ("/api/v1/status/buildinfo", self._buildinfo, "What runs here."),
                ("/api/v1/status/runtimeinfo", self._runtimeinfo, "Since when it runs, and how."),
                ("/api/v1/rules", self._rules, "Rules; none are evaluated yet."),
                ("/api/v1/alerts", self._alerts, "Active alerts; no rules are evaluated yet."),
                ("/api/v1/query_exemplars", self._exemplars, "Exemplars; none are kept."),
            )
        ]

    async def _buildinfo(self, request: Request) -> Response:
        return _success(
            {
                "version": API_VERSION,
                "revision": f"metricsmith {__version__}",
                "branch": "",
                "buildUser": "",
                "buildDate": "",
                "goVersion": "",
                "application": "metricsmith",
                "applicationVersion": __version__,
                "pythonVersion": platform.python_version(),
            }
        )

    async def _runtimeinfo(self, request: Request) -> Response:
        status, store = self._context.status(), self._context.store.status()
        started = datetime.fromtimestamp((self._context.clock.now_ms() - status.uptime_ms) // 1000, UTC)
        return _success(
            {
                "startTime": started.isoformat().replace("+00:00", "Z"),
                "CWD": "",
                "reloadConfigSuccess": bool(
                    self._context.telemetry.value("metricsmith_config_last_reload_success")
                ),
                "lastConfigTime": "",
                "corruptionCount": 0,
                "goroutineCount": 0,
                "GOMAXPROCS": 0,
                "GOGC": "",
                "GODEBUG": "",
                "storageRetention": format_duration(store.retention_ms),
            }
        )

    async def _rules(self, request: Request) -> Response:
        return _success({"groups": []})

    async def _alerts(self, request: Request) -> Response:
        return _success({"alerts": []})

    async def _exemplars(self, request: Request) -> Response:
        return _success([])


def _success(data: object) -> Response:
    return json_response({"status": "success", "data": data})
