"""Queries of clients from arrival to answer: queue, time, hang-ups, counters, the log of slow ones."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TypeVar

from starlette.requests import Request

from metricsmith.api.context import ApiContext
from metricsmith.api.errors import ApiError
from metricsmith.api.workers import Workers
from metricsmith.errors import (
    ExecutionError,
    MetricsmithError,
    ParseError,
    QueryCancelled,
    QueryLimitExceeded,
    QueryTimeout,
    WrongQueryType,
)
from metricsmith.model.progress import Progress

log = logging.getLogger(__name__)

T = TypeVar("T")

MAX_LOGGED = 2000
"""Characters of an expression that are logged."""


class Queries:
    """Runs what reads the store for clients, who may go away meanwhile."""

    def __init__(self, context: ApiContext, workers: Workers) -> None:
        self._workers = workers
        self._limits, self._clock, self._telemetry = context.limits, context.clock, context.telemetry
        self._telemetry.set("metricsmith_queries_concurrent_max", workers.at_once)
        self._telemetry.watch("metricsmith_queries_running", lambda: workers.running)
        self._telemetry.watch("metricsmith_queries_waiting", lambda: workers.waiting)

    async def run(
        self,
        request: Request,
        kind: str,
        text: str,
        work: Callable[[Progress, float], T],
        timeout_s: float | None = None,
    ) -> T:
        """Return what `work` returns when called in a thread with its progress and the seconds it has.

        Time counts from arrival, so the wait for a thread is part of it. A client
        that goes away loses its place in the queue; running work sees it in its
        progress.

        Raises:
            ApiError: too many wait already.
            QueryTimeout, QueryCancelled: while it waits; and whatever `work` raises.
        """
        most_s = self._limits.query_timeout_s
        limit_s = most_s if timeout_s is None else min(timeout_s, most_s)
        progress, began, reason = Progress(), self._clock.monotonic(), ""
        client = _Client(request, progress)
        listening = asyncio.create_task(client.listen())
        try:
            await self._turn(client, progress, limit_s)
            waited_s = self._clock.monotonic() - began
            self._telemetry.observe("metricsmith_query_queue_seconds", waited_s)
            left_s = max(0.0, limit_s - waited_s)
            return await self._workers.use_turn(lambda: work(progress, left_s))
        except BaseException as error:
            reason = failure_reason(error)
            raise
        finally:
            listening.cancel()
            progress.cancelled = True  # the work goes on where the server gave up its request
            self._record(kind, text, progress, reason, self._clock.monotonic() - began)

    async def _turn(self, client: _Client, progress: Progress, limit_s: float) -> None:
        try:
            async with asyncio.timeout(limit_s) as client.patience:
                await self._workers.take_turn()
        except TimeoutError:
            if progress.cancelled:
                raise QueryCancelled("query was canceled in the query queue") from None
            raise QueryTimeout(f"query timed out in query queue: waited {limit_s:g} s") from None
        finally:
            client.patience = None

    def _record(self, kind: str, text: str, progress: Progress, reason: str, seconds: float) -> None:
        outcome = "failure" if reason else "success"
        self._telemetry.observe("metricsmith_query_seconds", seconds, kind=kind, outcome=outcome)
        self._telemetry.count("metricsmith_query_samples_total", progress.samples)
        if reason:
            self._telemetry.count("metricsmith_query_failures_total", reason=reason)
        slow_s = self._limits.log_slower_than_s
        if slow_s is not None and seconds >= slow_s:
            log.warning(
                "slow query: %s, %.3f s, %s, %d series and %d samples read, %d in memory: %s",
                kind,
                seconds,
                reason or "success",
                progress.series,
                progress.samples,
                progress.peak_samples,
                _one_line(text),
            )


class _Client:
    """Listens whether who asked is still there."""

    def __init__(self, request: Request, progress: Progress) -> None:
        self._request, self._progress = request, progress
        self.patience: asyncio.Timeout | None = None

    async def listen(self) -> None:
        """Return when the client has gone: its query is cancelled, and its wait ends."""
        while (await self._request.receive())["type"] != "http.disconnect":
            pass  # rests of a body that nobody asked for
        self._progress.cancelled = True
        if self.patience is not None:
            self.patience.reschedule(0)


def failure_reason(error: BaseException) -> str:
    """Return the constant under which a failed query is counted."""
    match error:
        case QueryLimitExceeded():
            return f"max_{error.limit}"
        case QueryTimeout():
            return "timeout"
        case QueryCancelled() | asyncio.CancelledError():
            return "canceled"
        case ParseError():
            return "parse"
        case WrongQueryType() | ExecutionError():
            return "execution"
        case ApiError():
            return error.kind
        case MetricsmithError():
            return type(error).__name__
    return "internal"


def _one_line(text: str) -> str:
    words = " ".join(text[:MAX_LOGGED].split())
    shown = "".join(c if c.isprintable() else "?" for c in words)
    return shown if len(text) <= MAX_LOGGED else f"{shown}… ({len(text)} characters)"
