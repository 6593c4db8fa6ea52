"""The `transfer` sink: batches to another agent by ZeroMQ, delivered once they are in its journal."""

from __future__ import annotations

import itertools
import logging
import secrets
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import ClassVar

import zmq
from pydantic import Field

from metricsmith.contracts import Context, Delivery, SinkConfig, SinkTraits
from metricsmith.errors import DiskFull, LimitExceeded, Rejected, RetryLater, StoreError, TooLarge, WireError
from metricsmith.model.findings import Findings
from metricsmith.model.settings_types import DurationMs, SizeBytes
from metricsmith.net.bus_settings import Endpoint, SocketSettings
from metricsmith.net.handshakes import COUNTER, Refused
from metricsmith.net.threads import in_thread
from metricsmith.net.zmq_sockets import BusUnusable, Opened
from metricsmith.sinks.identity import Identity
from metricsmith.wire.frames.encode import FrameEncoder
from metricsmith.wire.transfer import (
    UNREADABLE,
    Ack,
    Hello,
    Place,
    Refusal,
    Welcome,
    pack_batches,
    pack_hello,
    pack_ping,
    unpack_from_consumer,
)

log = logging.getLogger(__name__)

ANSWER_LIMIT_S = 10.0
SILENCE_LIMIT_S = 15.0
PING_S = 1.0
POLL_MS = 100
MESSAGE_BYTES = 1 << 20
MAX_LAYOUT_BYTES = 64 << 20
"""After so much of layouts a session ends and another begins: the other side keeps what is defined in one."""
NEW_SESSIONS = 3
UNFINISHED = 3
"""So many handshakes in a row that the other side ends are a refusal."""
NOBODY = "nobody answers: the port is closed, or another program has it"
REASONS = frozenset(("disk_full", "journal_error", "order", "defect"))


class TransferSinkConfig(SinkConfig, SocketSettings):
    """Settings of a `transfer` sink: to the `transfer` source of another agent. Nothing is lost or double."""

    endpoint: Endpoint = Field("tcp://localhost:11002", description="Address: tcp://HOST:PORT or ipc://PATH.")
    batch_size: int | None = Field(
        200_000, ge=1, le=1_000_000, description="Most samples that wait for one acknowledgement."
    )
    flush_interval: DurationMs | None = Field(0, ge=0, le=3_600_000, description="Wait for a full batch.")
    high_water_mark: int = Field(16, ge=1, le=10_000, description="Messages that wait in memory.")
    max_message: SizeBytes = Field(80 << 20, ge=1 << 20, le=1 << 30, description="Largest message accepted.")
    producer: str = Field(
        "", max_length=200, description="Name under which the other side speaks of us; default the sink's."
    )


