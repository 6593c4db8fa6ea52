"""What goes onto the bus is the documented message, and what any program sends is taken."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import zmq
from hypothesis import given
from hypothesis import strategies as st

from metricsmith.errors import DiskFull, MessageError, RetryLater, WireError
from metricsmith.model.batch import Batch, Layout
from metricsmith.model.labels import encode_labels
from metricsmith.model.series import SeriesTable
from metricsmith.sinks.bus import BusSink
from metricsmith.wire.bus import MessageEncoder, TopicFilter
from metricsmith.wire.messages import TimeRange, batch_of, parse_message

NOW = 1_700_000_000_000
ALL_TIMES = TimeRange(0, 10**14, NOW)


async def test_another_program_reads_what_is_published(
    publish: Callable[..., Any], bare: Callable[..., Any], endpoint: str, heard: Callable[..., Any]
) -> None:
    listener = bare(zmq.SUB, endpoint, bind=True)
    listener.subscribe(b"metrics.")
    side, sink = publish(endpoint=endpoint)
    await heard(sink, b"metrics.", listener)
    await sink.send(side.delivery(0, {"a": 1.5, "b": float("inf")}, NOW, service="shop", zone="eu"))
    topic, body = listener.recv_multipart()
    assert topic == b"metrics.shop"
    assert json.loads(body) == {
        "service": "shop",
        "timestamp": "2023-11-14T22:13:20Z",
        "metrics": {"a": 1.5, "b": "+Inf"},
        "tags": {"zone": "eu"},
    }


async def test_one_that_takes_the_place_of_another_listens_once_that_has_gone(
    side: Callable[[], Any], publish: Callable[..., Any], bare: Callable[..., Any], endpoint: str
) -> None:
    """As when a setting of a sink changes while the agent runs."""
    before = BusSink(BusSink.Config(endpoint=endpoint, bind=True), side().context)
    known, sink = publish(endpoint=endpoint, bind=True)
    listener = bare(zmq.SUB, endpoint)
    listener.subscribe(b"metrics.")
    delivery = known.delivery(0, {"a": 1.5}, NOW, service="shop")
    with pytest.raises(RetryLater, match=r"cannot listen at .* in use"):
        await sink.send(delivery)
    await before.close()
    _, heard = await asyncio.gather(sink.send(delivery), asyncio.to_thread(listener.recv))
    assert heard == b"metrics.shop"


async def test_what_another_program_publishes_is_taken(
    receive: Callable[..., Any], bare: Callable[..., Any], endpoint: str
) -> None:
    side = receive(endpoint=endpoint, topics=["metrics.*", "system.*.x"], max_age="10000d")
    sender = bare(zmq.XPUB, endpoint)
    heard = {await asyncio.to_thread(sender.recv), await asyncio.to_thread(sender.recv)}
    assert heard == {b"\x01metrics.", b"\x01system."}
    body = b'{"service": "a", "timestamp": "2023-11-14T22:13:20Z", "metrics": {"m": 2}, "tags": {"k": "v"}}'
    sender.send_multipart([b"system.a.y", body])  # subscribed to by prefix, and not meant
    sender.send_multipart([b"metrics.a", body])
    sender.send_multipart([b"system.a.b.x", body.replace(b'"a"', b'"c"')])
    await side.until(lambda: len(side.samples()) == 2)
    assert side.samples() == [
        ("m\xffk\xfev\xffservice\xfea", NOW, "2.0"),
        ("m\xffk\xfev\xffservice\xfec", NOW, "2.0"),
    ]
    assert {topic.topic: topic.messages for topic in side.source.seen.topics()} == {
        "metrics.a": 1,
        "system.a.b.x": 1,
    }


@pytest.mark.parametrize(
    ("frames", "reason"),
    [
        ([b"metrics.a"], "frames"),
        ([b"metrics.a", b"{}", b""], "frames"),
        ([b"metrics.\xff", b"{}"], "topic"),
        ([b"metrics.a", b"{"], "json"),
        ([b"metrics.a", b"\xff\xfe"], "json"),
        ([b"metrics.a", b"[" * 100_000], "json"),
        ([b"metrics.a", b"[]"], "message"),
        ([b"metrics.a", b'{"service": "a", "metrics": {"m": "x"}}'], "message"),
        ([b"metrics.a", b'{"service": "a", "metrics": {"m": 1}, "tags": {"service": "b"}}'], "message"),
        (
            [b"metrics.a", b'{"service": "a", "timestamp": "1970-01-01T00:00:00Z", "metrics": {"m": 1}}'],
            "message",
        ),
        (
            [b"metrics.a", b'{"service": "a", "timestamp": "2970-01-01T00:00:00Z", "metrics": {"m": 1}}'],
            "message",
        ),
    ],
)
async def test_a_bad_message_is_counted_and_the_next_one_taken(
    receive: Callable[..., Any], bare: Callable[..., Any], endpoint: str, frames: list[bytes], reason: str
) -> None:
    side = receive(endpoint=endpoint)
    sender = bare(zmq.XPUB, endpoint)
    await asyncio.to_thread(sender.recv)
    sender.send_multipart(frames)
    sender.send_multipart([b"metrics.a", b'{"service": "a", "metrics": {"good": 1}}'])
    await side.until(lambda: bool(side.samples()))
    assert [name.partition("\xff")[0] for name, _, _ in side.samples()] == ["good"]
    count = side.telemetry.value("metricsmith_bus_messages_refused_total", source="side", reason=reason)
    assert count == 1


async def test_a_store_that_is_full_loses_nothing(
    receive: Callable[..., Any], bare: Callable[..., Any], endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("metricsmith.sources.bus.reading.RETRY_S", 0.01)
    side = receive(endpoint=endpoint)
    side.refusals = [DiskFull("full"), DiskFull("full")]
    sender = bare(zmq.XPUB, endpoint)
    await asyncio.to_thread(sender.recv)
    for value in range(20):
        sender.send_multipart([b"metrics.a", b'{"service": "a", "metrics": {"m": %d}}' % value])
    await side.until(lambda: len(side.samples()) == 20)
    assert [value for _, _, value in side.samples()] == [repr(float(v)) for v in range(20)]


async def test_messages_that_nobody_subscribes_to_are_counted(
    publish: Callable[..., Any], endpoint: str
) -> None:
    side, sink = publish(endpoint=endpoint)
    await sink.send(side.delivery(0, {"a": 1.0}, NOW))
    assert side.telemetry.value("metricsmith_bus_messages_unheard_total", sink="side") == 1
    await sink.send(side.delivery(1, {"a": 1.0}, NOW))
    assert sink.remark() == f"{endpoint}: nobody subscribes: 2 messages lost"


@pytest.mark.parametrize(
    ("collection", "taken"),
    [
        ({}, {"cpu_usage_percent", "response_time_ms", "queue_depth", "temperature"}),
        ({"system_metrics": False}, {"response_time_ms", "queue_depth", "temperature"}),
        ({"application_metrics": False}, {"cpu_usage_percent", "temperature"}),
        ({"custom_metrics": False}, {"cpu_usage_percent", "response_time_ms", "queue_depth"}),
        ({"application": ["response_time"]}, {"cpu_usage_percent", "response_time_ms", "temperature"}),
        ({"application": ["temperature"], "custom_metrics": False}, {"cpu_usage_percent", "temperature"}),
    ],
)
async def test_collection_chooses_what_is_taken(
    receive: Callable[..., Any],
    bare: Callable[..., Any],
    endpoint: str,
    collection: dict[str, Any],
    taken: set[str],
) -> None:
    side = receive(endpoint=endpoint, collection=collection)
    sender = bare(zmq.XPUB, endpoint)
    await asyncio.to_thread(sender.recv)
    sender.send_multipart([b"metrics.system", b'{"service": "system", "metrics": {"cpu_usage_percent": 1}}'])
    metrics = b'{"response_time_ms": 1, "queue_depth": 2, "temperature": 3}'
    sender.send_multipart([b"metrics.a", b'{"service": "a", "metrics": %s}' % metrics])
    sender.send_multipart([b"metrics.system", b'{"service": "system", "metrics": {"last": 1}}'])
    await side.until(lambda: len(side.samples()) >= len(taken))
    names = {name.partition("\xff")[0] for name, _, _ in side.samples()}
    assert names - {"last"} == taken


@pytest.mark.parametrize(
    ("pattern", "topic", "taken"),
    [
        ("metrics.*", "metrics.a.b", True),
        ("metrics.*", "metrics", False),
        ("*", "", True),
        ("a*b", "ab", True),
        ("a*b", "a", False),
        ("ab*bc", "abc", False),
        ("*.x.*", "a.x.b", True),
        ("*.x.*", "a.y.b", False),
        ("a", "a", True),
        ("a", "a.b", False),
        ("a*a*a", "aa", False),
        ("a.b", "axb", False),
    ],
)
def test_patterns(pattern: str, topic: str, taken: bool) -> None:
    assert TopicFilter((pattern,)).takes(topic) is taken


LABEL = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1, max_size=8)


@given(
    st.lists(
        st.tuples(
            LABEL,
            st.dictionaries(LABEL.filter(lambda n: n != "__name__"), LABEL, max_size=3),
            st.integers(0, 3),
            st.floats(),
            st.booleans(),
        ),
        min_size=1,
        max_size=20,
    )
)
def test_messages_hold_every_sample_once_but_for_markers(
    samples: list[tuple[str, dict[str, str], int, float, bool]],
) -> None:
    series = SeriesTable()
    keys = [encode_labels({**labels, "__name__": name}) for name, labels, *_ in samples]
    layout = Layout(series.intern_many(keys))
    times = np.array([NOW + t for _, _, t, _, _ in samples], dtype=np.int64)
    stale = np.array([s for *_, s in samples])
    batch = Batch(layout, times, np.array([v for _, _, _, v, _ in samples]), stale)
    messages = [parse_message(body, ALL_TIMES) for _, body in MessageEncoder(series, "us").messages(batch)]
    back = SeriesTable()
    read = batch_of(messages, back)
    columns = read.layout.ids.tolist(), read.times().tolist(), read.value.tolist()
    got = sorted((sorted(back.labels(i).items()), t, repr(v)) for i, t, v in zip(*columns, strict=True))
    wanted = sorted(
        (sorted({"service": "us", **labels, "__name__": name}.items()), NOW + t, repr(v))
        for name, labels, t, v, ended in samples
        if not ended
    )
    assert got == wanted


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
FIELDS = {
    "service": st.text(max_size=8) | JSON,
    "timestamp": st.text(max_size=30) | st.just("2023-11-14T22:13:20.5+01:00") | JSON,
    "metrics": st.dictionaries(st.text(max_size=8), st.floats() | st.just("NaN") | JSON, max_size=5) | JSON,
    "tags": st.dictionaries(st.text(max_size=8), st.text(max_size=8) | JSON, max_size=5) | JSON,
}


def test_all_parts_of_a_histogram_have_one_key() -> None:
    """A share of the keys is what one of several consumers gets, who makes quantiles of it."""
    series = SeriesTable()

    def keys(*labels: dict[str, str]) -> set[bytes]:
        ids = series.intern_many([encode_labels({"service": "shop", **each}) for each in labels])
        batch = Batch(Layout(ids), NOW, np.ones(len(ids)))
        return {key for key, _ in MessageEncoder(series, "us").keyed(batch)}

    buckets = [{"__name__": "lat_bucket", "route": "/", "le": le} for le in ("1", "2", "+Inf")]
    quantiles = [{"__name__": "size", "route": "/", "quantile": q} for q in ("0.5", "0.9")]
    assert len(keys(*buckets, *quantiles, {"__name__": "lat_count", "route": "/"})) == 1
    assert len(keys(*buckets, {"__name__": "lat_count", "route": "/cart"})) == 2


@given(st.binary(max_size=200) | JSON.map(json.dumps).map(str.encode))
def test_any_bytes_are_a_message_or_refused(body: bytes) -> None:
    with contextlib.suppress(WireError):  # a MessageError is one
        parse_message(body, ALL_TIMES)


@given(st.fixed_dictionaries({}, optional=FIELDS))
def test_what_is_nearly_a_message_is_one_or_refused_with_its_fields(document: dict[str, Any]) -> None:
    body = json.dumps(document).encode()
    try:
        message = parse_message(body, ALL_TIMES)
    except MessageError as error:
        assert error.problems and all(problem.field and problem.wanted for problem in error.problems)
    except WireError as error:
        assert "not JSON" in str(error)  # NaN and lone surrogates, as Python's encoder writes them
    else:
        series = SeriesTable()
        batch = batch_of([message], series)
        assert len(batch) == len(document["metrics"])
        labels = [series.labels(i) for i in batch.layout.ids.tolist()]
        assert {each["service"] for each in labels} == {document["service"]}
