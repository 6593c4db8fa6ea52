"""What a destination is to the outbox: it makes entries of notifications, and delivers them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol
from urllib.parse import urlsplit

from metricsmith.rules.model import Notification
from metricsmith.rules.notify.entries import Entry


class Destination(Protocol):
    """Somebody who is told of alerts.

    `name` identifies it over restarts and holds no secret; `address` is for
    people: scheme and host only. Destinations of equal `settings` are alike.
    One that hears `every_time` is told of an alert at each resend, another
    only of news. `batch` is how many entries go in one delivery,
    `longest_wait_s` the longest time between attempts.
    """

    kind: str
    name: str
    address: str
    every_time: bool
    batch: int
    longest_wait_s: float

    @property
    def settings(self) -> object:
        """All that it was made of."""
        ...

    def entries(self, notifications: Sequence[Notification]) -> Iterable[Entry]:
        """Return what it is to be told of notifications. Called from any thread."""
        ...

    async def send(self, payloads: Sequence[bytes], idempotency_key: str) -> None:
        """Deliver payloads, in order; returning means delivered.

        Raises:
            RetryLater: none or some were delivered; all are sent again, with the same key.
            Rejected: those with the given numbers are refused for good, all when there are none; the
                others are delivered.
        """
        ...

    async def close(self) -> None:
        """Release connections."""
        ...


def shown_address(url: str) -> str:
    """Return scheme and host of an address; what follows them may be secret.

    >>> shown_address("https://user:pw@hooks.example.com:8443/services/T0/B1?key=2")
    'https://hooks.example.com:8443'
    """
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "(no address)"
    host = parts.hostname or ""
    return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}{port}"


def json_headers(idempotency_key: str) -> dict[str, str]:
    """Return the headers of a delivery in JSON; the key is the same at each attempt."""
    return {"Content-Type": "application/json", "Idempotency-Key": idempotency_key}
