"""Status of the agent and its store, and reload."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from metricsmith import __version__
from metricsmith.api.context import AgentStatus, ApiContext
from metricsmith.api.errors import json_response, problems_error
from metricsmith.api.health import GROUP, page
from metricsmith.api.origin import refuse_other_origin
from metricsmith.api.routes import Operation
from metricsmith.api.schemas import RELOADED, STATUS, STORAGE
from metricsmith.api.sinks import sink_view
from metricsmith.api.workers import Workers
from metricsmith.delivery.status import SinkStatus
from metricsmith.errors import ConfigError, Problem
from metricsmith.model.duration import format_duration
from metricsmith.model.settings_types import format_size
from metricsmith.model.targets import Health, PoolStatus
from metricsmith.store_contracts import StoreStatus
from metricsmith.wire.messages import format_timestamp

MOST_FAILING = 20
STALE_S = 600.0
_LINKS = ("/status", "/storage/status", "/health", "/ready", "/metrics", "/api/v1/metrics", "/openapi.json")


class StatusApi:
    """Says how the agent and its store are."""

    def __init__(self, context: ApiContext, workers: Workers) -> None:
        self._context = context
        self._workers = workers

    def operations(self) -> list[Operation]:
        """Return the operations of this group."""
        return [
            page("/", self._home, "A page of links.", media_type="text/html"),
            page("/status", self._status, "The agent and its work.", answer=STATUS),
            page("/storage/status", self._storage_status, "The store.", answer=STORAGE),
            Operation(
                "/-/reload",
                ("POST",),
                self._reload,
                "Read the configuration again: all of it is taken, or nothing.",
                GROUP,
                answers={
                    200: "Reloaded.",
                    400: "Not reloaded; `problems` lists every mistake.",
                    403: "Sent by a web page of another server.",
                    503: "Starting or stopping.",
                },
                error=problems_error,
                answer=RELOADED,
            ),
        ]

    async def _home(self, request: Request) -> Response:
        links = "".join(f'<li><a href="{path}">{path}</a></li>' for path in _LINKS)
        name = html.escape(self._context.status().name)
        return HTMLResponse(
            f'<!doctype html><html lang="en"><meta charset="utf-8"><title>metricsmith</title>'
            f"<h1>metricsmith {__version__}</h1><p>Agent {name}</p><ul>{links}</ul></html>"
        )

    async def _status(self, request: Request) -> Response:
        store = await self._workers.run(self._context.store.status)
        pools = await self._workers.run(self._context.pools)
        agent, reason = self._context.status(), self._context.not_ready()
        last_ms = _last_ms(store, agent)
        body = {
            "status": "unhealthy" if reason else "healthy",
            "mode": agent.mode,
            "uptime": format_duration(agent.uptime_ms // 1000 * 1000),
            "uptime_seconds": agent.uptime_ms // 1000,
            "metrics_processed": agent.samples_accepted,
            "storage_status": _works(store, agent.storage)[0],
            "last_metric": None if last_ms is None else format_timestamp(last_ms),
            "name": agent.name,
            "version": __version__,
            "sources": list(agent.sources),
            **_targets(pools),
            "sinks": list(map(sink_view, agent.sinks)),
            "warnings": [*agent.warnings, *_stale(pools)],
        }
        return json_response(body | ({"reason": reason} if reason else {}))

    async def _storage_status(self, request: Request) -> Response:
        store = await self._workers.run(self._context.store.status)
        return json_response(_storage(store, self._context.status(), self._context.journal_bytes()))

    async def _reload(self, request: Request) -> Response:
        refuse_other_origin(request)
        try:
            await self._context.reload()
        except ConfigError as error:
            return json_response(
                {"error": str(error), "problems": [_problem(p) for p in error.problems]}, 400
            )
        return json_response({"status": "reloaded"})


def _targets(pools: Iterable[PoolStatus]) -> dict[str, object]:
    """How many targets, integrations and collectors are how, and what is wrong with the first that fail."""
    active = [target for pool in pools for target in pool.active]
    counts = Counter(target.health for target in active)
    down = (target for target in active if target.last is not None and target.last.error)
    return {
        "targets": {health.value: counts[health] for health in Health},
        "failing": [
            {"source": each.job, "target": each.url, "error": each.last.error}
            for each in islice(down, MOST_FAILING)
            if each.last is not None
        ],
    }


def _stale(pools: Iterable[PoolStatus]) -> Iterator[str]:
    """Yield what is wrong with sources that do not hear of their targets."""
    for pool in pools:
        if pool.list_age_s > STALE_S:
            age = format_duration(int(pool.list_age_s) * 1000)
            yield (
                f"source {pool.name}: its list of targets is {age} old, and what was listed then is scraped: "
                "see the log, and metricsmith_discovery_failures_total, for why no newer one can be had"
            )


def _works(store: StoreStatus, writing: SinkStatus | None) -> tuple[str, str]:
    """Return how a store is, and why it is not well: it cannot be asked, or it cannot be written."""
    if not store.detail and writing is not None and writing.state != "ok":
        return "error", writing.last_error or f"what writes it is {writing.state}"
    return store.status, store.detail


def _last_ms(store: StoreStatus, agent: AgentStatus) -> int | None:
    return agent.last_sample_ms if store.last_sample_ms is None else store.last_sample_ms


def _storage(store: StoreStatus, agent: AgentStatus, journal_bytes: int) -> dict[str, object]:
    here = store.disk_usage_bytes
    disk_bytes = None if here is None else here + journal_bytes
    status, detail = _works(store, agent.storage)
    last_ms = _last_ms(store, agent)
    body: dict[str, object] = {
        "type": store.type,
        "status": status,
        "database": store.database,
        "retention": None if store.retention_ms is None else format_duration(store.retention_ms),
        "disk_usage": None if disk_bytes is None else format_size(disk_bytes),
        "disk_usage_bytes": disk_bytes,
        "journal_bytes": journal_bytes,
        "series": store.series,
        "blocks": store.blocks,
        "head_samples": store.head_samples,
        "last_metric": None if last_ms is None else format_timestamp(last_ms),
    }
    if agent.storage is not None:
        body["writing"] = sink_view(agent.storage)
    return body | ({"detail": detail} if detail else {})


def _problem(problem: Problem) -> dict[str, object]:
    return {
        "field": problem.path,
        "problem": problem.message,
        "file": problem.file,
        "line": problem.line,
        "hint": problem.hint,
    }
