"""The `bus` source: metric messages by ZeroMQ, from services and from agents that publish."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import ClassVar

import zmq
from pydantic import Field

from metricsmith.contracts import Context, Emit
from metricsmith.model.findings import Findings
from metricsmith.model.settings_types import DurationMs
from metricsmith.model.targets import PoolStatus
from metricsmith.net.bus_settings import SocketSettings
from metricsmith.net.door import Door
from metricsmith.net.threads import in_thread_until
from metricsmith.sources.bus.reading import Accepting, MessageReader, MessageSettings

POLL_MS = 100


class BusConfig(MessageSettings, SocketSettings):
    """Settings of a `bus` source: ZeroMQ, PUB/SUB. What is sent while nobody listens is lost.

    For certainty between agents there is `transfer`.
    """

    bind: bool = Field(True, description="Listen at the address; false connects to a forwarder.")
    batch_wait: DurationMs = Field(
        20, ge=0, le=60_000, description="Wait for more messages before they are committed."
    )


class BusSource:
    """Receives in a thread of its own; each commit takes what has come while the last one ran."""

    Config: ClassVar[type[BusConfig]] = BusConfig

    @classmethod
    async def examine(cls, config: BusConfig, context: Context, findings: Findings) -> None:
        """Look at the keys and the address."""
        from metricsmith.net.bus_examination import examine_socket

        await examine_socket(config, findings)

    def __init__(self, config: BusConfig, context: Context) -> None:
        self._config, self._name = config, context.name
        self._door = Door(zmq.SUB, config, context)
        self._reader = MessageReader(config, context)
        self.seen, self.recent = self._reader.seen, self._reader.recent

    def targets(self) -> PoolStatus:
        """Return how the socket is, and each topic with the time of its last message."""
        return PoolStatus(self._name, (self._door.target(), *self.seen.targets(self._name)))

    async def run(self, emit: Emit, stop: asyncio.Event) -> None:
        """Receive until `stop` is set."""
        loop = asyncio.get_running_loop()
        await in_thread_until(self._name, lambda ending: self._receive(emit, loop, ending), stop)

    # What follows runs in the thread.

    def _receive(self, emit: Emit, loop: asyncio.AbstractEventLoop, ending: threading.Event) -> None:
        opened = self._door.open(ending)
        if opened is None:
            return
        try:
            for prefix in self._reader.topics.prefixes():
                opened.socket.subscribe(prefix)
            accepting: Accepting | None = None
            while not ending.is_set():
                batch = self._reader.batch(self._drain(opened.socket))
                if accepting is not None:  # while it was committed, the next one was read
                    self._reader.until_accepted(accepting, emit, loop, ending)
                accepting = self._reader.hand_on(batch, emit, loop) if len(batch) else None
            if accepting is not None:
                self._reader.until_accepted(accepting, emit, loop, ending)
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
