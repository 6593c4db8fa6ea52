"""Metric messages of a bus as batches, whichever bus it is: checked, chosen, counted, handed on."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterable
from concurrent.futures import Future
from dataclasses import dataclass

from pydantic import Field

from metricsmith.contracts import Context, Emit, PartConfig
from metricsmith.errors import JournalError, MessageError, WireError
from metricsmith.model.batch import Batch
from metricsmith.model.settings_types import DurationMs
from metricsmith.sources.bus.collection import CollectionSettings
from metricsmith.sources.bus.recent import RecentMessages
from metricsmith.sources.bus.seen import SeenTopics
from metricsmith.sources.bus.shapes import Gathering
from metricsmith.wire.bus import TopicFilter
from metricsmith.wire.messages import TimeRange

log = logging.getLogger(__name__)

RETRY_S = 1.0
DAY_MS = 86_400_000
MAX_TOPICS = 100_000
MAX_TOPIC_BYTES = 1024


class MessageSettings(PartConfig):
    """Which messages of a bus are taken."""

    topics: tuple[str, ...] = Field(
        ("metrics.*",),
        min_length=1,
        max_length=1000,
        description="Topics to take; `*` stands for any text, dots included.",
    )
    collection: CollectionSettings = Field(
        CollectionSettings(), description="Which metrics to take; a consumer's `collection` section."
    )
    max_age: DurationMs = Field(30 * DAY_MS, ge=1000, description="Messages from before are refused.")
    max_ahead: DurationMs = Field(600_000, ge=0, description="Messages from that far ahead are refused.")
    batch_messages: int = Field(
        5000, ge=1, le=1_000_000, description="Most messages that are committed at once."
    )


@dataclass(frozen=True, slots=True)
class Accepting:
    """A batch that was handed on, and what comes of it."""

    batch: Batch
    outcome: Future[None]


class MessageReader:
    """Turns messages into batches, and hands these on. For one thread at a time."""

    def __init__(self, config: MessageSettings, context: Context) -> None:
        self.seen = SeenTopics(context.clock)
        self.recent = RecentMessages()
        self.topics = TopicFilter(config.topics)
        self._config, self._context = config, context
        self._wanted: dict[bytes, str | None] = {}
        self._gathering = Gathering(context.series, config.collection)

    def batch(self, received: Iterable[list[bytes]]) -> Batch:
        """Return the samples of messages, each of two frames; what is refused is counted."""
        now_ms = self._context.clock.now_ms()
        times = TimeRange(now_ms - self._config.max_age, now_ms + self._config.max_ahead, now_ms)
        for frames in received:
            try:
                self._add(frames, times)
            except _Refused as error:
                self._count_refused(error)
        batch, not_collected = self._gathering.take(), self._gathering.take_not_collected()
        if not_collected:
            self._context.telemetry.count(
                "metricsmith_samples_dropped_total",
                not_collected,
                component=self._context.name,
                reason="not_collected",
            )
        return batch

    def _add(self, frames: list[bytes], times: TimeRange) -> None:
        """Take the message of two frames, unless its topic is not wanted.

        Raises:
            _Refused: it cannot be taken.
        """
        if len(frames) != 2:
            raise _Refused("frames", f"got {len(frames)} frames, wanted two: topic and JSON")
        topic = self._wanted_topic(frames[0])
        if topic is None:
            return
        self.seen.note(topic, len(frames[1]))
        self.recent.note(topic, frames[1])
        try:
            self._gathering.add(frames[1], times)
        except MessageError as error:
            raise _Refused("message", f"{topic}: {error}") from None
        except WireError as error:
            raise _Refused("json", f"{topic}: {error}") from None

    def _wanted_topic(self, frame: bytes) -> str | None:
        """Return the text of a topic, None for one that is not wanted: subscriptions are prefixes."""
        try:
            return self._wanted[frame]
        except KeyError:
            pass
        if len(frame) > MAX_TOPIC_BYTES:
            raise _Refused("topic", f"got a topic of {len(frame)} bytes, wanted at most {MAX_TOPIC_BYTES}")
        try:
            topic = frame.decode()
        except UnicodeDecodeError:
            raise _Refused("topic", f"got the topic {frame[:100]!r}, wanted UTF-8") from None
        if len(self._wanted) >= MAX_TOPICS:
            self._wanted.clear()
        found = self._wanted[frame] = topic if self.topics.takes(topic) else None
        return found

    def _count_refused(self, error: _Refused) -> None:
        self._context.telemetry.problem(
            log,
            "metricsmith_bus_messages_refused_total",
            f"{self._context.name}: message refused: {str(error)[:1000]}",
            source=self._context.name,
            reason=error.reason,
        )

    def hand_on(self, batch: Batch, emit: Emit, loop: asyncio.AbstractEventLoop) -> Accepting:
        """Offer a batch, from a thread."""

        async def accept() -> None:
            await emit(batch)

        return Accepting(batch, asyncio.run_coroutine_threadsafe(accept(), loop))

    def until_accepted(
        self,
        accepting: Accepting,
        emit: Emit,
        loop: asyncio.AbstractEventLoop,
        ending: threading.Event,
    ) -> bool:
        """Return whether a batch is accepted; it is offered again until it is, or the end has come."""
        while not self._is_accepted(accepting):
            if ending.wait(RETRY_S):
                return False
            accepting = self.hand_on(accepting.batch, emit, loop)
        return True

    def _is_accepted(self, accepting: Accepting) -> bool:
        try:
            accepting.outcome.result()
        except JournalError as error:  # the samples are kept here, and offered again
            self._context.telemetry.problem(
                log,
                "metricsmith_source_failures_total",
                f"{self._context.name}: not accepted, tried again: {error}",
                source=self._context.name,
                reason="journal_error",
            )
            return False
        samples = len(accepting.batch)
        self._context.telemetry.count("metricsmith_push_samples_total", samples, protocol="bus")
        return True


class _Refused(Exception):
    """A message that cannot be taken; `reason` is a short constant for counters."""

    def __init__(self, reason: str, message: str) -> None:
        self.reason = reason
        super().__init__(message)
