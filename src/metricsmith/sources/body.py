"""One target's bodies to plans and values: decompressed, parsed, planned, where they delay nobody."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache

from metricsmith.contracts import Context
from metricsmith.errors import ExpositionError, InputError, ScrapeError
from metricsmith.model.arrays import F64
from metricsmith.sources.client import Answer, gunzip
from metricsmith.sources.plan import Plan, Planner
from metricsmith.sources.samples import Explicit
from metricsmith.sources.settings import ScrapeConfig
from metricsmith.wire.exposition import (
    ExpositionFormat,
    ExpositionParser,
    ParsedDocument,
    Structure,
    format_of,
)

log = logging.getLogger(__name__)

INLINE_BYTES = 1 << 18
SETTLED_SCRAPES = 3
"""A body is parsed on the event loop when it is small and its series have been the same for this many
scrapes: that takes well under a millisecond. All else goes to a worker thread, so that no target
delays another."""
WORKERS = 4


@cache
def _workers() -> ThreadPoolExecutor:
    """The threads that parse; one set for all sources, as each thread costs memory."""
    return ThreadPoolExecutor(WORKERS, thread_name_prefix="scrape-parse")


@dataclass(frozen=True, slots=True)
class Scraped:
    """What a body holds.

    Shapes:
        values: (P,) one per exposed sample; the plan gathers from them.
    """

    plan: Plan
    values: F64
    explicit: Explicit | None


class OverLimit(ScrapeError):
    """The scrape is whole, but has too many samples: its counts are still reported."""

    def __init__(self, plan: Plan, limit: int) -> None:
        self.plan = plan
        super().__init__("sample_limit", f"got {plan.post_relabel} samples, wanted at most {limit}")


class BodyReader:
    """Reads one target's bodies, one at a time; the plan is the last one's while the series are."""

    def __init__(self, config: ScrapeConfig, context: Context, planner: Planner, shown: str) -> None:
        self._config = config
        self._context = context
        self._planner = planner
        self._shown = shown
        self._format = ExpositionFormat.TEXT
        self._parser = self._new_parser()
        self._structure: Structure | None = None
        self._plan: Plan | None = None
        self._unchanged = 0
        self._large = False

    async def read(self, answer: Answer) -> Scraped:
        """Return what a body holds.

        Raises:
            ScrapeError: damaged, malformed, or over a limit.
        """
        if self._unchanged >= SETTLED_SCRAPES and not self._large:
            body = self._small(answer)
            if body is not None:
                return self._parse(body, answer.content_type)
        return await asyncio.get_running_loop().run_in_executor(_workers(), self._read_any, answer)

    def _small(self, answer: Answer) -> bytes | None:
        """The plain body, or None if it is large; no more than a small one is ever unpacked here."""
        if len(answer.body) > INLINE_BYTES:
            return None
        if not answer.gzip:
            return answer.body
        try:
            return gunzip(answer.body, min(INLINE_BYTES, self._config.body_size_limit))
        except ScrapeError as error:
            if error.reason == "body_size" and self._config.body_size_limit > INLINE_BYTES:
                return None
            raise

    def _read_any(self, answer: Answer) -> Scraped:
        body = gunzip(answer.body, self._config.body_size_limit) if answer.gzip else answer.body
        self._large = len(body) > INLINE_BYTES
        return self._parse(body, answer.content_type)

    def _parse(self, body: bytes, content_type: str) -> Scraped:
        unchanged, self._unchanged = self._unchanged, 0
        if (got := format_of(content_type)) is not self._format:
            self._format = got
            self._parser = self._new_parser()
        try:
            parsed = self._parser.parse(body)
        except ExpositionError as error:
            raise ScrapeError("parse", f"the exposition is malformed: {error}") from None
        except InputError as error:
            raise ScrapeError("parse_limit", f"the exposition is too large: {error}") from None
        if self._plan is not None and parsed.structure is self._structure:
            self._unchanged = unchanged + 1
        else:
            self._plan = self._learn(parsed.structure)
        if 0 < self._config.sample_limit < self._plan.post_relabel:
            raise OverLimit(self._plan, self._config.sample_limit)
        return Scraped(self._plan, parsed.values, self._explicit(parsed))

    def _new_parser(self) -> ExpositionParser:
        return ExpositionParser(self._format, empty_labels=self._planner.honoured)

    def _learn(self, structure: Structure) -> Plan:
        telemetry, name = self._context.telemetry, self._context.name
        plan = self._planner.plan(structure)
        telemetry.count("metricsmith_scrape_layout_changes_total", source=name)
        if warnings := structure.warnings:
            telemetry.problem(
                log,
                "metricsmith_scrape_warnings_total",
                f"{name}: {self._shown}: {warnings[0]}",
                amount=len(warnings),
                source=name,
            )
        self._structure = structure
        return plan

    def _explicit(self, parsed: ParsedDocument) -> Explicit | None:
        if not self._config.honor_timestamps or parsed.times_ms is None or parsed.has_time is None:
            return None
        return Explicit(parsed.times_ms, parsed.has_time)
