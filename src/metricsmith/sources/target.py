"""One target: when it is scraped, and what happens when."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass

from yarl import URL

from metricsmith.contracts import Context, Emit
from metricsmith.errors import DiskFull, JournalError, ScrapeError
from metricsmith.model.labels import decode_labels
from metricsmith.model.schedule import Schedule
from metricsmith.model.targets import LastScrape, TargetStatus
from metricsmith.sources.body import BodyReader, OverLimit, Scraped
from metricsmith.sources.client import HttpClient
from metricsmith.sources.endpoint import Endpoint
from metricsmith.sources.plan import Planner
from metricsmith.sources.samples import Outgoing, Samples
from metricsmith.sources.settings import ScrapeConfig
from metricsmith.wire.exposition import ACCEPT_HEADER, ACCEPT_TEXT_HEADER, ExpositionFormat, format_of

log = logging.getLogger(__name__)


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
        self._last: LastScrape | None = None

    def status(self, discovered: Mapping[str, str]) -> TargetStatus:
        """Return what is known of the target, which was discovered with these labels."""
        one = self.endpoint
        labels = decode_labels(one.labels)
        return TargetStatus(
            self._context.name, one.shown, labels, one.interval_ms, one.timeout_ms, self._last, discovered
        )

    async def run(self) -> None:
        """Scrape at every due time until cancelled or closed."""
        clock, schedule = self._context.clock, Schedule(self.endpoint.interval_ms, self.endpoint.offset_ms())
        due = schedule.first(clock.now_ms())
        while not self._closing:
            wait_ms = due - clock.now_ms()
            if wait_ms > 0:
                await clock.sleep(wait_ms / 1000)
            await self._scrape_guarded(schedule.timestamp(due, clock.now_ms()))
            due, missed = schedule.following(due, clock.now_ms())
            if missed:
                self._context.telemetry.count(
                    "metricsmith_scrapes_skipped_total", missed, source=self._context.name
                )

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
        start_ms, start = clock.now_ms(), clock.monotonic()
        failure = ""
        try:
            scraped = await self._fetch()
        except ScrapeError as error:
            duration_s, failure = clock.monotonic() - start, str(error)
            self._failed(error)
            counts = (error.plan.scraped, error.plan.post_relabel) if isinstance(error, OverLimit) else (0, 0)
            outgoing = self._samples.failure(time_ms, duration_s, *counts)
        else:
            duration_s = clock.monotonic() - start
            outgoing = self._samples.success(
                time_ms, scraped.plan, scraped.values, scraped.explicit, duration_s
            )
            if scraped.plan.duplicates:
                self._duplicates(scraped.plan.duplicates)
        self._last = LastScrape(start_ms, duration_s, failure)
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
        except ScrapeError as error:
            if error.reason == "parse" and format_of(answer.content_type) is ExpositionFormat.OPENMETRICS:
                self._ask_for_text()
            raise
        except Exception as error:  # what a hostile body may find in the parser fails its own scrape only
            raise self._defect(error) from error

    def _ask_for_text(self) -> None:
        """Ask for the older, laxer format from now on: many exporters announce OpenMetrics that is none."""
        if self._headers["Accept"] == ACCEPT_TEXT_HEADER:
            return
        self._headers["Accept"] = ACCEPT_TEXT_HEADER
        self._context.telemetry.problem(
            log,
            "metricsmith_scrape_warnings_total",
            f"{self._context.name}: {self.endpoint.shown}: its OpenMetrics breaks the format's rules; "
            "the text format is asked for from now on",
            source=self._context.name,
        )

    async def _emit(self, outgoing: Outgoing) -> None:
        self._emitting = True
        try:
            await self._equipment.emit(outgoing.batch)
        except JournalError as error:
            self._refused(len(outgoing.batch), error)
        else:
            self._samples.accepted(outgoing)
        finally:
            self._emitting = False

    def _failed(self, error: ScrapeError) -> None:
        self._context.telemetry.problem(
            log,
            "metricsmith_scrape_failures_total",
            f"{self._context.name}: {self.endpoint.shown}: {error}",
            subject=self.stream,
            source=self._context.name,
            reason=error.reason,
        )

    def _defect(self, error: Exception) -> ScrapeError:
        log.error("%s: %s: defect in a scrape", self._context.name, self.endpoint.shown, exc_info=error)
        return ScrapeError("internal", f"{type(error).__name__} in the scraper")

    def _refused(self, samples: int, error: JournalError) -> None:
        # The samples themselves are counted where they were refused.
        self._context.telemetry.problem(
            log,
            "metricsmith_source_failures_total",
            f"{self._context.name}: {self.endpoint.shown}: {samples} samples not accepted: {error}",
            source=self._context.name,
            reason="disk_full" if isinstance(error, DiskFull) else "journal_error",
        )

    def _duplicates(self, samples: int) -> None:
        self._context.telemetry.problem(
            log,
            "metricsmith_samples_dropped_total",
            f"{self._context.name}: {self.endpoint.shown}: {samples} samples name a series that a later "
            "line of the same scrape names again",
            amount=samples,
            subject=self.stream,
            component=self._context.name,
            reason="duplicate",
        )
