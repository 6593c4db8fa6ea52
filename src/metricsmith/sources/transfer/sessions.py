"""What a consumer knows of its producers: sessions, and what is to be committed for whom."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

from metricsmith.contracts import Context
from metricsmith.errors import JournalCorrupt, LimitExceeded, StoreError, WireError
from metricsmith.model.batch import Batch, empty_batch
from metricsmith.model.origin import Origin, Position
from metricsmith.sources.transfer.heard import HeardProducers
from metricsmith.wire.frames.decode import LayoutMemory
from metricsmith.wire.frames.guarded import GuardedDecoder
from metricsmith.wire.transfer import (
    UNREADABLE,
    Ack,
    Batches,
    Hello,
    Place,
    Refusal,
    Welcome,
    pack_ack,
    pack_refusal,
    pack_welcome,
    unpack_from_producer,
)

log = logging.getLogger(__name__)

MAX_SESSIONS = 10_000
MAX_FRAME_BYTES = 64 << 20
RETRY_MS = 1000
NAME_KEY = "name/"


@dataclass(slots=True)
class Session:
    """One producer on one connection. `position` counts what is taken, committed or not yet."""

    number: int
    producer: bytes
    life: int
    name: str
    decoder: GuardedDecoder
    position: Position | None
    next_index: int = 0


@dataclass(frozen=True, slots=True)
class Taken:
    """A batch that is to be committed, its origin with it."""

    peer: bytes
    session: Session
    batch: Batch


class Sessions:
    """Turns messages into batches with their origins, and outcomes into answers. Used by one thread.

    `taken` and `answers` are filled by what is called; who calls empties them.
    """

    def __init__(self, context: Context, max_frame: int = MAX_FRAME_BYTES) -> None:
        self.taken: list[Taken] = []
        self.answers: list[tuple[bytes, list[bytes]]] = []
        self._context, self._max_frame = context, max_frame
        self._sessions: dict[bytes, Session] = {}  # by peer, the one silent longest first
        self._peers: dict[bytes, bytes] = {}  # by producer: the peer that speaks for it
        known = [key.removeprefix(NAME_KEY) for key, _ in context.state.items(NAME_KEY)]
        self.heard = HeardProducers(context.name, known, context.clock)
        self._defects: set[tuple[bytes, int, int]] = set()

    def hear(self, peer: bytes, frames: list[bytes]) -> None:
        """Take a message of a peer. What is a hello comes when nothing of its producer is in `taken`."""
        try:
            message = unpack_from_producer(frames)
        except WireError as error:
            self._refuse("message", str(error))
            return
        if isinstance(message, Hello):
            self._begin(peer, message)
            return
        session = self._sessions.get(peer)
        if session is None or session.number != message.session:
            self._again(peer, message.session, "no such session")
            return
        self._sessions[peer] = self._sessions.pop(peer)
        self.heard.note(session.name)
        if isinstance(message, Batches):
            self._take(peer, session, message)
        else:
            self._acknowledge(peer, session)

    def committed(self, peer: bytes, session: Session) -> None:
        """Say to a producer how far its batches are committed."""
        if self._sessions.get(peer) is session:
            self._acknowledge(peer, session)

    def refused(self, peer: bytes, session: Session, reason: str, text: str) -> None:
        """End a session because something of it was not committed; it is sent again later."""
        self.heard.note(session.name, f"not accepted, comes again: {text}")
        self._end(peer)
        self.answers.append((peer, pack_refusal(Refusal(session.number, RETRY_MS, reason, text))))

    def failed(self, taken: Taken, error: Exception) -> None:
        """Note that a batch cannot be processed: when it comes again its position is taken without it."""
        origin = taken.batch.origin
        assert origin is not None
        key = origin.producer, origin.position.sequence, origin.position.parts
        if key in self._defects:
            return
        self._defects.add(key)
        self._context.telemetry.problem(
            log,
            "metricsmith_samples_dropped_total",
            f"{self._context.name}: a batch of {taken.session.name} cannot be processed and is left out:"
            f" {type(error).__name__}: {error}",
            amount=len(taken.batch),
            component=self._context.name,
            reason="defect",
        )

    def _begin(self, peer: bytes, hello: Hello) -> None:
        context = self._context
        position = context.journal.position(hello.producer)
        if position is None:
            self._meet(hello)
        self._end(peer)
        before = self._peers.get(hello.producer)
        if before is not None:
            self._end(before)
        prefix = f"{hello.producer.hex()[:12]}/"
        decoder = GuardedDecoder(context.series, LayoutMemory(), prefix, self._max_frame)
        session = Session(hello.session, hello.producer, hello.life, hello.name, decoder, position)
        self._sessions[peer], self._peers[hello.producer] = session, peer
        while len(self._sessions) > MAX_SESSIONS:
            self._end(next(iter(self._sessions)))
        context.telemetry.count("metricsmith_transfer_sessions_total", source=context.name)
        self.heard.note(hello.name)
        known = (position.life, position.sequence, position.parts) if position else (0, 0, 0)
        self.answers.append((peer, pack_welcome(Welcome(hello.session, self._max_frame, *known))))

    def _meet(self, hello: Hello) -> None:
        """Note a producer that is not known: one of its name with another identity has left a gap."""
        state, key = self._context.state, f"{NAME_KEY}{hello.name}"
        before = dict(state.items(key)).get(key)
        if before == hello.producer:
            return  # nothing of it is committed yet, or it was forgotten
        if before is not None:
            why = hello.reason or "new_identity"
            self._gap(why, hello.name, "it has a new identity, and batches of before may be missing", 1)
        try:
            state.commit({key: hello.producer})
        except StoreError as error:
            log.warning("%s: the producer %s is not remembered: %s", self._context.name, hello.name, error)

    def _take(self, peer: bytes, session: Session, message: Batches) -> None:
        if message.index != session.next_index:
            self._end(peer)
            self._again(peer, session.number, f"got message {message.index}, wanted {session.next_index}")
            return
        session.next_index += 1
        try:
            found = self._decoded(session, message)
        except (JournalCorrupt, LimitExceeded, WireError) as error:
            self._refuse("frames", f"{session.name}: {error}")
            self._end(peer)
            self._again(peer, session.number, str(error), UNREADABLE)
            return
        for place, batch in found:
            self._take_batch(peer, session, place, batch)

    def _decoded(self, session: Session, message: Batches) -> list[tuple[Place, Batch]]:
        found = list(session.decoder.batches(message.frames))
        if [sequence for sequence, _ in found] != [place.sequence for place in message.places]:
            raise WireError(f"got {len(found)} batches, wanted the {len(message.places)} that are announced")
        return [(place, batch) for place, (_, batch) in zip(message.places, found, strict=True)]

    def _take_batch(self, peer: bytes, session: Session, place: Place, batch: Batch) -> None:
        before = session.position
        if before is not None:
            if (place.sequence, place.part) <= (before.sequence, before.parts):
                return  # it is here already
            if (missing := place.sequence - before.sequence - 1) > 0:
                self._gap("missing", session.name, f"{missing} batches before {place.sequence}", missing)
        position = Position(session.life, place.sequence, place.part, self._context.clock.now_ms())
        if (session.producer, position.sequence, position.parts) in self._defects:
            batch = empty_batch()
        session.position = position
        origin = Origin(session.producer, before, position)
        self.taken.append(Taken(peer, session, replace(batch, origin=origin)))

    def _acknowledge(self, peer: bytes, session: Session) -> None:
        position = self._context.journal.position(session.producer)
        sequence, parts = (position.sequence, position.parts) if position else (0, 0)
        self.answers.append((peer, pack_ack(Ack(session.number, sequence, parts))))

    def _end(self, peer: bytes) -> None:
        session = self._sessions.pop(peer, None)
        if session is not None and self._peers.get(session.producer) == peer:
            del self._peers[session.producer]

    def _again(self, peer: bytes, number: int, text: str, reason: str = "session") -> None:
        self.answers.append((peer, pack_refusal(Refusal(number, 0, reason, text))))

    def _gap(self, reason: str, name: str, what: str, amount: int) -> None:
        reason = reason if reason in ("missing", "new_identity", "tail_lost", "unknown_life") else "other"
        self._context.telemetry.problem(
            log,
            "metricsmith_transfer_gaps_total",
            f"{self._context.name}: gap in what comes from {name}: {what} ({reason})",
            amount=amount,
            subject=name,
            source=self._context.name,
            reason=reason,
        )

    def _refuse(self, reason: str, text: str) -> None:
        self._context.telemetry.problem(
            log,
            "metricsmith_bus_messages_refused_total",
            f"{self._context.name}: message refused: {text[:1000]}",
            source=self._context.name,
            reason=reason,
        )
