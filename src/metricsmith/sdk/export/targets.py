"""What a destination of pushed metrics is, and how what it does not take waits in memory."""

from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

from metricsmith.sdk.clock import Clock
from metricsmith.sdk.problems import Problems
from metricsmith.sdk.reading import Reading

Payload: TypeAlias = tuple[bytes, ...]
"""One request or message, in parts."""

MAX_WAITING_BYTES = 4 << 20
FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 60.0
LONGEST_AFTER_S = 300.0
"""However long a destination asks us to stay away."""
LAST_WAIT_S = 0.05
"""Between attempts when the process ends: what can still be sent is sent soon or not at all."""


class SendLater(Exception):
    """A destination cannot take a payload now. `reason` is from a fixed set."""

    def __init__(self, reason: str, text: str, after_s: float = 0.0) -> None:
        self.reason, self.after_s = reason, after_s
        super().__init__(text)


class SendRefused(Exception):
    """A destination will never take a payload. `reason` is from a fixed set."""

    def __init__(self, reason: str, text: str) -> None:
        self.reason = reason
        super().__init__(text)


class Target(Protocol):
    """A destination. All methods are called in the exporter's thread, and may take their time."""

    name: str
    address: str
    """Where it sends, without secrets."""

    def encode(self, readings: Sequence[Reading], time_ms: int) -> list[Payload]:
        """Return what tells of all samples at one time."""
        ...

    def send(self, payload: Payload) -> None:
        """Send, and return when it was taken.

        Raises:
            SendLater: it was not, and may be.
            SendRefused: it never will be.
        """
        ...

    def close(self) -> None:
        """Give up connections, within a second."""
        ...

    def abandon(self) -> None:
        """In a forked child: let go of what the parent goes on using, without a word to the other side."""
        ...


class Outbox:
    """What waits for a destination: in order, the oldest given up when it would be too much."""

    def __init__(
        self, target: Target, clock: Clock, problems: Problems, most_bytes: int = MAX_WAITING_BYTES
    ) -> None:
        self.target = target
        self._clock, self._problems, self._most_bytes = clock, problems, most_bytes
        self._waiting: deque[Payload] = deque()
        self._failures_in_a_row = 0
        self._not_before_s = 0.0
        self.waiting_bytes = 0
        self.sent = self.dropped = 0
        self.failures: Counter[str] = Counter()
        self.last_sent_ms = 0
        self.last_error = ""

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def due_s(self) -> float:
        """When to send, on the clock that never runs backwards; never, while nothing waits."""
        return self._not_before_s if self._waiting else float("inf")

    def put(self, readings: Sequence[Reading], time_ms: int) -> None:
        """Encode a reading and let it wait. The latest one has room, whatever its size."""
        try:
            payloads = self.target.encode(readings, time_ms)
        except Exception as error:
            self._failed("encode", f"cannot be written: {type(error).__name__}: {error}", trace=True)
            return
        self._waiting.extend(payloads)
        self.waiting_bytes += sum(map(_size, payloads))
        while self.waiting_bytes > self._most_bytes and len(self._waiting) > len(payloads):
            self._drop("full", f"more than {self._most_bytes} bytes wait; the oldest are given up")

    def send(self, sleep: Callable[[float], None] | None = None, until_s: float = float("inf")) -> None:
        """Send what waits until that fails; with `sleep`, try again and again until a time."""
        while self._waiting and self._clock.monotonic() < until_s:
            if sleep is None and self._clock.monotonic() < self._not_before_s:
                return
            try:
                self.target.send(self._waiting[0])
            except SendRefused as error:
                self._failed(error.reason, str(error))
                self._take()
                self.dropped += 1
            except SendLater as error:
                self._failed(error.reason, str(error))
                self._back_off(error.after_s)
            except Exception as error:
                self._failed("defect", f"{type(error).__name__}: {error}", trace=True)
                self._back_off(0.0)
            else:
                self._take()
                self._sent()
                continue
            if sleep is not None:
                sleep(LAST_WAIT_S)

    def give_up(self) -> None:
        """Drop what waits: the process ends."""
        while self._waiting:
            self._drop("ended", "not sent when the process ended")

    def _take(self) -> None:
        self.waiting_bytes -= _size(self._waiting.popleft())

    def _drop(self, reason: str, text: str) -> None:
        self._take()
        self.dropped += 1
        self._problems.note(f"{self.target.name}_{reason}", f"{self.target.address}: {text}")

    def _sent(self) -> None:
        self.sent += 1
        self.last_sent_ms, self.last_error = self._clock.now_ms(), ""
        self._failures_in_a_row = 0

    def _failed(self, reason: str, text: str, *, trace: bool = False) -> None:
        self.failures[reason] += 1
        self.last_error = text
        self._problems.note(f"{self.target.name}_{reason}", f"{self.target.address}: {text}", trace=trace)

    def _back_off(self, after_s: float) -> None:
        wait_s = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2.0 ** min(self._failures_in_a_row, 10))
        self._failures_in_a_row += 1
        # Many processes that lost the same server must not come back all at once.
        wait_s = max(wait_s * random.uniform(0.8, 1.2), min(after_s, LONGEST_AFTER_S))
        self._not_before_s = self._clock.monotonic() + wait_s


def _size(payload: Payload) -> int:
    return sum(map(len, payload))
