"""Whatever becomes of messages under way: what a consumer takes is in order and of the right series."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metricsmith.contracts import Context
from metricsmith.errors import JournalCorrupt, LimitExceeded
from metricsmith.model.batch import Batch, Layout, event_batch
from metricsmith.model.clock import SystemClock
from metricsmith.model.events import Event
from metricsmith.model.labels import encode_labels
from metricsmith.model.metadata import Metadata, MetricType
from metricsmith.model.series import SeriesTable
from metricsmith.model.telemetry import Telemetry
from metricsmith.sources.transfer.sessions import Sessions
from metricsmith.wire.frames.decode import LayoutMemory
from metricsmith.wire.frames.encode import FrameEncoder
from metricsmith.wire.frames.format import Kind, pack_frame
from metricsmith.wire.frames.guarded import GuardedDecoder
from metricsmith.wire.transfer import (
    Ack,
    Hello,
    Place,
    Refusal,
    Welcome,
    pack_ack,
    pack_batches,
    pack_hello,
    pack_refusal,
    pack_welcome,
    unpack_from_consumer,
)

PEER, PRODUCER, MAX = b"\x00peer", b"p" * 16, 1 << 20


def keys(numbers: Sequence[int]) -> list[bytes]:
    return [encode_labels({"__name__": f"m{n}", "n": str(n)}) for n in numbers]


def session_of(series: SeriesTable, count: int, chance: random.Random) -> list[list[bytes]]:
    """The messages of a session: batches of streams, without, of events; their value is their number."""
    encoder, found = FrameEncoder(0, series, object(), MAX), []
    layouts = [
        Layout(series.intern_many(keys(range(n, n + 5))), f"s{n}", {"m": Metadata(MetricType.GAUGE)})
        for n in range(4)
    ]
    for number in range(count):
        layout = chance.choice([*layouts, Layout(series.intern_many(keys([chance.randrange(50)])))])
        batch = Batch(layout, 1000 + number, np.full(len(layout), float(number)))
        if chance.random() < 0.1:
            batch = event_batch([Event(number, "s", "c", {"a": 1})], number)
        body = b"".join(encoder.encode(batch, number))
        found.append(pack_batches(9, number, [Place(number, 1)], body))
    return found


class Consumer:
    def __init__(self) -> None:
        self.series, self.telemetry = SeriesTable(), Telemetry()
        self.series.intern(b"another id for each")
        context = Context("c", self.series, self.telemetry, SystemClock())
        self.sessions = Sessions(context, MAX)
        self.hear(pack_hello(Hello(9, PRODUCER, 1, "edge", "")))
        self.answers()

    def hear(self, frames: list[bytes]) -> None:
        self.sessions.hear(PEER, frames)

    def answers(self) -> list[Any]:
        found = [unpack_from_consumer(answer) for _, answer in self.sessions.answers]
        self.sessions.answers.clear()
        return found

    def taken(self) -> list[tuple[int, list[bytes], list[float]]]:
        return [
            (
                each.batch.origin.position.sequence if each.batch.origin else -1,
                [self.series.key(i) for i in each.batch.layout.ids.tolist()],
                each.batch.value.tolist(),
            )
            for each in self.sessions.taken
        ]


MISHAPS = st.lists(st.tuples(st.sampled_from(["lose", "swap", "twice", "flip"]), st.randoms()), max_size=3)


def befall(messages: list[list[bytes]], what: str, chance: random.Random) -> None:
    at = chance.randrange(len(messages))
    if what == "lose":
        del messages[at]
    elif what == "swap":
        to = chance.randrange(len(messages))
        messages[at], messages[to] = messages[to], messages[at]
    elif what == "twice":
        messages.insert(at, messages[at])
    else:
        frame = chance.randrange(3)
        data = bytearray(messages[at][frame])
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        messages[at] = [*messages[at][:frame], bytes(data), *messages[at][frame + 1 :]]


@given(st.randoms(use_true_random=True), MISHAPS)
def test_what_is_taken_is_a_right_beginning_of_what_was_sent(
    chance: random.Random, mishaps: list[tuple[str, random.Random]]
) -> None:
    whole, consumer = Consumer(), Consumer()
    messages = session_of(SeriesTable(), 12, chance)
    for message in messages:
        whole.hear(message)
    wanted = whole.taken()
    assert [number for number, _, _ in wanted] == list(range(12))
    received = list(messages)
    for what, luck in mishaps:
        befall(received, what, luck)
    for message in received:
        consumer.hear(message)
    taken = consumer.taken()
    assert taken == wanted[: len(taken)]
    if received != messages and len(taken) < 12 and len(received) > len(taken):
        refusals = [a for a in consumer.answers() if isinstance(a, Refusal)]
        refused = "metricsmith_bus_messages_refused_total"
        counted = consumer.telemetry.value(refused, source="c", reason="message")
        assert counted or (all(r.after_ms == 0 for r in refusals) and refusals)


@given(st.binary(max_size=200), st.integers(0, 300), st.sampled_from([*Kind, 77]))
def test_any_bytes_as_a_payload_are_decoded_or_refused(payload: bytes, count: int, kind: int) -> None:
    decoder = GuardedDecoder(SeriesTable(), LayoutMemory(), "p/", MAX)
    good = session_of(SeriesTable(), 3, random.Random(count))
    body = b"".join(pack_frame(kind, 1, payload))  # type: ignore[arg-type]
    try:
        for message in good:
            list(decoder.batches(message[2]))
        for _, batch in decoder.batches(body):
            assert len(batch.value) == len(batch.layout.ids)
    except (JournalCorrupt, LimitExceeded):
        pass


@given(st.lists(st.binary(max_size=60), max_size=4), st.sampled_from(list(b"HBPWANx")))
def test_any_frames_are_heard_and_answered(frames: list[bytes], kind: int) -> None:
    consumer = Consumer()
    consumer.hear(frames or [b""])
    for size in (0, 9, 13, 21, 33, 41):
        consumer.hear([bytes([kind, 1]) + b"".join(frames)[:size].ljust(size, b"\0"), *frames[:2]])
    assert consumer.taken() == []


def frames_of(keys: list[bytes], first: int = 0) -> bytes:
    lengths = np.array([len(key) for key in keys], dtype=np.uint32)
    head = np.array([first, len(keys)], dtype=np.uint32)
    return b"".join(pack_frame(Kind.SERIES, 0, head.tobytes() + lengths.tobytes() + b"".join(keys)))


@pytest.mark.parametrize(
    "key",
    [
        b"",
        b"m\xff",
        b"m\xffa",
        b"m\xffa\xfe",
        b"m\xff\xfev",
        b"m\xffb\xfev\xffa\xfev",
        b"m\xffa\xfev\xffa\xfew",
        b"m\xff__name__\xfev",
        b"m\x80",
        b"m\xffa\xfe\x80",
        b"m\xfe",
        b"m" * 70_000,
    ],
)
def test_series_that_no_agent_makes_are_refused(key: bytes) -> None:
    decoder = GuardedDecoder(SeriesTable(), LayoutMemory(), "p/", MAX)
    list(decoder.batches(frames_of([b"fine", b"m\xffa\xfev\xffb\xfew", b"\xffa\xfev"])))
    with pytest.raises(JournalCorrupt):
        list(decoder.batches(frames_of([key], 3)))


def test_a_small_frame_cannot_ask_for_much_memory() -> None:
    decoder = GuardedDecoder(SeriesTable(), LayoutMemory(), "p/", MAX)
    with pytest.raises(JournalCorrupt, match="wanted them from 0"):
        list(decoder.batches(frames_of([b"m"], 1 << 27)))
    bomb = b"".join(pack_frame(Kind.SERIES, 0, bytes(MAX + 1)))
    with pytest.raises(LimitExceeded, match=f"got a frame of {MAX + 1} bytes"):
        list(decoder.batches(bomb))


@pytest.mark.parametrize(
    ("message", "pack"),
    [
        (Welcome(1, 2, 3, 4, 5), pack_welcome),
        (Ack(1, 2, 3), pack_ack),
        (Refusal(1, 2, "disk_full", "no space: ü"), pack_refusal),
    ],
)
def test_answers_survive_the_wire(message: Any, pack: Any) -> None:
    assert unpack_from_consumer(pack(message)) == message
