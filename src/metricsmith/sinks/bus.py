"""The `bus` sink: metric messages by ZeroMQ, for whoever listens."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from contextlib import suppress
from typing import ClassVar

import zmq
from pydantic import Field

from metricsmith.contracts import Context, Delivery, SinkConfig, SinkTraits
from metricsmith.errors import RetryLater
from metricsmith.model.findings import Findings
from metricsmith.model.settings_types import DurationMs
from metricsmith.net.bus_settings import SocketSettings
from metricsmith.net.handshakes import Refused, counted
from metricsmith.net.threads import in_thread
from metricsmith.net.zmq_sockets import AddressInUse, BusUnusable, Opened
from metricsmith.wire.bus import MessageEncoder

log = logging.getLogger(__name__)

FULL_WAIT_S, FULL_LIMIT_S = 0.005, 5.0
CLOSE_MS = 1000
AGAIN_S = 10.0
REJOIN_S = 0.5
"""So long peers are given to subscribe again where we listen later than they may have asked."""


class BusSinkConfig(SinkConfig, SocketSettings):
    """Settings of a `bus` sink: ZeroMQ, PUB/SUB. What is sent while nobody listens is lost, and counted."""

    flush_interval: DurationMs | None = Field(0, ge=0, le=3_600_000, description="Wait for a full batch.")
    service: str = Field(
        "",
        max_length=200,
        description="Service of series without a `service` label; default `service.name`.",
    )


class BusSink:
    """Publishes each batch as messages, one per service, tags and time."""

    Config: ClassVar[type[BusSinkConfig]] = BusSinkConfig
    traits: ClassVar[SinkTraits] = SinkTraits(whole=True)  # order on a topic is that of the journal

    @classmethod
    async def examine(cls, config: BusSinkConfig, context: Context, findings: Findings) -> None:
        """Look at the keys and the address."""
        from metricsmith.net.bus_examination import examine_socket

        await examine_socket(config, findings)

    def __init__(self, config: BusSinkConfig, context: Context) -> None:
        self._config, self._context = config, context
        self._unheard, self._refused = 0, ""
        self._count_refused = counted(context.telemetry, context.name)
        self._encoder = MessageEncoder(context.series, config.service or context.name)
        self._opened: Opened | None = None
        with suppress(AddressInUse):  # as long as the sink that this one replaces runs
            self._opened = self._open()
        self._turned_away_at: float | None = None
        self._listened: dict[bytes, int] = {}  # subscribed prefixes, and how many peers have each
        self._of: tuple[int, ...] = ()
        self._left: deque[tuple[bytes, bytes]] = deque()

    async def send(self, delivery: Delivery) -> None:
        """Publish; a delivery that a full queue cut short goes on where it stopped."""
        sequences = tuple(delivery.sequences)
        if self._of != sequences or not self._left:
            self._of = sequences
            self._left.extend(m for batch in delivery.batches for m in self._encoder.messages(batch))
        await in_thread(self._context.name, self._publish)

    def remark(self) -> str:
        """Return how many messages were lost since all were heard, and why as far as it is known."""
        if not self._unheard:
            return ""
        why = f"; {self._refused}" if self._refused else ""
        return f"{self._config.endpoint}: nobody subscribes: {self._unheard} messages lost{why}"

    def _open(self) -> Opened:
        # With NODROP a full queue is an error here; without it messages would go in silence.
        opened = Opened(zmq.XPUB, self._config, [(zmq.XPUB_NODROP, 1)], self._tell)
        what = "publishes at" if self._config.bind else "sends to"
        log.info("%s: %s %s", self._context.name, what, self._config.endpoint)
        return opened

    def _tell(self, refused: Refused) -> None:
        self._refused = refused.text
        if refused.reason == "key":
            self._turned_away_at = time.monotonic()
        self._count_refused(refused)

    async def close(self) -> None:
        """Close the socket, once peers have what was sent or CLOSE_MS have passed."""
        if self._opened is not None:
            await asyncio.to_thread(self._opened.close, CLOSE_MS)

    def _come_again(self) -> None:
        """Knock anew after a time where our key was not known: ZeroMQ itself gives up then."""
        if self._turned_away_at is None or time.monotonic() - self._turned_away_at < AGAIN_S:
            return
        before, self._opened, self._turned_away_at = self._opened, self._open_now(), None
        self._listened.clear()
        if before is not None:
            before.close()

    def _open_now(self) -> Opened:
        try:
            return self._open()
        except BusUnusable as error:
            raise RetryLater(str(error), reason="socket") from None

    def _publish(self) -> None:
        if self._opened is None:
            self._opened = self._open_now()
            time.sleep(REJOIN_S)
        if not self._config.bind:
            self._come_again()
        self._note_subscriptions()
        unheard, socket, waited_s = 0, self._opened.socket, 0.0
        if not self._left:
            return
        while self._left:
            topic, body = self._left[0]
            if not any(topic.startswith(prefix) for prefix in self._listened):
                unheard += 1
            else:
                try:
                    socket.send_multipart((topic, body), zmq.NOBLOCK)
                except zmq.Again:
                    if waited_s >= FULL_LIMIT_S:
                        raise RetryLater("peers do not keep up", reason="queue_full") from None
                    time.sleep(FULL_WAIT_S)
                    waited_s += FULL_WAIT_S
                    continue
            self._left.popleft()
        self._unheard = self._unheard + unheard if unheard else 0
        if not unheard:
            self._refused = ""
        else:
            self._context.telemetry.problem(
                log,
                "metricsmith_bus_messages_unheard_total",
                f"{self._context.name}: {unheard} messages published that nobody subscribes to",
                amount=unheard,
                sink=self._context.name,
            )

    def _note_subscriptions(self) -> None:
        assert self._opened is not None
        with suppress(zmq.Again):
            while True:
                kind_and_prefix = self._opened.socket.recv(zmq.NOBLOCK)
                prefix, change = kind_and_prefix[1:], 1 if kind_and_prefix[:1] == b"\x01" else -1
                count = self._listened.get(prefix, 0) + change
                if count > 0:
                    self._listened[prefix] = count
                else:
                    self._listened.pop(prefix, None)
