"""What two agents say to one another in an acknowledged transfer, over DEALER and ROUTER.

A producer begins a session and learns how far its batches are at the consumer; it sends batches as
frames, numbered as in its journal; the consumer says what it has committed. See docs/formats/transfer.md.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from metricsmith.errors import WireError

VERSION = 1
MAX_NAME_BYTES = 200
MAX_REASON_BYTES = 500
UNREADABLE = "frames"
"""Why a session ends whose frames cannot be decoded: sent again they cannot either."""
MAX_BATCHES = 65_536
"""Batches in one message."""

_HELLO = struct.Struct("<cBQ16sQ")
_BATCHES = struct.Struct("<cBQI")
_PLACE = struct.Struct("<QI")
_PING = struct.Struct("<cBQ")
_WELCOME = struct.Struct("<cBQIQQI")
_ACK = struct.Struct("<cBQQI")
_REFUSAL = struct.Struct("<cBQI")


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Which batch: its number in the producer's journal, and which of those with that number, from 1."""

    sequence: int
    part: int


@dataclass(frozen=True, slots=True)
class Hello:
    """A producer begins a session; `reason` says why it has a new identity, where it has."""

    session: int
    producer: bytes
    life: int
    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Batches:
    """Frames of some batches; messages of a session count from 0."""

    session: int
    index: int
    places: tuple[Place, ...]
    frames: bytes


@dataclass(frozen=True, slots=True)
class Ping:
    """A producer asks whether the session goes on."""

    session: int


@dataclass(frozen=True, slots=True)
class Welcome:
    """A session goes on from a position; `parts` is 0 where the producer is not known."""

    session: int
    max_frame: int
    life: int
    sequence: int
    parts: int


@dataclass(frozen=True, slots=True)
class Ack:
    """All up to `parts` batches of number `sequence` are committed; no parts: nothing yet."""

    session: int
    sequence: int
    parts: int


@dataclass(frozen=True, slots=True)
class Refusal:
    """The session is over. With a time, nothing is taken before; without, a new one may begin at once."""

    session: int
    after_ms: int
    reason: str
    text: str


def pack_hello(hello: Hello) -> list[bytes]:
    """Return the frames of a hello."""
    head = _HELLO.pack(b"H", VERSION, hello.session, hello.producer, hello.life)
    return [head, hello.name.encode()[:MAX_NAME_BYTES], hello.reason.encode()]


def pack_batches(session: int, index: int, places: Sequence[Place], frames: bytes) -> list[bytes]:
    """Return the frames of a message with batches."""
    head = _BATCHES.pack(b"B", VERSION, session, index)
    return [head, b"".join(_PLACE.pack(place.sequence, place.part) for place in places), frames]


def pack_ping(session: int) -> list[bytes]:
    """Return the frames of a ping."""
    return [_PING.pack(b"P", VERSION, session)]


def pack_welcome(welcome: Welcome) -> list[bytes]:
    """Return the frames of a welcome."""
    position = welcome.life, welcome.sequence, welcome.parts
    return [_WELCOME.pack(b"W", VERSION, welcome.session, welcome.max_frame, *position)]


def pack_ack(ack: Ack) -> list[bytes]:
    """Return the frames of an acknowledgement."""
    return [_ACK.pack(b"A", VERSION, ack.session, ack.sequence, ack.parts)]


def pack_refusal(refusal: Refusal) -> list[bytes]:
    """Return the frames of a refusal."""
    head = _REFUSAL.pack(b"N", VERSION, refusal.session, refusal.after_ms)
    return [head, refusal.reason.encode(), refusal.text.encode()[:MAX_REASON_BYTES]]


def unpack_from_producer(frames: Sequence[bytes]) -> Hello | Batches | Ping:
    """Return what a producer says.

    Raises:
        WireError: it is nothing that one says.
    """
    try:
        match frames:
            case [head, name, reason] if head[:1] == b"H":
                session, producer, life = _head(_HELLO, head)
                return Hello(session, producer, life, _text(name, MAX_NAME_BYTES), _text(reason, 40))
            case [head, places, body] if head[:1] == b"B":
                session, index = _head(_BATCHES, head)
                if len(places) > MAX_BATCHES * _PLACE.size:
                    raise WireError(f"got {len(places)} bytes of places, wanted {MAX_BATCHES} at most")
                return Batches(session, index, tuple(Place(*p) for p in _PLACE.iter_unpack(places)), body)
            case [head] if head[:1] == b"P":
                return Ping(*_head(_PING, head))
    except (struct.error, UnicodeDecodeError) as error:
        raise WireError(f"got a malformed message: {error}") from None
    raise WireError(f"got {len(frames)} frames that begin with {bytes(frames[0][:20])!r}")


def unpack_from_consumer(frames: Sequence[bytes]) -> Welcome | Ack | Refusal:
    """Return what a consumer says.

    Raises:
        WireError: it is nothing that one says.
    """
    try:
        match frames:
            case [head] if head[:1] == b"W":
                return Welcome(*_head(_WELCOME, head))
            case [head] if head[:1] == b"A":
                return Ack(*_head(_ACK, head))
            case [head, reason, text] if head[:1] == b"N":
                session, after_ms = _head(_REFUSAL, head)
                return Refusal(session, after_ms, _text(reason, 40), _text(text, MAX_REASON_BYTES + 4))
    except (struct.error, UnicodeDecodeError) as error:
        raise WireError(f"got a malformed message: {error}") from None
    raise WireError(f"got {len(frames)} frames that begin with {bytes(frames[0][:20])!r}")


def _head(form: struct.Struct, head: bytes) -> tuple[Any, ...]:
    """Return the fields of a head.

    Raises:
        WireError: of another version.
        struct.error: of another length.
    """
    _, version, *fields = form.unpack(head)
    if version != VERSION:
        raise WireError(f"got version {version}, wanted {VERSION} (run the same metricsmith on both sides)")
    return tuple(fields)


def _text(data: bytes, most: int) -> str:
    if len(data) > most:
        raise WireError(f"got a text of {len(data)} bytes, wanted {most} at most")
    return "".join(c if c.isprintable() else "?" for c in data.decode(errors="replace"))
