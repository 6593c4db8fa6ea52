"""One integration: when it runs, what becomes of its lines, how it is."""

from __future__ import annotations

import asyncio
import logging
import os
import zlib

from metricsmith.contracts import Context, Emit
from metricsmith.errors import InputError, JournalError, LimitExceeded, SourceError
from metricsmith.model.batch import Batch, event_batch
from metricsmith.model.clock import stopped_within
from metricsmith.model.schedule import Schedule
from metricsmith.model.targets import LastScrape, TargetStatus
from metricsmith.sources.exec.emitting import Batches
from metricsmith.sources.exec.launch import command_of, conditions_hold
from metricsmith.sources.exec.lines import Line
from metricsmith.sources.exec.masking import Masking
from metricsmith.sources.exec.process import KILLED, End, Outcome, Run
from metricsmith.sources.exec.series import Converter, Rows
from metricsmith.sources.exec.settings import ExecConfig, Integration
from metricsmith.sources.exec.stderr import ErrorLog
from metricsmith.wire.ohi.decode import decode
from metricsmith.wire.ohi.document import Document, Request
from metricsmith.wire.ohi.reading import Limits

log = logging.getLogger(__name__)

FIRST_WITHIN_MS = 10_000
"""First runs are spread over so long, at most over the interval."""
LONGEST_BACKOFF_S = 600.0
REPORT_EVERY_S = 30.0
"""How often a long-running integration that answers is said to be up, or as often as its interval."""
VANISHED_AFTER = 3
"""Intervals after which a series that a long-running integration no longer tells of has ended."""
UNTIMED_MS = 100_000
"""Taken for the interval of one that has none."""
WORTH_A_THREAD = 1 << 15
"""Bytes of a line that is decoded beside the event loop."""
ONE_LINE = "one document is one line of JSON"
NOTHING_PRINTED = f"printed nothing ({ONE_LINE}; {{}} when there is nothing to tell)"
FAILURES, PROBLEMS = "metricsmith_exec_failures_total", "metricsmith_exec_problems_total"


