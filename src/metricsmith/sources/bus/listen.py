"""Listening on the bus without an agent: what comes, as it comes, for people."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson
import zmq

from metricsmith.net.bus_settings import SocketSettings
from metricsmith.net.zmq_sockets import Opened
from metricsmith.wire.bus import TopicFilter

POLL_MS = 100


@dataclass(frozen=True, slots=True)
class Heard:
    """A message as it came; `problem` says why it is none that an agent takes, empty when it is."""

    topic: str
    body: bytes
    document: Any = None
    problem: str = ""


def listen(settings: SocketSettings, topics: tuple[str, ...], for_s: float | None) -> Iterator[Heard | None]:
    """Yield messages of some topics until a time has passed; None when nothing comes for a moment.

    Raises:
        BusUnusable: the address cannot be used.
    """
    wanted = TopicFilter(topics)
    opened = Opened(zmq.SUB, settings)
    end = None if for_s is None else time.monotonic() + for_s
    try:
        for prefix in wanted.prefixes():
            opened.socket.subscribe(prefix)
        while end is None or time.monotonic() < end:
            if not opened.socket.poll(POLL_MS):
                yield None
                continue
            heard = read(opened.socket.recv_multipart())
            if wanted.takes(heard.topic):
                yield heard
    finally:
        opened.close()


def read(frames: list[bytes]) -> Heard:
    """Return a message, whatever its frames are."""
    topic = frames[0].decode(errors="backslashreplace")
    if len(frames) != 2:
        return Heard(topic, b"".join(frames[1:]), problem=f"{len(frames)} frames, wanted topic and JSON")
    try:
        document = orjson.loads(frames[1])
    except orjson.JSONDecodeError as error:
        return Heard(topic, frames[1], problem=f"not JSON: {error}")
    if not isinstance(document, dict):
        return Heard(topic, frames[1], document, "not a JSON object")
    return Heard(topic, frames[1], document)
