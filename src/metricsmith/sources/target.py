"""One target: when it is scraped, and what happens when."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

from yarl import URL

from metricsmith.contracts import Context, Emit
from metricsmith.errors import DiskFull, JournalError, ScrapeError
from metricsmith.sources.body import BodyReader, OverLimit, Scraped
from metricsmith.sources.client import HttpClient
from metricsmith.sources.endpoint import Endpoint
from metricsmith.sources.plan import Planner
from metricsmith.sources.samples import Outgoing, Samples
from metricsmith.sources.settings import ScrapeConfig
from metricsmith.wire.exposition import ACCEPT_HEADER

log = logging.getLogger(__name__)

TOLERANCE_MS = 2


@dataclass(frozen=True, slots=True)
class Equipment:
    """What all targets of a source share."""

    config: ScrapeConfig
    context: Context
    client: HttpClient
    emit: Emit


class Target:
    """Scrapes one endpoint on its schedule, until its task is cancelled."""

    def __init__(self, endpoint: Endpoint, stream: str, equipment: Equipment) -> None:
        self.endpoint = endpoint
        self.stream = stream
        self._equipment = equipment
        self._context = equipment.context
        self._config = equipment.config
        self._url = URL(endpoint.url)
        self._headers = {
            "Accept": ACCEPT_HEADER,
            "X-Prometheus-Scrape-Timeout-Seconds": f"{endpoint.timeout_ms / 1000:g}",
        }
        planner = Planner(self._config, self._context.series, endpoint.labels, stream)
        self._reader = BodyReader(self._config, self._context, planner, endpoint.shown)
        self._samples = Samples(planner)
        self._closing = False
        self._emitting = False
        self._last_ms = 0

    async def run(self) -> None:
        """Scrape at every due time until cancelled or closed."""
        clock = self._context.clock
        due = self._due_after(clock.now_ms())
        while not self._closing:
            wait_ms = due - clock.now_ms()
            if wait_ms > 0:
                await clock.sleep(wait_ms / 1000)
            await self._scrape_guarded(self._timestamp(due))
            due = self._next_due(due)

    def close(self, task: asyncio.Task[None]) -> None:
        """End the task of `run`: at once, or as soon as the batch that is being handed on is accepted."""
        self._closing = True
        if not self._emitting:
            task.cancel()

    async def end(self) -> None:
        """Mark all series of the target as ended, because it was removed."""
        outgoing = self._samples.end(max(self._context.clock.now_ms(), self._last_ms + 1))
        if outgoing is not None:
            await self._emit(outgoing)

    async def scrape(self, time_ms: int) -> None:
        """Scrape once and emit what came of it, success or not."""
        clock, name = self._context.clock, self._context.name
        self._context.telemetry.count("metricsmith_scrapes_total", source=name)
        start = clock.monotonic()
        try:
            scraped = await self._fetch()
        except OverLimit as error:
            self._failed(error)
            plan = error.plan
            outgoing = self._samples.failure(
                time_ms, clock.monotonic() - start, plan.scraped, plan.post_relabel
            )
        except ScrapeError as error:
            self._failed(error)
            outgoing = self._samples.failure(time_ms, clock.monotonic() - start)
        else:
            outgoing = self._samples.success(
                time_ms, scraped.plan, scraped.values, scraped.explicit, clock.monotonic() - start
            )
            if scraped.plan.duplicates:
                self._dropped(scraped.plan.duplicates, "duplicate", "a series stands twice in one scrape")
        self._last_ms = time_ms
        await self._emit(outgoing)

    async def _scrape_guarded(self, time_ms: int) -> None:
        try:
            await self.scrape(time_ms)
        except Exception as error:  # a defect met by one target must not end the scraping of all
            self._failed(self._defect(error))

    async def _fetch(self) -> Scraped:
        timeout_s = self.endpoint.timeout_ms / 1000
        limit_bytes = self._config.body_size_limit
        answer = await self._equipment.client.get(self._url, self._headers, timeout_s, limit_bytes)
        try:
            return await self._reader.read(answer)
        except ScrapeError:
            raise
        except Exception as error:  # what a hostile body may find in the parser fails its own scrape only
            raise self._defect(error) from error

    async def _emit(self, outgoing: Outgoing) -> None:
        self._emitting = True
        try:
            await self._equipment.emit(outgoing.batch)
        except DiskFull as error:
            self._dropped(len(outgoing.batch), "disk_full", str(error))
        except JournalError as error:
            self._dropped(len(outgoing.batch), "journal", str(error))
        else:
            self._samples.accepted(outgoing)
        finally:
            self._emitting = False

    def _due_after(self, now_ms: int) -> int:
        interval_ms, offset_ms = self.endpoint.interval_ms, self.endpoint.offset_ms()
        return now_ms + (offset_ms - now_ms) % interval_ms

    def _next_due(self, due: int) -> int:
        """The next due time; a scrape that overran starts the next at once, whole missed ones are skipped."""
        interval_ms, now = self.endpoint.interval_ms, self._context.clock.now_ms()
        due += interval_ms
        if due - now > 2 * interval_ms:  # the wall clock was set back, more than a timer is early
            return self._due_after(now)
        missed = max(0, (now - due) // interval_ms)
        if missed:
            self._context.telemetry.count(
                "metricsmith_scrapes_skipped_total", missed, source=self._context.name
            )
        return due + missed * interval_ms

    def _timestamp(self, due: int) -> int:
        # Timers are late by a little that means nothing; equal distances compress and compare better.
        now = self._context.clock.now_ms()
        return due if abs(now - due) <= min(TOLERANCE_MS, self.endpoint.interval_ms // 100) else now

    def _failed(self, error: ScrapeError) -> None:
        self._context.telemetry.problem(
            log,
            "metricsmith_scrape_failures_total",
            f"{self._context.name}: {self.endpoint.shown}: {error}",
            source=self._context.name,
            reason=error.reason,
        )

    def _defect(self, error: Exception) -> ScrapeError:
        log.error("%s: %s: defect in a scrape", self._context.name, self.endpoint.shown, exc_info=error)
        return ScrapeError("internal", f"{type(error).__name__} in the scraper")

    def _dropped(self, samples: int, reason: str, message: str) -> None:
        self._context.telemetry.problem(
            log,
            "metricsmith_samples_dropped_total",
            f"{self._context.name}: {self.endpoint.shown}: {samples} samples dropped: {message}",
            amount=samples,
            component=self._context.name,
            reason=reason,
        )
