"""A forwarder between publishers and subscribers that both connect to it."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass

import zmq

from metricsmith.net.bus_settings import SocketSettings
from metricsmith.net.zmq_sockets import Opened, address_of

log = logging.getLogger(__name__)

POLL_MS = 100
AT_ONCE = 1000
FULL_LIMIT_S = 5.0
FULL_WAIT_S = 0.005
CLOSE_MS = 1000


@dataclass(slots=True)
class Forwarded:
    """What went through. `incomplete` messages were perhaps not given to subscribers that do not keep up."""

    messages: int = 0
    size_bytes: int = 0
    subscriptions: int = 0
    incomplete: int = 0


class Forwarder:
    """Hands on messages one way and subscriptions the other. Used by one thread, but for `stop`.

    A subscriber that does not keep up holds publishers back, for five seconds:
    then it loses messages and the others go on, until there is room in its
    queue again.
    """

    def __init__(self, publishers: SocketSettings, subscribers: SocketSettings) -> None:
        """Listen at both addresses.

        Raises:
            BusUnusable: one of them cannot be used.
        """
        self.counts = Forwarded()
        self._incoming = Opened(zmq.XSUB, publishers)
        try:
            self._outgoing = Opened(zmq.XPUB, subscribers, [(zmq.XPUB_NODROP, 1)])
        except BaseException:
            self._incoming.close()
            raise
        self._stopping = False
        self._room_s = FULL_LIMIT_S

    def addresses(self) -> tuple[str, str]:
        """Return where publishers and subscribers connect."""
        return address_of(self._incoming), address_of(self._outgoing)

    def stop(self) -> None:
        """Let `run` return soon; called by signal handlers and other threads."""
        self._stopping = True

    def run(self) -> None:
        """Forward until `stop`, then close."""
        incoming, outgoing = self._incoming.socket, self._outgoing.socket
        poller = zmq.Poller()
        poller.register(incoming, zmq.POLLIN)
        poller.register(outgoing, zmq.POLLIN)
        try:
            while not self._stopping:
                ready = dict(poller.poll(POLL_MS))
                if outgoing in ready:
                    self._forward_subscriptions()
                if incoming in ready:
                    self._forward_messages()
        finally:
            self._incoming.close()
            self._outgoing.close(CLOSE_MS)

    def _forward_subscriptions(self) -> None:
        for _ in range(AT_ONCE):
            try:
                self._incoming.socket.send(self._outgoing.socket.recv(zmq.NOBLOCK))
            except zmq.Again:
                return
            self.counts.subscriptions += 1

    def _forward_messages(self) -> None:
        counts = self.counts
        for _ in range(AT_ONCE):
            try:
                frames = self._incoming.socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            self._send(frames)
            counts.messages += 1
            counts.size_bytes += sum(map(len, frames))

    def _send(self, frames: list[bytes]) -> None:
        socket = self._outgoing.socket
        while not self._stopping:
            try:
                socket.send_multipart(frames, zmq.NOBLOCK)
            except zmq.Again:
                if self._room_s <= 0:
                    break
                time.sleep(FULL_WAIT_S)
                self._room_s -= FULL_WAIT_S
            else:
                self._room_s = FULL_LIMIT_S
                return
        if not self.counts.incomplete:
            log.warning("a subscriber does not keep up and loses messages")
        self.counts.incomplete += 1
        socket.setsockopt(zmq.XPUB_NODROP, 0)  # whoever has room gets it
        socket.send_multipart(frames, zmq.NOBLOCK)
        socket.setsockopt(zmq.XPUB_NODROP, 1)
