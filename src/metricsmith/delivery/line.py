"""The way to one sink: takes from the journal in order, sends until it is taken, remembers what was done."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import takewhile
from typing import Protocol

from metricsmith.contracts import (
    Context,
    Delivery,
    Grouping,
    Preparing,
    Processor,
    Remarking,
    Sink,
)
from metricsmith.delivery.backoff import FIRST_WAIT_S, Ending, next_wait_s
from metricsmith.delivery.by_hand import ByHand
from metricsmith.delivery.pieces import Cutter, apart, newer, of_series
from metricsmith.delivery.processing import Prepared, Processing
from metricsmith.delivery.reading import Intake, Reader
from metricsmith.delivery.refused import Outcome, RefusedSeries
from metricsmith.delivery.status import Circuit, SinkStatus, Tally
from metricsmith.errors import JournalError, Rejected, RetryLater, TooLarge
from metricsmith.model.batch import Batch
from metricsmith.model.duration import format_duration

log = logging.getLogger(__name__)

CLOSE_LIMIT_S = 2.0
DEFECTS = 3
"""So many times in a row a sink may fail in a way nobody thought of, before the samples are set aside."""
EXPIRED = "the journal has reached its size limit (journal.max_size), and waits longest for this sink"
SEARCHES = 128
"""So many times parts of a delivery may be refused whole while the bad ones are looked for."""


class Quarantine(Protocol):
    """Where samples and events go that a destination refuses."""

    def put(self, sink: str, delivery: Delivery, reason: str) -> int:
        """Set them aside for people to look at; return how many there was room for."""
        ...


@dataclass(frozen=True, slots=True)
class Limits:
    """How a sink is served.

    `buffer` samples and events are in memory at most, or one batch of the
    journal, or of the sink, if that is more.

    Units:
        batch_size, buffer: samples. flush_s: seconds.
    """

    batch_size: int
    flush_s: float
    workers: int
    buffer: int = 1 << 20
    allowed_lag_ms: int | None = None


class Line:
    """One sink, its place in the journal, and the task that serves it."""

    def __init__(
        self,
        kind: str,
        sink: Sink,
        reader: Reader,
        end: Callable[[], int],
        context: Context,
        limits: Limits,
        quarantine: Quarantine,
        processors: Sequence[Processor] = (),
        before: Callable[[], Iterable[Batch]] = tuple,
        age_s: Callable[[int], float | None] = lambda sequence: None,
    ) -> None:
        """`end` gives the journal's next number, `before` what it has before the reader's cursor.

        `age_s` gives the seconds since a batch was committed, where they are
        known. The context's name is the sink's.
        """
        self._kind, self._sink, self._end = kind, sink, end
        self._context, self._limits, self._quarantine = context, limits, quarantine
        steps = [*processors, *([Prepared(sink)] if isinstance(sink, Preparing) else ())]
        self._processing, self._before = (
            Processing(steps, context.series, self._set_aside, sink.traits.whole),
            before,
        )
        self._age_s = age_s
        self._intake = Intake(reader, context.clock)
        self._cutter = Cutter(sink.groups if isinstance(sink, Grouping) else None)
        self._by_hand = ByHand(kind, sink, self._cutter, self._attempt, self._count_delivered)
        self._ending = Ending()
        self._task: asyncio.Task[None] | None = None
        self._retrying = self._resting = 0
        self._refusing = False
        self._refused = RefusedSeries()
        self._tally = Tally(context, sink.traits.events)
        self._gauges: dict[str, Callable[[], float]] = {
            "metricsmith_sink_behind_batches": self._behind,
            "metricsmith_sink_lag_seconds": lambda: self._lag_ms() / 1000,
            "metricsmith_sink_circuit": lambda: self._circuit().number,
            "metricsmith_sink_buffered_samples": self._intake.held,
        }
        for name, read in self._gauges.items():
            context.telemetry.watch(name, read, sink=context.name)

    def start(self) -> None:
        """Begin to serve. Called in the event loop."""
        self._task = asyncio.create_task(self._run(), name=f"sink {self._context.name}")
        self._task.add_done_callback(self._ended)

    def status(self) -> SinkStatus:
        """Return how it is. Called from any thread."""
        stopped = self._task is None or self._task.done()
        working = "retrying" if self._retrying else "refusing" if self._refusing else "ok"
        tally = self._tally
        return SinkStatus(
            self._context.name,
            self._kind,
            "stopped" if stopped else working,
            self._behind(),
            tally.delivered_samples,
            tally.dropped_samples,
            tally.last_success_ms,
            tally.last_error or self._remark(),
            tally.delivered_events,
            tally.dropped_events,
            circuit=self._circuit(),
            lag_ms=self._lag_ms(),
            allowed_lag_ms=self._limits.allowed_lag_ms,
            buffered=self._intake.held(),
            retries=tally.retries,
        )

    async def send_now(self, delivery: Delivery) -> str:
        """Send what somebody asked for, once, beside what is under way; as `ByHand.send`."""
        return await self._by_hand.send(delivery)

    def forget_refused(self) -> None:
        """Send series again that rest because they were refused: something may have been mended."""
        self._refused.forget()

    def expired(self, begin: int, end: int, samples: int, events: int) -> None:
        """Count batches from `begin` up to but without `end`, which the journal gave up unread."""
        self._intake.miss(begin, end)
        self._tally.dropped(samples, events, "expired", EXPIRED)

    async def stop(self) -> None:
        """Deliver what waits if that is soon done, and end; the rest is delivered after the next start."""
        self._ending.come()
        if self._task is not None:
            await asyncio.wait([self._task], timeout=CLOSE_LIMIT_S)
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        lost = self._intake.only_here()
        self._tally.dropped(len(lost) - lost.events, lost.events, "expired", EXPIRED)
        with suppress(JournalError):  # logged by the journal; some is sent again
            await self._intake.close()
        await self._sink.close()
        for name in self._gauges:
            self._context.telemetry.forget(name, sink=self._context.name)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._tally.last_error = f"defect: {type(error).__name__}: {error}"
            log.error("%s: nothing is delivered any more", self._context.name, exc_info=error)

    def _remark(self) -> str:
        return self._sink.remark() if isinstance(self._sink, Remarking) else ""

    def _behind(self) -> int:
        return self._intake.left(self._end())

    def _lag_ms(self) -> int:
        """Return for how long the oldest batch has waited; one of an earlier run is as old as its samples."""
        if not self._behind():
            return 0
        if (age_s := self._age_s(self._intake.position)) is not None:
            return round(age_s * 1000)
        oldest_ms = self._intake.oldest_ms()
        return 0 if oldest_ms is None else max(0, self._context.clock.now_ms() - oldest_ms)

    def _circuit(self) -> Circuit:
        if not self._retrying:
            return Circuit.CLOSED
        return Circuit.OPEN if self._resting >= self._retrying else Circuit.HALF_OPEN

    async def _run(self) -> None:
        most = self._most()
        with suppress(JournalError):  # logged by the journal; differences begin anew
            await asyncio.to_thread(self._prime)
        if self._ending.has_come():  # perhaps before all was seen
            return
        with suppress(_Stopped):
            while (taken := await self._ending.unless(self._take(most))) is not None:
                await self._serve(taken)
            while self._behind():  # what is committed and waits for a full batch
                await self._serve(await self._intake.take(most, 1, 0))

    def _prime(self) -> None:
        """Show processors what came before; an end does not wait for it."""
        self._processing.prime(takewhile(lambda _: not self._ending.has_come(), self._before()))

    def _most(self) -> int:
        """Return how many samples and events are taken at once."""
        limits = self._limits
        at_once = limits.batch_size * (1 if self._sink.traits.whole else limits.workers)
        return max(limits.batch_size, min(at_once, limits.buffer))

    async def _take(self, most: int) -> Delivery:
        while True:
            try:
                return await self._intake.take(most, self._limits.batch_size, self._limits.flush_s)
            except JournalError:  # the cursor could not be written: logged by the journal, and tried again
                await self._context.clock.sleep(FIRST_WAIT_S)

    async def _serve(self, taken: Delivery) -> None:
        delivery = self._without_resting(await self._processing.of(taken, self._context.clock.now_ms()))
        if delivery.batches:
            await self._send_all(delivery)
        with suppress(JournalError):  # logged by the journal; the cursor is written with the next
            await self._intake.done(taken)

    async def _send_all(self, delivery: Delivery) -> None:
        """Send side by side what has no series in common, and events; the rest in order."""
        limits, traits = self._limits, self._sink.traits
        if traits.whole:
            await self._deliver(delivery)
            return
        samples, events = apart(delivery)
        # All workers or one: to cut layouts costs, and what sinks keep of them is kept for each way to cut.
        more_waits = self._behind() > len(set(delivery.sequences))
        full = min(limits.workers, -(-self._most() // limits.batch_size))
        workers = full if more_waits and len(samples) > limits.batch_size else 1
        sending = [self._in_order(shard) for shard in self._cutter.shards(samples, workers)]
        if traits.events:
            sending.append(self._in_order(events))
        # All have ended before one's end is told: nothing of this delivery is under way when the next begins.
        for outcome in await asyncio.gather(*sending, return_exceptions=True):
            if outcome is not None:
                raise outcome

    async def _in_order(self, delivery: Delivery) -> None:
        for piece in self._cutter.sized(delivery, self._limits.batch_size):
            await self._deliver(piece)

    async def _deliver(self, delivery: Delivery) -> None:
        """Send until all is taken or set aside."""
        outcome = Outcome()
        await self._search(delivery, SEARCHES, outcome)
        if not outcome.refusals:
            return
        for refused, reason in outcome.refusals.gathered():
            await self._set_aside(refused, reason)
        self._refusing = outcome.nothing_taken
        if not self._sink.traits.whole:  # there every batch is sent, under its number
            self._refused.refused(outcome.bad_series(), self._context.clock.monotonic())

    async def _search(self, asked: Delivery, searches: int, outcome: Outcome) -> int:
        """Send, halves of what is refused too; return how many searches for bad parts are left."""
        delivery, refusal = await self._until_answered(asked)
        if refusal is None:
            outcome.taken.append(delivery)
            return searches
        if isinstance(refusal, TooLarge):
            if self._undivided(delivery):
                outcome.refuse(delivery, f"too large: {refusal}")
                return searches
        else:
            if refusal.series:
                self._name_refused(delivery, refusal, outcome)
                return searches
            undivided = self._undivided(delivery)
            if undivided or not searches:
                outcome.refuse(delivery, refusal.reason, proven=undivided, late=refusal.late)
                return searches
            searches -= 1
        halves = self._cutter.halves(delivery)
        assert halves is not None, "what is divided"
        first, second = halves
        # Enough is left to find two bad samples in the second half, should all in the first be bad: as when a
        # server refuses what it has already, and what is new comes last.
        reserve = min(searches // 2, 2 * len(second).bit_length())
        left = await self._search(first, searches - reserve, outcome)
        return await self._search(second, left + reserve, outcome)

    def _name_refused(self, delivery: Delivery, refusal: Rejected, outcome: Outcome) -> None:
        others = of_series(delivery, refusal.series, among=False)
        if others.batches:
            self._count_delivered(others)
        outcome.taken.append(others)
        refused = of_series(delivery, refusal.series, among=True)
        outcome.refuse(refused, refusal.reason, late=refusal.late)

    def _undivided(self, delivery: Delivery) -> bool:
        if self._sink.traits.whole:
            return len(delivery.batches) < 2
        return self._cutter.halves(delivery) is None

    async def _until_answered(self, delivery: Delivery) -> tuple[Delivery, Rejected | TooLarge | None]:
        """Send until it is taken or refused for good; return what was young enough, and the refusal.

        Raises:
            _Stopped: the end came first.
        """
        failures = defects = 0
        try:
            while (delivery := self._young(delivery)).batches:
                try:
                    await self._attempt(delivery)
                    break
                except (Rejected, TooLarge) as error:
                    return delivery, error
                except RetryLater as error:
                    failure = error
                except Exception as error:  # a defect: what brings it out must not stop the rest
                    log.debug("%s: defect", self._context.name, exc_info=True)
                    defects += 1
                    failure = RetryLater(f"defect: {type(error).__name__}: {error}", reason="defect")
                    if defects == DEFECTS:
                        return delivery, Rejected(str(failure))
                self._retrying += not failures
                failures += 1
                await self._failed(failure, failures)
        finally:
            self._retrying -= bool(failures)
        return delivery, None

    async def _attempt(self, delivery: Delivery) -> None:
        telemetry, name, clock = self._context.telemetry, self._context.name, self._context.clock
        began = clock.monotonic()
        try:
            await self._sink.send(delivery)
        finally:
            telemetry.observe("metricsmith_sink_send_seconds", clock.monotonic() - began, sink=name)
        self._count_delivered(delivery)

    def _without_resting(self, delivery: Delivery) -> Delivery:
        """Return what does not rest; the rest is counted, and not set aside once more."""
        left = self._refused.without_resting(delivery, self._context.clock.monotonic())
        why = "refused before, and not sent again for up to an hour; look at `metricsmith quarantine list`"
        self._tally.dropped(len(delivery) - len(left), 0, "refused_before", why)
        return left

    def _young(self, delivery: Delivery) -> Delivery:
        max_age_ms = self._sink.traits.max_age_ms
        if max_age_ms is None:
            return delivery
        left = newer(delivery, self._context.clock.now_ms() - max_age_ms)
        events = delivery.events - left.events
        samples = len(delivery) - len(left) - events
        self._tally.dropped(samples, events, "too_old", f"older than {format_duration(max_age_ms)}")
        return left

    async def _failed(self, error: RetryLater, failures: int) -> None:
        """Tell of a failure and wait before the next attempt.

        Raises:
            _Stopped: the end came first.
        """
        wait_s = next_wait_s(failures, error.after_s)
        self._tally.retried(error, error.reason, wait_s)
        self._resting += 1
        try:
            if await self._ending.unless(self._slept(wait_s)) is None:
                raise _Stopped
        finally:
            self._resting -= 1

    async def _slept(self, wait_s: float) -> bool:
        await self._context.clock.sleep(wait_s)
        return True

    def _count_delivered(self, delivery: Delivery) -> None:
        self._tally.delivered(len(delivery) - delivery.events, delivery.events)
        self._refusing = False
        self._refused.taken(delivery)

    async def _set_aside(self, delivery: Delivery, reason: str) -> None:
        kept = await asyncio.to_thread(self._quarantine.put, self._context.name, delivery, reason)
        self._tally.last_error = f"refused: {reason}"
        samples = len(delivery) - delivery.events
        if kept:
            why = f"refused for good and set aside: {reason}"
            self._tally.dropped(samples, delivery.events, "quarantined", why)
        else:
            why = f"refused for good, and no room to keep them: {reason}"
            self._tally.dropped(samples, delivery.events, "quarantine_full", why)


class _Stopped(Exception):
    """The end came before the samples were delivered; they are sent after the next start."""
