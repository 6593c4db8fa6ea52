"""The `bus` source: metric messages by ZeroMQ, from services and from agents that publish."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import ClassVar

import zmq
from pydantic import Field

from metricsmith.contracts import Context, Emit
from metricsmith.model.settings_types import DurationMs
from metricsmith.net.bus_settings import SocketSettings
from metricsmith.net.zmq_sockets import Opened
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

    def __init__(self, config: BusConfig, context: Context) -> None:
        self._config = config
        self._reader = MessageReader(config, context)
        self.seen = self._reader.seen

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