class Runner:
    """Runs one integration until told to stop; whatever it does concerns nobody else."""

    def __init__(
        self, name: str, integration: Integration, config: ExecConfig, context: Context, emit: Emit
    ) -> None:
        self.name, self.integration = name, integration
        self._config, self._context, self._emit = config, context, emit
        self.interval_ms = max(integration.interval, config.min_interval) if integration.interval else 0
        self._limits = Limits(bytes=config.max_line, metrics=config.max_metrics)
        self._converter = Converter(name, integration, config)
        self._batches = Batches(context.name, name, context.series)
        self._masking = Masking()
        self._errors = ErrorLog(context, name, self._masking)
        self._last: LastScrape | None = None
        self._began_s = self._reported_s = 0.0
        self._samples = self._kills = 0
        self._answered, self._refused = False, ""

    def status(self) -> TargetStatus:
        """Return how the integration is. Its command line is not shown: secrets may stand there."""
        return TargetStatus(
            self._context.name,
            f"exec:{self.name}",
            {"integration": self.name},
            self.interval_ms,
            self.integration.timeout_ms or 0,
            self._last,
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Run it whenever it is due until `stop` is set."""
        clock, interval_ms = self._context.clock, self.interval_ms or FIRST_WITHIN_MS
        spread = zlib.crc32(self.name.encode()) % min(interval_ms, FIRST_WITHIN_MS)
        if await stopped_within(stop, clock, spread / 1000):
            return
        due = clock.now_ms()
        schedule = Schedule(interval_ms, due % interval_ms)
        while not stop.is_set():
            if conditions_hold(self.integration.when, self._config.features, os.environ):
                await self._run_once(stop)
                if not self.interval_ms:
                    return
            due, _ = schedule.following(due, clock.now_ms())
            await self._rest(stop, max((due - clock.now_ms()) / 1000, self._backoff_s()))

    async def end(self) -> None:
        """Mark all series of the integration as ended."""
        for batch in self._batches.end(self._context.clock.now_ms()):
            await self._send(batch)

    async def _rest(self, stop: asyncio.Event, wait_s: float) -> None:
        """Wait for the next run, and say now and then what the last one said."""
        clock, slice_s = self._context.clock, self._config.repeat / 1000 or wait_s
        until = clock.monotonic() + wait_s
        while True:
            left_s = until - clock.monotonic()
            if await stopped_within(stop, clock, min(left_s, slice_s)) or left_s <= slice_s:
                return
            for batch in self._batches.repeated(clock.now_ms()):
                await self._send(batch)

    async def _run_once(self, stop: asyncio.Event) -> None:
        clock = self._context.clock
        self._began_s, self._samples = clock.monotonic(), 0
        self._reported_s, self._answered, self._refused = self._began_s, False, ""
        self._batches.begin_run(clock.now_ms())
        try:
            with command_of(self.integration, self._config, self.interval_ms) as command:
                self._masking.learn(command.secrets)
                outcome = await Run(command, clock, self._take, self._errors.take).finish(stop)
        except SourceError as error:
            outcome = Outcome(End.NOT_STARTED, str(error))
        if outcome.end is End.STOPPED:
            return
        if outcome.end is End.DONE and not self._answered:
            outcome = Outcome(End.NOTHING_USABLE, self._refused or NOTHING_PRINTED)
        self._kills = self._kills + 1 if outcome.end in KILLED else 0
        now_ms, well = clock.now_ms(), outcome.end is End.DONE
        if not well:
            self._problem(FAILURES, outcome.end, f"{outcome.end.replace('_', ' ')}: {outcome.detail}")
        markers = self._batches.end_of_run(now_ms, well)
        if markers is not None:
            await self._send(markers)
        await self._report(now_ms, "" if well else f"{outcome.end.replace('_', ' ')}: {outcome.detail}")

    def _backoff_s(self) -> float:
        """Return how long to wait at least: twice as long after each kill."""
        if not self._kills:
            return 0.0
        longest = max(LONGEST_BACKOFF_S, self.interval_ms / 1000)
        return min(self.interval_ms / 1000 * 2.0 ** min(self._kills - 1, 20), longest)

    async def _take(self, line: Line) -> bool:
        """Take a line of output; return whether it is a document or a heartbeat."""
        if line.cut:
            self._refuse("line_too_long", f"a line is over {self._config.max_line} bytes")
            return False
        large = len(line.text) > WORTH_A_THREAD
        try:
            rows = await asyncio.to_thread(self._read, line.text) if large else self._read(line.text)
        except LimitExceeded as error:
            self._refuse("document_too_large", str(error))
            return False
        except InputError as error:
            self._refuse("not_a_document", f"{self._told(line.text, error)} ({ONE_LINE})")
            return False
        if rows is None:
            self._answered = True
        else:
            await self._send_rows(rows)
        if self._context.clock.monotonic() - self._reported_s >= self._report_every_s():
            self._reported_s = self._context.clock.monotonic()
            await self._end_vanished()
            await self._report(self._context.clock.now_ms(), "" if self._answered else self._refused)
        return True

    async def _end_vanished(self) -> None:
        now_ms = self._context.clock.now_ms()
        markers = self._batches.vanished(now_ms, now_ms - VANISHED_AFTER * (self.interval_ms or UNTIMED_MS))
        if markers is not None:
            await self._send(markers)

    def _told(self, text: bytes, error: InputError) -> str:
        """Return what is wrong with a line; secrets are hidden before a message quotes a part of it."""
        hidden = self._masking.hide_bytes(text)
        if hidden != text:
            try:
                decode(hidden, self._limits)
            except InputError as again:
                return str(again)
        return str(error)

    def _refuse(self, reason: str, message: str) -> None:
        """Count a line that is passed over; the first of a run says why, should there be no other."""
        self._problem(PROBLEMS, reason, message)
        self._refused = self._refused or message

    def _report_every_s(self) -> float:
        return min(self.interval_ms / 1000 or REPORT_EVERY_S, REPORT_EVERY_S)

    def _read(self, text: bytes) -> Rows | None:
        document = decode(text, self._limits)
        if isinstance(document, Document):
            return self._converter.rows(document, self._context.clock.now_ms())
        if isinstance(document, Request):
            self._problem(PROBLEMS, "request", f"asks for {document.kind}, which metricsmith does not do")
        return None

    async def _send_rows(self, rows: Rows) -> None:
        for reason, count in rows.problems.items():
            if reason in rows.told:
                self._problem(PROBLEMS, reason, rows.told[reason], count)
            else:
                self._count(PROBLEMS, reason, count)
        if rows.keys or rows.events or not rows.told:
            self._answered = True
        else:
            why = next(iter(rows.told.values()))
            self._refused = self._refused or f"nothing of a document is used: {why}"
        if rows.events:
            await self._send(event_batch(rows.events, self._context.clock.now_ms()))
        self._count("metricsmith_exec_documents_total")
        if rows.keys:
            self._samples += len(rows.keys)
            await self._send(self._batches.document(rows, self._context.clock.now_ms()))

    async def _report(self, now_ms: int, error: str) -> None:
        duration_s = self._context.clock.monotonic() - self._began_s
        self._last = LastScrape(now_ms, duration_s, self._masking.hide(error))
        await self._send(self._batches.report(now_ms, not error, duration_s, self._samples))

    async def _send(self, batch: Batch) -> None:
        try:
            await self._emit(batch)
        except JournalError as error:  # the samples themselves are counted where they were refused
            self._problem(FAILURES, "journal_error", f"not accepted: {error}")

    def _count(self, name: str, reason: str = "", amount: float = 1) -> None:
        labels = {"reason": reason} if reason else {}
        self._context.telemetry.count(
            name, amount, source=self._context.name, integration=self.name, **labels
        )

    def _problem(self, name: str, reason: str, message: str, amount: float = 1) -> None:
        self._context.telemetry.problem(
            log,
            name,
            f"{self._context.name}: integration {self.name}: {self._masking.hide(message)}",
            amount=amount,
            source=self._context.name,
            integration=self.name,
            reason=reason,
        )
