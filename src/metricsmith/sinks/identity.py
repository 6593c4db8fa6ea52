"""Who a producer is to its consumer, and whether its batch numbers still mean what they did."""

from __future__ import annotations

import logging
import secrets
from typing import Any

import orjson

from metricsmith.contracts import Context

log = logging.getLogger(__name__)

_KEY = "identity"
MAX_LIVES = 1000


class Identity:
    """A random name that is kept, and the runs of this agent since the other side last heard of one.

    Each run notes from which number on it gives numbers. The other side tells
    the last batch that it has and the run that sent it. When a later run gave
    that number again (the journal had lost its tail), or when that run is
    not known (the data directory is a copy, or was restored), numbers
    would be taken for delivered that are not: then a new name is drawn.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self.life = context.journal.life
        self.reason = ""
        """Why there is a new name, for the other side to tell."""
        self.settled = 0
        """Batches before this number are on the other side, under the former name."""
        kept = dict(context.state.items(_KEY)).get(_KEY)
        found: dict[str, Any] = orjson.loads(kept) if kept else {"lives": []}
        self.producer = bytes.fromhex(found["name"]) if kept else secrets.token_bytes(16)
        self._lives: list[tuple[int, int]] = [(life, begun_at) for life, begun_at in found["lives"]]
        self._acknowledged = False

    def keep(self) -> None:
        """Have this run in what is kept; before anything is sent.

        Raises:
            StoreError, DiskFull: it is not.
        """
        if not self._lives or self._lives[-1][0] != self.life:
            self._save(
                self.producer, [*self._lives, (self.life, self._context.journal.begun_at)][-MAX_LIVES:]
            )

    def doubt(self, life: int, sequence: int) -> str:
        """Return why the other side's last batch may not be ours of that number; empty when it is."""
        if life not in (known for known, _ in self._lives):
            return "unknown_life"
        begun_at = self._given_anew(life)
        return "tail_lost" if begun_at is not None and sequence >= begun_at else ""

    def renew(self, reason: str, life: int) -> None:
        """Draw a new name; what the other side has under the old one is history, and ended with a life.

        Raises:
            StoreError, DiskFull: the old one stays.
        """
        settled = self._given_anew(life) or 0
        self._save(secrets.token_bytes(16), [(self.life, self._context.journal.begun_at)])
        self.reason, self.settled = reason, settled
        self._context.telemetry.problem(
            log,
            "metricsmith_transfer_renewals_total",
            f"{self._context.name}: goes on under a new identity, as its numbers do not fit those of"
            f" the other side ({reason})",
            sink=self._context.name,
            reason=reason,
        )

    def acknowledged(self) -> None:
        """Note that the other side has a batch of this run: earlier runs do not matter any more.

        Raises:
            StoreError, DiskFull: they are kept a while longer.
        """
        if not self._acknowledged:
            self._save(self.producer, self._lives[-1:])
            self._acknowledged = True

    def _given_anew(self, life: int) -> int | None:
        """Return the first number that a later life than this one may have given; None without any."""
        lives = [known for known, _ in self._lives]
        later = self._lives[lives.index(life) + 1 :] if life in lives else []
        return min((begun_at for _, begun_at in later), default=None)

    def _save(self, producer: bytes, lives: list[tuple[int, int]]) -> None:
        self._context.state.commit({_KEY: orjson.dumps({"name": producer.hex(), "lives": lives})})
        self.producer, self._lives = producer, lives
