"""The `bus` source: metric messages by ZeroMQ, from services and from agents that publish."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Sequence
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
from metricsmith.wire.bus import TopicFilter
from metricsmith.wire.messages import Message, TimeRange, batch_of, parse_message

log = logging.getLogger(__name__)

POLL_MS = 100
RETRY_S = 1.0
DAY_MS = 86_400_000


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
        self._taken: dict[tuple[bytes, str], bool] = {}

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
            while not ending.is_set():
                batch = self._decode(self._drain(opened.socket))
                while len(batch) and not self._accepted(batch, emit, loop) and not ending.wait(RETRY_S):
                    pass
        finally:
            opened.close()

    def _drain(self, socket: zmq.Socket[bytes]) -> list[list[bytes]]:
        """Return the messages that are there, at least one unless none comes within POLL_MS."""
        found: list[list[bytes]] = []
        if not socket.poll(POLL_MS):
            return found
        if self._config.batch_wait:
            threading.Event().wait(self._config.batch_wait / 1000)
        try:
            while len(found) < self._config.batch_messages:
                found.append(socket.recv_multipart(zmq.NOBLOCK))
        except zmq.Again:
            pass
        return found

    def _decode(self, received: Sequence[list[bytes]]) -> Batch:
        now_ms = self._context.clock.now_ms()
        times = TimeRange(now_ms - self._config.max_age, now_ms + self._config.max_ahead, now_ms)
        found = []
        for frames in received:
            try:
                message = self._message(frames, times)
            except _Refused as error:
                self._count_refused(error)
                continue
            if message is not None:
                found.append(message)
        return batch_of(found, self._context.series)

    def _message(self, frames: list[bytes], times: TimeRange) -> Message | None:
        """Return the message of two frames, None for one of a topic that is not wanted.

        Raises:
            _Refused: it cannot be taken.
        """
        if len(frames) != 2:
            raise _Refused("frames", f"got {len(frames)} frames, wanted two: topic and JSON")
        try:
            topic = frames[0].decode()
        except UnicodeDecodeError:
            raise _Refused("topic", f"got the topic {frames[0][:100]!r}, wanted UTF-8") from None
        if not self._topics.takes(topic):
            return None  # subscriptions are prefixes
        self.seen.note(topic, len(frames[1]))
        try:
            message = parse_message(frames[1], times)
        except MessageError as error:
            raise _Refused("message", f"{topic}: {error}") from None
        except WireError as error:
            raise _Refused("json", f"{topic}: {error}") from None
        kept = {name: value for name, value in message.metrics.items() if self._takes(message, name)}
        return Message(message.time_ms, message.labels, kept)

    def _takes(self, message: Message, name: str) -> bool:
        key = message.labels[0][1], name
        if key not in self._taken:
            if len(self._taken) > 100_000:
                self._taken.clear()
            self._taken[key] = self._config.collection.takes(key[0].decode(), name)
        return self._taken[key]

    def _count_refused(self, error: _Refused) -> None:
        self._context.telemetry.problem(
            log,
            "metricsmith_bus_messages_refused_total",
            f"{self._context.name}: message refused: {str(error)[:1000]}",
            source=self._context.name,
            reason=error.reason,
        )

    def _accepted(self, batch: Batch, emit: Emit, loop: asyncio.AbstractEventLoop) -> bool:
        async def hand_on() -> None:
            await emit(batch)

        try:
            asyncio.run_coroutine_threadsafe(hand_on(), loop).result()
        except JournalError as error:  # the samples are kept here, and offered again
            self._context.telemetry.problem(
                log,
                "metricsmith_source_failures_total",
                f"{self._context.name}: not accepted, tried again: {error}",
                source=self._context.name,
                reason="journal_error",
            )
            return False
        self._context.telemetry.count("metricsmith_push_samples_total", len(batch), protocol="bus")
        return True


class _Refused(Exception):
    """A message that cannot be taken; `reason` is a short constant for counters."""

    def __init__(self, reason: str, message: str) -> None:
        self.reason = reason
        super().__init__(message)
