"""The `bus` source: metric messages by ZeroMQ, from services and from agents that publish."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import ClassVar

import zmq
from pydantic import Field

from metricsmith.contracts import Context, Emit
from metricsmith.errors import JournalError, MessageError, WireError
from metricsmith.model.batch import Batch
from metricsmith.model.settings_types import DurationMs
from metricsmith.net.bus_settings import SocketSettings
from metricsmith.net.zmq_sockets import Opened
from metricsmith.sources.bus.collection import CollectionSettings
from metricsmith.sources.bus.seen import SeenTopics
from metricsmith.sources.bus.shapes import Gathering
from metricsmith.wire.bus import TopicFilter
from metricsmith.wire.messages import TimeRange

log = logging.getLogger(__name__)

POLL_MS = 100
RETRY_S = 1.0
DAY_MS = 86_400_000
MAX_TOPICS = 100_000


class BusConfig(SocketSettings):
    """Settings of a `bus` source: ZeroMQ, PUB/SUB. What is sent while nobody listens is lost.

    For certainty between agents there is `transfer`.
    """

    bind: bool = Field(True, description="Listen at the address; false connects to a forwarder.")
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
    batch_wait: DurationMs = Field(
        20, ge=0, le=60_000, description="Wait for more messages before they are committed."
    )


class BusSource:
    """Receives in a thread of its own; each commit takes what has come while the last one ran."""

    Config: ClassVar[type[BusConfig]] = BusConfig

    def __init__(self, config: BusConfig, context: Context) -> None:
        self.seen = SeenTopics(context.clock)
        self._config, self._context = config, context
        self._topics = TopicFilter(config.topics)
        self._wanted: dict[bytes, str | None] = {}
        self._gathering = Gathering(context.series, config.collection)

    async def run(self, emit: Emit, stop: asyncio.Event) -> None:
        """Receive until `stop` is set."""
        loop, ending = asyncio.get_running_loop(), threading.Event()
        receiving = asyncio.create_task(asyncio.to_thread(self._receive, emit, loop, ending))
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait({receiving, stopping}, return_when=asyncio.FIRST_COMPLETED)
        ending.set()
        stopping.cancel()
        await receiving

    # What follows runs in the thread.

    def _receive(self, emit: Emit, loop: asyncio.AbstractEventLoop, ending: threading.Event) -> None:
        opened = Opened(zmq.SUB, self._config)
        try:
            for prefix in self._topics.prefixes():
                opened.socket.subscribe(prefix)
            accepting: _Accepting | None = None
            while not ending.is_set():
                batch = self._decode(self._drain(opened.socket))
                if accepting is not None:  # while it was committed, the next one was read
                    self._until_accepted(accepting, emit, loop, ending)
                accepting = self._hand_on(batch, emit, loop) if len(batch) else None
            if accepting is not None:
                self._until_accepted(accepting, emit, loop, ending)
        finally:
            opened.close()

    def _drain(self, socket: zmq.Socket[bytes]) -> list[list[bytes]]:
        """Return the messages that are there, at least one unless none comes within POLL_MS."""
        found: list[list[bytes]] = []
        if not socket.poll(POLL_MS):
            return found
        most, waited = self._config.batch_messages, not self._config.batch_wait
        while len(found) < most:
            try:
                found.append(socket.recv_multipart(zmq.NOBLOCK))
            except zmq.Again:
                if waited:
                    break
                waited = True
                time.sleep(self._config.batch_wait / 1000)
        return found

    def _decode(self, received: Sequence[list[bytes]]) -> Batch:
        now_ms = self._context.clock.now_ms()
        times = TimeRange(now_ms - self._config.max_age, now_ms + self._config.max_ahead, now_ms)
        for frames in received:
            try:
                self._add(frames, times)
            except _Refused as error:
                self._count_refused(error)
        return self._gathering.take()

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
        try:
            topic = frame.decode()
        except UnicodeDecodeError:
            raise _Refused("topic", f"got the topic {frame[:100]!r}, wanted UTF-8") from None
        if len(self._wanted) >= MAX_TOPICS:
            self._wanted.clear()
        found = self._wanted[frame] = topic if self._topics.takes(topic) else None
        return found

    def _count_refused(self, error: _Refused) -> None:
        self._context.telemetry.problem(
            log,
            "metricsmith_bus_messages_refused_total",
            f"{self._context.name}: message refused: {str(error)[:1000]}",
            source=self._context.name,
            reason=error.reason,
        )

    def _hand_on(self, batch: Batch, emit: Emit, loop: asyncio.AbstractEventLoop) -> _Accepting:
        async def hand_on() -> None:
            await emit(batch)

        return _Accepting(batch, asyncio.run_coroutine_threadsafe(hand_on(), loop))

    def _until_accepted(
        self,
        accepting: _Accepting,
        emit: Emit,
        loop: asyncio.AbstractEventLoop,
        ending: threading.Event,
    ) -> None:
        """Return when a batch is accepted, or the end has come; it is offered again meanwhile."""
        while not self._is_accepted(accepting) and not ending.wait(RETRY_S):
            accepting = self._hand_on(accepting.batch, emit, loop)

    def _is_accepted(self, accepting: _Accepting) -> bool:
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


@dataclass(frozen=True, slots=True)
class _Accepting:
    """A batch that was handed on, and what comes of it."""

    batch: Batch
    outcome: Future[None]


class _Refused(Exception):
    """A message that cannot be taken; `reason` is a short constant for counters."""

    def __init__(self, reason: str, message: str) -> None:
        self.reason = reason
        super().__init__(message)