class TransferSink:
    """Sends batches under their journal numbers, and waits until the other side has committed them."""

    Config: ClassVar[type[TransferSinkConfig]] = TransferSinkConfig
    traits: ClassVar[SinkTraits] = SinkTraits(whole=True, events=True)

    @classmethod
    async def examine(cls, config: TransferSinkConfig, context: Context, findings: Findings) -> None:
        """Look at the keys and the address."""
        from metricsmith.net.bus_examination import examine_socket

        await examine_socket(config, findings)

    def __init__(self, config: TransferSinkConfig, context: Context) -> None:
        self._config, self._context = config, context
        self._identity = Identity(context)
        self._refused: list[Refused] = []  # handshakes of the present socket
        self._opened: Opened | None = self._open()
        log.info("%s: sends to %s", context.name, config.endpoint)
        self._session: _Session | None = None
        self._done = Place(0, 0)  # the last batch that was delivered, and which part of its number
        self._before = Place(0, 0)  # how far an earlier run of the agent had come
        self._lock, self._closing = threading.Lock(), threading.Event()
        self._sessions = itertools.count()

    async def send(self, delivery: Delivery) -> None:
        """Deliver batches: they are in the journal of the other side when this returns."""
        await in_thread(self._context.name, lambda: self._send(delivery))

    async def close(self) -> None:
        """Close the connection. What is under way is sent again after the next start."""
        self._closing.set()
        await in_thread(self._context.name, self._close)

    # What follows runs in threads, one at a time.

    def _close(self) -> None:
        with self._lock:
            self._end_session()

    def _send(self, delivery: Delivery) -> None:
        with self._lock:
            over = _SessionOver("", "")
            for _ in range(NEW_SESSIONS):
                try:
                    self._exchange(delivery)
                    return
                except _SessionOver as error:
                    over = error
                    self._end_session()
                except LimitExceeded as error:
                    self._end_session()
                    raise TooLarge(str(error)) from None
                except (RetryLater, zmq.ZMQError):
                    self._end_session()
                    raise
            if over.reason == UNREADABLE:
                raise Rejected(f"the other side cannot read it: {over}")
            raise RetryLater(f"{self._config.endpoint}: sessions end at once: {over}", reason="session")

    def _exchange(self, delivery: Delivery) -> None:
        """Send what the other side does not have, and wait until it has it.

        Raises:
            _SessionOver: the other side wants to begin anew.
            RetryLater: it does not answer, or takes nothing now.
            LimitExceeded: a batch is larger than it takes.
        """
        session = self._session
        if session is None or session.encoder.layout_bytes > MAX_LAYOUT_BYTES:
            self._end_session()
            session = self._session = self._begin()
        session.heard_at = time.monotonic()  # silence before there was anything to say is none
        places, there = self._places(delivery), session.acked
        message, settled = _Message(), self._identity.settled
        for place, batch in zip(places, delivery.batches, strict=True):
            if place <= there or place.sequence < settled:
                continue
            pieces = session.encoder.encode(batch, place.sequence)
            size = sum(map(len, pieces))
            if message.places and message.size + size > MESSAGE_BYTES:
                self._post(session, message)
                message = _Message()
            message.places.append(place)
            message.pieces += pieces
            message.size += size
        if message.places:
            self._post(session, message)
            self._wait_for(session, places[-1])
        self._done = places[-1]
        if session.index:  # else the last batch that the other side has is of an earlier run
            with suppress(StoreError, DiskFull):  # tried again with the next
                self._identity.acknowledged()

    def _places(self, delivery: Delivery) -> list[Place]:
        """Return number and part of each batch: several may have one number.

        The first is the journal's, the others processors have given with time: those
        of this run are others than those that an earlier one sent.
        """
        found, last = [], self._done
        for sequence in delivery.sequences:
            part = last.part + 1 if last.sequence == sequence else 1
            if part == 2 and sequence == self._before.sequence:
                part = max(part, self._before.part + 1)
            last = Place(sequence, part)
            found.append(last)
        return found

    def _begin(self) -> _Session:
        """Begin a session: learn what the other side has, and see that its numbers are ours."""
        try:
            self._identity.keep()
            welcome = self._greet()
            if welcome.parts and (doubt := self._identity.doubt(welcome.life, welcome.sequence)):
                self._identity.renew(doubt, welcome.life)
                welcome = self._greet()
        except (StoreError, DiskFull) as error:
            raise RetryLater(f"the identity is not kept: {error}", reason="state") from None
        if welcome.parts and welcome.life != self._identity.life:
            self._before = Place(welcome.sequence, welcome.parts)
        encoder = FrameEncoder(next(self._sessions), self._context.series, self, welcome.max_frame)
        return _Session(welcome.session, encoder, welcome.max_frame, Place(welcome.sequence, welcome.parts))

    def _greet(self) -> Welcome:
        socket, identity, session = self._socket(), self._identity, secrets.randbits(64)
        name = self._config.producer or self._context.name
        socket.send_multipart(
            pack_hello(Hello(session, identity.producer, identity.life, name, identity.reason))
        )
        until = time.monotonic() + ANSWER_LIMIT_S
        while time.monotonic() < until:
            answer = self._answer(POLL_MS)
            if isinstance(answer, Welcome) and answer.session == session:
                return answer
            if isinstance(answer, Refusal) and answer.session == session:
                raise _retry(answer)
        raise RetryLater(f"{self._config.endpoint}: {NOBODY}", reason="unavailable")

    def _post(self, session: _Session, message: _Message) -> None:
        """Send a message once there is room for it."""
        if message.size > session.max_frame:
            raise LimitExceeded(f"got a batch of {message.size} bytes, wanted {session.max_frame} at most")
        frames = pack_batches(session.number, session.index, message.places, b"".join(message.pieces))
        session.index += 1
        socket = self._socket()
        while True:
            try:
                socket.send_multipart(frames, zmq.NOBLOCK)
                return
            except zmq.Again:
                self._listen(session)

    def _wait_for(self, session: _Session, place: Place) -> None:
        pinged = time.monotonic()
        while session.acked < place:
            if time.monotonic() - pinged > PING_S:  # a consumer that has begun anew says so
                pinged = time.monotonic()
                with suppress(zmq.Again):
                    self._socket().send_multipart(pack_ping(session.number), zmq.NOBLOCK)
            self._listen(session)

    def _listen(self, session: _Session) -> None:
        """Take an answer, if one comes within POLL_MS.

        Raises:
            RetryLater: nothing has come for long, or nothing is taken now.
            _SessionOver: the other side wants to begin anew.
        """
        answer = self._answer(POLL_MS)
        if answer is not None and answer.session == session.number:
            session.heard_at = time.monotonic()
        elif time.monotonic() - session.heard_at > SILENCE_LIMIT_S:
            raise RetryLater(f"{self._config.endpoint}: no answer", reason="unavailable")
        match answer:
            case Ack(session.number, sequence, parts):
                session.acked = max(session.acked, Place(sequence, parts))
            case Refusal(session.number, 0):
                raise _SessionOver(answer.reason, answer.text)
            case Refusal(session.number):
                raise _retry(answer)

    def _answer(self, wait_ms: int) -> Welcome | Ack | Refusal | None:
        if self._closing.is_set():
            raise RetryLater("the sink is closed", reason="closed")
        socket = self._socket()
        if not socket.poll(wait_ms):
            self._check_handshakes()
            return None
        try:
            return unpack_from_consumer(socket.recv_multipart(zmq.NOBLOCK))
        except WireError as error:
            self._context.telemetry.problem(
                log,
                "metricsmith_bus_messages_refused_total",
                f"{self._context.name}: answer refused: {error}",
                source=self._context.name,
                reason="message",
            )
            return None

    def _check_handshakes(self) -> None:
        """Return unless the other side refuses us, or we it.

        Raises:
            RetryLater: it does.
        """
        refused = list(self._refused)
        # One that is unfinished can be of an agent that has just ended.
        if len(refused) >= UNFINISHED or any(each.reason != "unfinished" for each in refused):
            told = next((each for each in refused if each.reason != "unfinished"), refused[-1])
            raise RetryLater(f"{self._config.endpoint}: {told.text}", reason="keys")

    def _socket(self) -> zmq.Socket[bytes]:
        if self._opened is None:
            try:
                self._opened = self._open()
            except BusUnusable as error:
                raise RetryLater(str(error), reason="socket") from None
        return self._opened.socket

    def _open(self) -> Opened:
        self._refused = refused = []

        def tell(each: Refused) -> None:
            refused.append(each)
            name = self._context.name
            self._context.telemetry.count(COUNTER, component=name, reason=each.reason)

        return Opened(zmq.DEALER, self._config, told=tell)

    def _end_session(self) -> None:
        """Forget the session, and with its socket all that waits in it."""
        opened, self._opened, self._session = self._opened, None, None
        if opened is not None:
            opened.close()


@dataclass(slots=True)
class _Session:
    """What both sides know since the hello."""

    number: int
    encoder: FrameEncoder
    max_frame: int
    acked: Place
    index: int = 0
    heard_at: float = 0.0


@dataclass(slots=True)
class _Message:
    """Batches that go together."""

    places: list[Place] = field(default_factory=list)
    pieces: list[bytes | memoryview] = field(default_factory=list)
    size: int = 0


class _SessionOver(Exception):
    """The other side does not know the session, or cannot follow it."""

    def __init__(self, reason: str, text: str) -> None:
        self.reason = reason
        super().__init__(text)


def _retry(refusal: Refusal) -> RetryLater:
    reason = refusal.reason if refusal.reason in REASONS else "refused"
    return RetryLater(f"refused: {refusal.text}", refusal.after_ms / 1000, reason)
