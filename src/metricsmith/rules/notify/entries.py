"""What waits in the outbox: an entry is what one destination is to be told, as it is kept in the state.

Keys are `outbox/waiting/DESTINATION/TIME-SLOT`. They are in order of time; an entry is never written over,
so that forgetting one cannot forget a newer one.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import orjson

WAITING = "outbox/waiting/"
_PAYLOAD = b'"payload":'


@dataclass(frozen=True, slots=True)
class Entry:
    """What a destination is to be told: `payload` is JSON that the destination understands.

    Where newer news replaces older, the slot names the alert; else it is
    distinct. `alerts` is how many alerts are told of.

    Units:
        Times in milliseconds since the Unix epoch; after `until_ms` it is of no use any more.
    """

    destination: str
    slot: str
    at_ms: int
    until_ms: int
    alerts: int
    payload: bytes

    @property
    def key(self) -> str:
        """Where it is kept."""
        return f"{WAITING}{self.destination}/{self.at_ms:014d}-{self.slot}"

    @property
    def size(self) -> int:
        """Bytes that it counts for."""
        return len(self.payload) + len(self.slot) + _OVERHEAD_BYTES

    def encode(self) -> bytes:
        """Return what is kept under the key."""
        head = f'{{"until_ms":{self.until_ms},"alerts":{self.alerts},'.encode()
        return head + _PAYLOAD + self.payload + b"}"


_OVERHEAD_BYTES = 400
"""Of the objects that hold an entry in memory."""


def decode(key: str, value: bytes) -> Entry:
    """Return an entry from what is kept; its payload is not parsed.

    Raises:
        ValueError: it is damaged.
    """
    destination, _, rest = key.removeprefix(WAITING).partition("/")
    time, _, slot = rest.partition("-")
    head, found, rest_of_value = value.partition(_PAYLOAD)
    if not found or not rest_of_value.endswith(b"}"):
        raise ValueError("got no payload, wanted one")
    try:
        plain = orjson.loads(head.rstrip(b",") + b"}")
        until_ms, alerts = int(plain["until_ms"]), int(plain["alerts"])
    except (KeyError, TypeError) as error:
        raise ValueError(f"got an entry without {error}") from None
    return Entry(destination, slot, int(time), until_ms, alerts, rest_of_value[:-1])


def payload_of(value: object) -> bytes:
    """Return JSON that takes no more memory than it is long: what orjson returns takes kilobytes."""
    return bytes(memoryview(orjson.dumps(value)))


def digest(*parts: str | bytes) -> str:
    """Return a short name for texts, which tells nothing of them."""
    found = hashlib.blake2b(digest_size=12)
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        found.update(len(data).to_bytes(4, "little") + data)
    return found.hexdigest()
