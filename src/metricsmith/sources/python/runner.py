"""One collector within the agent: when it is due, what becomes of its values, how it is."""

from __future__ import annotations

import asyncio
import logging
import zlib
from collections.abc import Mapping

import numpy as np

from metricsmith.contracts import Context, Emit
from metricsmith.errors import JournalError
from metricsmith.model.batch import Batch, Layout
from metricsmith.model.metadata import Metadata, MetricType
from metricsmith.model.schedule import Schedule, phase
from metricsmith.model.targets import LastScrape, TargetStatus
from metricsmith.sources.python.admission import Admission, Owners
from metricsmith.sources.python.collecting import Collecting, Outcome
from metricsmith.sources.python.values import Name, Timed, key_of, merged
from metricsmith.sources.stream import SeriesStream

log = logging.getLogger(__name__)

REPORT = {
    "collector_up": Metadata(MetricType.GAUGE, "", "1 when the last collection went well, else 0."),
    "collector_duration_seconds": Metadata(MetricType.GAUGE, "seconds", "Time of the last collection."),
    "collector_samples": Metadata(MetricType.GAUGE, "", "Samples that the last collection gave."),
}
FAILURES, PROBLEMS = "metricsmith_collector_failures_total", "metricsmith_collector_problems_total"


class Runner:
    """Collects at every due time until its task is cancelled; whatever that does concerns nobody else."""

    def __init__(self, collecting: Collecting, context: Context, emit: Emit, owners: Owners) -> None:
        self.collecting = collecting
        self.name = name = collecting.unit.name
        self._context, self._emit = context, emit
        limits = collecting.limits
        fixed = {**limits.labels, "collector": name}
        labels = tuple(sorted((label, text) for label, text in fixed.items() if text))
        self._shown = {label: limits.labels[label] for label in ("job", "instance") if label in limits.labels}
        self._report: list[Name] = [(metric, labels) for metric in REPORT]
        self._names: tuple[list[Name], list[Name]] = ([], self._report)
        self._admission = Admission(name, owners, limits.max_series)
        self._stream = SeriesStream[Name](f"python/{context.name}/{name}", context.series, REPORT, key_of)
        self._last: LastScrape | None = None
        self._last_ms = 0
        self._reported = self._busy = self._closing = False

    def follow(self, former: Runner) -> None:
        """Go on with the series of a former version of the collector."""
        self._stream, self._last_ms = former._stream, former._last_ms
        self._reported, self._last = former._reported, former._last
        former._admission.end()

    def status(self) -> TargetStatus:
        """Return what is known of the collector."""
        limits = self.collecting.limits
        return TargetStatus(
            self._context.name,
            f"python:{self.name}",
            {**self._shown, "collector": self.name},
            limits.interval_ms,
            limits.timeout_ms,
            self._last,
            {"origin": self.collecting.unit.origin},
        )

    async def run(self) -> None:
        """Collect whenever it is due."""
        clock, interval_ms = self._context.clock, self.collecting.limits.interval_ms
        schedule = Schedule(interval_ms, phase(zlib.crc32(self.name.encode()), interval_ms))
        due = schedule.first(clock.now_ms())
        while not self._closing:
            if (wait_ms := due - clock.now_ms()) > 0:
                await clock.sleep(wait_ms / 1000)
            await self.collect(schedule.timestamp(due, clock.now_ms()))
            due, missed = schedule.following(due, clock.now_ms())
            if missed:
                self._count("metricsmith_collector_skipped_total", missed)

    async def collect(self, time_ms: int) -> None:
        """Collect once and emit what came of it, success or not."""
        outcome = await self.collecting.once()
        if outcome.reason == "hung":
            self._count("metricsmith_collector_skipped_total")
        elif outcome.reason:
            self._problem(FAILURES, outcome.reason, outcome.error)
        self._busy = True
        try:
            await self._send(outcome, time_ms)
        finally:
            self._busy = False

    def close(self, task: asyncio.Task[None]) -> None:
        """End the task of `run`: at once, or as soon as the batch that is being handed on is accepted."""
        self._closing = True
        if not self._busy:
            task.cancel()

    async def end(self) -> None:
        """Mark all series as ended: the collector is gone."""
        self._admission.end()
        if self._reported:
            await self._accept([], [], max(self._context.clock.now_ms(), self._last_ms + 1), {})

    async def _send(self, outcome: Outcome, time_ms: int) -> None:
        rows, timed, error = outcome.rows, list[Timed](), outcome.error
        metadata: Mapping[str, Metadata] = REPORT
        if outcome.reason:
            names, values = self._report, [0.0, outcome.duration_s, 0.0]
        else:
            taken, values = self._admission.admit(rows, time_ms)
            timed = self._admission.admit_timed(rows)
            for reason, count in rows.problems.items():
                self._problem(PROBLEMS, reason, rows.told[reason], count)
            if taken is not self._names[0]:
                self._names = taken, [*taken, *self._report]
            if rows.told and not taken and not timed:
                error = f"every sample was refused: {next(iter(rows.told.values()))}"
            names, values = self._names[1], [*values, float(not error), outcome.duration_s, len(rows)]
            metadata = {**merged(self.collecting.unit.described, rows.metadata), **REPORT}
        self._last = LastScrape(time_ms, outcome.duration_s, error)
        await self._accept(names, values, time_ms, metadata)
        if timed:
            await self._hand_on(self._timed(timed, metadata))

    async def _accept(
        self, names: list[Name], values: list[float], time_ms: int, metadata: Mapping[str, Metadata]
    ) -> None:
        batch = self._stream.batch(names, values, time_ms, metadata)
        if await self._hand_on(batch):
            self._stream.accepted()
            self._reported, self._last_ms = True, time_ms

    def _timed(self, samples: list[Timed], metadata: Mapping[str, Metadata]) -> Batch:
        """Return samples that have times of their own: they are no stream, and nothing marks their end."""
        ids = self._context.series.intern_many(key_of(name) for name, _, _ in samples)
        times = np.array([time_ms for _, _, time_ms in samples], dtype=np.int64)
        values = np.array([value for _, value, _ in samples], dtype=np.float64)
        return Batch(Layout(ids, None, metadata), times, values)

    async def _hand_on(self, batch: Batch) -> bool:
        try:
            await self._emit(batch)
        except JournalError as error:  # the samples themselves are counted where they were refused
            self._problem(FAILURES, "journal_error", f"samples not accepted: {error}")
            return False
        return True

    def _count(self, name: str, amount: float = 1, **labels: str) -> None:
        self._context.telemetry.count(name, amount, source=self._context.name, collector=self.name, **labels)

    def _problem(self, name: str, reason: str, message: str, amount: float = 1) -> None:
        self._context.telemetry.problem(
            log,
            name,
            f"{self._context.name}: collector {self.name}: {message}",
            amount=amount,
            source=self._context.name,
            collector=self.name,
            reason=reason,
        )
