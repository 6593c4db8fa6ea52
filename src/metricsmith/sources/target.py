"""One target: when it is scraped, and what happens when."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache

from yarl import URL

from metricsmith.contracts import Context, Emit
from metricsmith.errors import DiskFull, ExpositionError, InputError, JournalError, ScrapeError
from metricsmith.model.arrays import F64
from metricsmith.sources.client import Answer, HttpClient, gunzip
from metricsmith.sources.endpoint import Endpoint
from metricsmith.sources.plan import Plan, Planner
from metricsmith.sources.samples import Explicit, Outgoing, Samples
from metricsmith.sources.settings import ScrapeConfig
from metricsmith.wire.exposition.formats import ACCEPT_HEADER, ExpositionFormat, format_of
from metricsmith.wire.exposition.parser import ExpositionParser, Structure

log = logging.getLogger(__name__)

INLINE_BYTES = 1 << 18
SETTLED_SCRAPES = 3
"""A body is parsed on the event loop when it is small and its series have been the same for this many
scrapes: that takes well under a millisecond. All else goes to a worker thread, so that no target
delays another."""
WORKERS = 4
TOLERANCE_MS = 2


@cache
def _workers() -> ThreadPoolExecutor:
    """The threads that parse; one set for all sources, as each thread costs memory."""
    return ThreadPoolExecutor(WORKERS, thread_name_prefix="scrape-parse")


@dataclass(frozen=True, slots=True)
class Equipment:
    """What all targets of a source share."""

    config: ScrapeConfig
    context: Context
    client: HttpClient
    emit: Emit


@dataclass(frozen=True, slots=True)
class _Scraped:
    plan: Plan
    values: F64
    explicit: Explicit | None


class _OverLimit(ScrapeError):
    """The scrape is whole, but has too many samples: its counts are still reported."""

    def __init__(self, plan: Plan, limit: int) -> None:
        self.plan = plan
        super().__init__("sample_limit", f"got {plan.post_relabel} samples, wanted at most {limit}")


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
        self._planner = Planner(self._config, self._context.series, endpoint.labels, stream)
        self._samples = Samples(self._planner)
        self._format = ExpositionFormat.TEXT
        self._parser = ExpositionParser(self._format)
        self._structure: Structure | None = None
        self._plan: Plan | None = None
        self._unchanged = 0
        self._large = False
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
        except _OverLimit as error:
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

    async def _fetch(self) -> _Scraped:
        timeout_s = self.endpoint.timeout_ms / 1000
        limit_bytes = self._config.body_size_limit
        answer = await self._equipment.client.get(self._url, self._headers, timeout_s, limit_bytes)
        try:
            return await self._digest_anywhere(answer)
        except ScrapeError:
            raise
        except Exception as error:  # what a hostile body may find in the parser fails its own scrape only
            raise self._defect(error) from error

    async def _digest_anywhere(self, answer: Answer) -> _Scraped:
        if self._unchanged >= SETTLED_SCRAPES and not self._large:
            body = self._gunzip_small(answer.body) if answer.gzip else answer.body
            if body is not None and len(body) <= INLINE_BYTES:
                return self._digest(body, answer.content_type)
        return await asyncio.get_running_loop().run_in_executor(_workers(), self._digest_any, answer)

    def _gunzip_small(self, body: bytes) -> bytes | None:
        # A small compressed body may be a large one, or a bomb: only a little is unpacked on the event loop.
        if len(body) > INLINE_BYTES:
            return None
        try:
            return gunzip(body, min(INLINE_BYTES, self._config.body_size_limit))
        except ScrapeError as error:
            if error.reason == "body_size" and self._config.body_size_limit > INLINE_BYTES:
                return None
            raise

    def _digest_any(self, answer: Answer) -> _Scraped:
        body = gunzip(answer.body, self._config.body_size_limit) if answer.gzip else answer.body
        self._large = len(body) > INLINE_BYTES
        return self._digest(body, answer.content_type)

    def _digest(self, body: bytes, content_type: str) -> _Scraped:
        unchanged, self._unchanged = self._unchanged, 0
        if (got := format_of(content_type)) is not self._format:
            self._format, self._parser = got, ExpositionParser(got)
        try:
            parsed = self._parser.parse(body)
        except ExpositionError as error:
            raise ScrapeError("parse", f"the exposition is malformed: {error}") from None
        except InputError as error:
            raise ScrapeError("parse_limit", f"the exposition is too large: {error}") from None
        if self._plan is not None and parsed.structure is self._structure:
            self._unchanged = unchanged + 1
        else:
            self._plan = self._planner.plan(parsed.structure.keys, parsed.structure.metadata)
            self._structure = parsed.structure
            self._context.telemetry.count(
                "metricsmith_scrape_layout_changes_total", source=self._context.name
            )
        if 0 < self._config.sample_limit < self._plan.post_relabel:
            raise _OverLimit(self._plan, self._config.sample_limit)
        explicit = None
        if self._config.honor_timestamps and parsed.times_ms is not None and parsed.has_time is not None:
            explicit = Explicit(parsed.times_ms, parsed.has_time)
        return _Scraped(self._plan, parsed.values, explicit)

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
        if due - now > interval_ms:
            return self._due_after(now)  # the wall clock was set back
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
