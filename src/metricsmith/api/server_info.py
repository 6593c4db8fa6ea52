"""Prometheus' API about the server itself: what Grafana and promtool ask before they query."""

from __future__ import annotations

import os
import platform
import threading
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml
from starlette.requests import Request
from starlette.responses import Response

from metricsmith import __version__
from metricsmith.api.body import Bodies
from metricsmith.api.context import ApiContext
from metricsmith.api.errors import bad_data, json_response
from metricsmith.api.params import read_params
from metricsmith.api.prometheus import GROUP
from metricsmith.api.routes import NUMBER, Handler, Operation, Parameter
from metricsmith.api.schemas import (
    BUILD_INFO,
    CONFIG,
    FLAGS,
    NOTIFICATIONS,
    RUNTIME_INFO,
    TSDB,
    WAL_REPLAY,
    Schema,
)
from metricsmith.api.workers import Workers
from metricsmith.model.duration import format_duration
from metricsmith.store_contracts import Cardinality

API_VERSION = "3.5.0"
"""The Prometheus version whose API this is; Grafana decides by it which calls it may make."""
DEFAULT_LIMIT, MAX_LIMIT = 10, 10_000
NO_FIRST_MS, NO_LAST_MS = 2**63 - 1, -(2**63)
"""Prometheus' times of a head without samples."""


class ServerInfoApi:
    """Describes this server in Prometheus' terms."""

    def __init__(self, context: ApiContext, workers: Workers, bodies: Bodies) -> None:
        self._context = context
        self._workers = workers
        self._bodies = bodies

    def operations(self) -> list[Operation]:
        """Return the operations of this group."""
        limit = Parameter("limit", f"Most items of each list; {DEFAULT_LIMIT} when absent.", NUMBER)
        return [
            _status("buildinfo", self._buildinfo, "What runs here.", BUILD_INFO),
            _status("runtimeinfo", self._runtimeinfo, "Since when it runs, and how.", RUNTIME_INFO),
            _status("config", self._config, "The configuration as YAML, secrets hidden.", CONFIG),
            _status("flags", self._flags, "Each setting by its path, secrets hidden.", FLAGS),
            _status("tsdb", self._tsdb, "Where the series of recent samples come from.", TSDB, limit),
            _status("walreplay", self._replay, "How far the replay of the journal is.", WAL_REPLAY),
            Operation(
                "/api/v1/notifications",
                ("GET",),
                self._notifications,
                "What somebody should look at.",
                GROUP,
                always=True,
                answer=NOTIFICATIONS,
            ),
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
        status, now_ms = self._context.status(), self._context.clock.now_ms()
        store = await self._workers.run(self._context.store.status)
        return _success(
            {
                "startTime": _rfc3339(now_ms - status.uptime_ms),
                "serverTime": _rfc3339(now_ms),
                "CWD": _working_folder(),
                "hostname": status.name,
                "reloadConfigSuccess": status.reload_failed_ms is None,
                "lastConfigTime": _rfc3339(status.config_ms),
                "corruptionCount": 0,
                "goroutineCount": threading.active_count(),
                "GOMAXPROCS": os.cpu_count() or 1,
                "GOMEMLIMIT": 0,
                "GOGC": "",
                "GODEBUG": "",
                "storageRetention": "" if store.retention_ms is None else format_duration(store.retention_ms),
            }
        )

    async def _config(self, request: Request) -> Response:
        return await self._workers.run(lambda: _success({"yaml": _yaml(self._context.settings())}))

    async def _flags(self, request: Request) -> Response:
        return await self._workers.run(lambda: _success(dict(_flat("", self._context.settings()))))

    async def _tsdb(self, request: Request) -> Response:
        limit = _tsdb_limit((await read_params(request, self._bodies)).text("limit"))
        found = await self._workers.run(lambda: self._context.store.cardinality(limit))
        return _success(_tsdb_status(found))

    async def _replay(self, request: Request) -> Response:
        replay = self._context.status().replay
        return _success(
            {"min": replay.first, "max": replay.end, "current": replay.current, "state": replay.state}
        )

    async def _notifications(self, request: Request) -> Response:
        status, reason = self._context.status(), self._context.not_ready()
        found = []
        if status.reload_failed_ms is not None:
            found.append(_notification("Configuration reload has failed.", status.reload_failed_ms))
        if reason:
            found.append(_notification(f"Not ready: {reason}", self._context.clock.now_ms()))
        return _success(found)


def _status(name: str, handler: Handler, summary: str, answer: Schema, *parameters: Parameter) -> Operation:
    answers = {200: "`data` is the answer."} | ({400: "Malformed request."} if parameters else {})
    path = f"/api/v1/status/{name}"
    return Operation(
        path, ("GET",), handler, summary, GROUP, parameters, answers=answers, always=True, answer=answer
    )


def _tsdb_limit(text: str) -> int:
    if not text:
        return DEFAULT_LIMIT
    if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text) > 0):
        raise bad_data("limit must be a positive number")
    if int(text) > MAX_LIMIT:
        raise bad_data(f"limit must not exceed {MAX_LIMIT}")
    return int(text)


def _tsdb_status(found: Cardinality) -> dict[str, Any]:
    return {
        "headStats": {
            "numSeries": found.series,
            "numLabelPairs": found.label_pairs,
            "chunkCount": 0,  # recent samples are not in chunks
            "minTime": NO_FIRST_MS if found.first_ms is None else found.first_ms,
            "maxTime": NO_LAST_MS if found.last_ms is None else found.last_ms,
        },
        "seriesCountByMetricName": _counts(found.series_by_metric),
        "labelValueCountByLabelName": _counts(found.values_by_label),
        "memoryInBytesByLabelName": _counts(found.bytes_by_label),
        "seriesCountByLabelValuePair": _counts(found.series_by_pair),
    }


def _counts(counts: list[tuple[str, int]]) -> list[dict[str, Any]]:
    return [{"name": name, "value": count} for name, count in counts]


def _yaml(settings: Mapping[str, Any]) -> str:
    text: str = yaml.dump(dict(settings), Dumper=yaml.CSafeDumper, sort_keys=False, allow_unicode=True)
    return text


def _flat(path: str, value: Any) -> Iterator[tuple[str, str]]:
    """Settings by their paths, as text."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _flat(f"{path}.{name}" if path else name, inner)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _flat(f"{path}[{index}]", inner)
    elif isinstance(value, bool):
        yield path, "true" if value else "false"
    else:
        yield path, "" if value is None else str(value)


def _notification(text: str, since_ms: int) -> dict[str, Any]:
    return {"text": text, "date": _rfc3339(since_ms), "active": True}


def _working_folder() -> str:
    """Return what a relative `storage.path` is relative to; empty when somebody has removed it."""
    try:
        return str(Path.cwd())
    except OSError:
        return ""


def _rfc3339(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms // 1000, UTC).isoformat().replace("+00:00", "Z")


def _success(data: object) -> Response:
    return json_response({"status": "success", "data": data})
