"""What waits for a destination: order, back-off, bounds, and the end of the process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from metricsmith.sdk.export.targets import Outbox, Payload, SendLater, SendRefused
from metricsmith.sdk.problems import Problems
from metricsmith.testing.clock import FakeClock


class Far:
    """A destination that answers as told."""

    name = "far"
    address = "http://far"

    def __init__(self) -> None:
        self.taken: list[Payload] = []
        self.answers: list[Exception | None] = []
        self.attempts = 0

    def encode(self, readings: Sequence[Any], time_ms: int) -> list[Payload]:
        if readings and isinstance(readings[0], Exception):
            raise readings[0]
        return [tuple(readings)]

    def send(self, payload: Payload) -> None:
        self.attempts += 1
        if self.answers and (error := self.answers.pop(0)) is not None:
            raise error
        self.taken.append(payload)

    def close(self) -> None: ...

    def abandon(self) -> None: ...


@pytest.fixture
def far() -> Far:
    return Far()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def outbox(far: Far, clock: FakeClock) -> Outbox:
    return Outbox(far, clock, Problems(), most_bytes=100)


def put(outbox: Outbox, *bodies: bytes) -> None:
    for body in bodies:
        outbox.put([body], 0)  # type: ignore[list-item]


def test_all_is_sent_in_order(outbox: Outbox, far: Far) -> None:
    put(outbox, b"1", b"2", b"3")
    outbox.send()
    assert far.taken == [(b"1",), (b"2",), (b"3",)]
    assert (outbox.sent, len(outbox), outbox.waiting_bytes, outbox.dropped) == (3, 0, 0, 0)


def test_what_fails_stays_first_and_is_tried_less_and_less_often(
    outbox: Outbox, far: Far, clock: FakeClock
) -> None:
    put(outbox, b"1", b"2")
    far.answers = [SendLater("http_503", "later") for _ in range(200)]
    for _ in range(600):
        outbox.send()
        clock.advance(1)
    assert 12 <= far.attempts <= 22  # at 1, 2, 4 … 60 s, give or take a fifth
    assert outbox.failures == {"http_503": far.attempts}
    far.answers.clear()
    clock.advance(72)
    outbox.send()
    assert far.taken == [(b"1",), (b"2",)]
    assert (outbox.dropped, outbox.last_error) == (0, "")


def test_a_destination_says_when_to_come_again(outbox: Outbox, far: Far, clock: FakeClock) -> None:
    put(outbox, b"1")
    far.answers = [SendLater("http_429", "slow down", after_s=30)]
    outbox.send()
    clock.advance(29)
    outbox.send()
    assert far.attempts == 1
    clock.advance(1)
    outbox.send()
    assert far.taken == [(b"1",)]


def test_what_is_refused_is_dropped_and_the_rest_goes_on(outbox: Outbox, far: Far) -> None:
    put(outbox, b"bad", b"good")
    far.answers = [SendRefused("http_400", "no")]
    outbox.send()
    assert far.taken == [(b"good",)]
    assert (outbox.dropped, outbox.failures) == (1, {"http_400": 1})


def test_the_oldest_gives_way(outbox: Outbox, far: Far, clock: FakeClock) -> None:
    far.answers = [SendLater("connection", "down")]
    outbox.send()
    put(outbox, *(b"%039d" % number for number in range(5)))
    assert (len(outbox), outbox.waiting_bytes, outbox.dropped) == (2, 78, 3)
    clock.advance(2)
    far.answers.clear()
    outbox.send()
    assert far.taken == [(b"%039d" % 3,), (b"%039d" % 4,)]


def test_a_reading_that_is_larger_than_all_room_has_it_alone(outbox: Outbox) -> None:
    put(outbox, b"1")
    outbox.target.encode = lambda readings, time_ms: [(each,) for each in readings]  # type: ignore[method-assign, misc]
    outbox.put([b"x" * 60, b"y" * 60], 0)  # type: ignore[list-item]
    assert (len(outbox), outbox.waiting_bytes, outbox.dropped) == (2, 120, 1)
    put(outbox, b"2")
    assert (len(outbox), outbox.waiting_bytes, outbox.dropped) == (2, 61, 2)


def test_defects_are_counted_and_do_not_come_out(outbox: Outbox, far: Far) -> None:
    outbox.put([ValueError("cannot")], 0)  # type: ignore[list-item]
    put(outbox, b"1")
    far.answers = [KeyError("what")]
    outbox.send()
    assert outbox.failures == {"encode": 1, "defect": 1}
    assert len(outbox) == 1


def test_at_the_end_it_is_tried_until_a_time_and_then_given_up(
    outbox: Outbox, far: Far, clock: FakeClock
) -> None:
    put(outbox, b"1", b"2")
    far.answers = [None, *(SendLater("connection", "down") for _ in range(1000))]
    outbox.send(clock.advance, until_s=clock.monotonic() + 1)
    assert far.taken == [(b"1",)]
    assert 15 <= far.attempts <= 25
    outbox.give_up()
    assert (outbox.dropped, len(outbox), outbox.waiting_bytes) == (1, 0, 0)
