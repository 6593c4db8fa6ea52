"""Prometheus' API of targets: what is scraped, how it went, and the metrics that each has."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from metricsmith.api.body import Bodies
from metricsmith.api.context import ApiContext
from metricsmith.api.errors import json_response
from metricsmith.api.params import read_params
from metricsmith.api.prometheus import ERRORS, GROUP
from metricsmith.api.queries import Queries
from metricsmith.api.routes import NUMBER, Operation, Parameter
from metricsmith.api.schemas import SCRAPE_POOLS, TARGET_METADATA, TARGETS
from metricsmith.api.selectors import read_selector
from metricsmith.api.times import NEVER, rfc3339
from metricsmith.api.workers import Workers
from metricsmith.model.duration import format_duration
from metricsmith.model.matchers import Matcher, MatchOp
from metricsmith.model.metadata import SAMPLE_SUFFIXES, Metadata
from metricsmith.model.progress import Progress
from metricsmith.model.targets import PoolStatus, TargetStatus
from metricsmith.promql.budget import Budget

RECENT_MS = 300_000
"""A target has the metrics that it had so long ago."""


class TargetsApi:
    """Says what is scraped."""

    def __init__(self, context: ApiContext, queries: Queries, workers: Workers, bodies: Bodies) -> None:
        self._context = context
        self._queries = queries
        self._workers = workers
        self._bodies = bodies

    def operations(self) -> list[Operation]:
        """Return the operations of this group."""
        return [
            Operation(
                "/api/v1/targets",
                ("GET",),
                self._targets,
                "List what is scraped, and what relabel rules drop.",
                GROUP,
                (
                    Parameter("state", "active, dropped or any; any other text selects nothing."),
                    Parameter("scrapePool", "Only targets of this source."),
                ),
                answers={200: "`data.activeTargets`, `data.droppedTargets`."},
                answer=TARGETS,
            ),
            Operation(
                "/api/v1/targets/metadata",
                ("GET",),
                self._metadata,
                "Type, unit and help of the metrics of each target.",
                GROUP,
                (
                    Parameter("match_target", "Selector on the labels of targets."),
                    Parameter("metric", "Only this metric."),
                    Parameter("limit", "Most targets to look at.", NUMBER),
                ),
                answers={200: "`data` lists metrics of targets.", **ERRORS},
                answer=TARGET_METADATA,
            ),
            Operation(
                "/api/v1/scrape_pools",
                ("GET",),
                self._pools,
                "List the sources that scrape.",
                GROUP,
                answers={200: "`data.scrapePools` lists names."},
                answer=SCRAPE_POOLS,
            ),
        ]

    async def _targets(self, request: Request) -> Response:
        params = await read_params(request, self._bodies)
        state, pool = params.text("state").lower(), params.text("scrapePool")
        return await self._workers.run(lambda: _success(self._listed(state, pool)))

    def _listed(self, state: str, wanted: str) -> dict[str, Any]:
        pools = [pool for pool in self._context.pools() if wanted in ("", pool.name)]
        active = [t for pool in pools for t in pool.active] if state in ("", "any", "active") else []
        dropped = [
            {"discoveredLabels": labels, "scrapePool": pool.name} for pool in pools for labels in pool.dropped
        ]
        return {
            "activeTargets": [_target(t) for t in active],
            "droppedTargets": dropped if state in ("", "any", "dropped") else [],
            "droppedTargetCounts": {pool.name: pool.dropped_count for pool in pools},
        }

    async def _pools(self, request: Request) -> Response:
        names = await self._workers.run(lambda: [pool.name for pool in self._context.pools()])
        return _success({"scrapePools": names})

    async def _metadata(self, request: Request) -> Response:
        params = await read_params(request, self._bodies)
        selector, metric, limit = params.text("match_target"), params.text("metric"), params.cut("limit")

        def answer(progress: Progress, timeout_s: float) -> Response:
            matchers = read_selector("match_target", selector, may_match_all=True) if selector else ()
            budget = self._context.engine.budget(timeout_s, progress)
            targets = _matching(self._context.pools(), matchers)[:limit]
            return _success(list(self._entries(targets, metric, budget)))

        return await self._queries.run(request, "targets", selector, answer)

    def _entries(
        self, targets: Sequence[TargetStatus], metric: str, budget: Budget
    ) -> Iterator[dict[str, Any]]:
        known = self._context.store.metadata()
        known = {metric: known[metric]} if metric in known else {} if metric else known
        end_ms = self._context.clock.now_ms()
        for target in targets if known else ():
            budget.check_time()
            own = [Matcher(name, MatchOp.EQ, value) for name, value in target.labels.items()]
            names = self._context.store.label_values("__name__", own, end_ms - RECENT_MS, end_ms)
            for family in sorted(_families(names, known)):
                yield _entry(target, family, known[family], metric)


def _target(target: TargetStatus) -> dict[str, Any]:
    last = target.last
    return {
        "discoveredLabels": target.discovered,
        "labels": target.labels,
        "scrapePool": target.job,
        "scrapeUrl": target.url,
        "globalUrl": target.url,
        "lastError": "" if last is None else last.error,
        "lastScrape": NEVER if last is None else rfc3339(last.time_ms),
        "lastScrapeDuration": 0.0 if last is None else last.duration_s,
        "health": target.health.value,
        "scrapeInterval": format_duration(target.interval_ms),
        "scrapeTimeout": format_duration(target.timeout_ms),
    }


def _matching(pools: Iterable[PoolStatus], matchers: Sequence[Matcher]) -> list[TargetStatus]:
    return [
        target
        for pool in pools
        for target in pool.active
        if all(m.matches(target.labels.get(m.name, "")) for m in matchers)
    ]


def _families(names: Iterable[str], known: Mapping[str, Metadata]) -> set[str]:
    """Return the families with metadata that series of these names belong to."""
    families: set[str] = set()
    for name in names:
        stems = [name.removesuffix(suffix) for suffix in SAMPLE_SUFFIXES if name.endswith(suffix)]
        families.update(family for family in (name, *stems) if family in known)
    return families


def _entry(target: TargetStatus, family: str, known: Metadata, metric: str) -> dict[str, Any]:
    described = {"type": known.type.value, "help": known.help, "unit": known.unit}
    named = {} if metric else {"metric": family}  # the caller knows it then
    return {"target": target.labels, **named, **described}


def _success(data: object) -> Response:
    return json_response({"status": "success", "data": data})
