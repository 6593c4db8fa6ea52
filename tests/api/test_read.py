"""Remote read: a real Prometheus reads through us, and chunks are bit by bit those that it writes itself."""

from __future__ import annotations

import asyncio
import json
import math
import struct
import urllib.parse
import urllib.request
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import cramjam
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metricsmith.api.app import create_app
from metricsmith.errors import InputError
from metricsmith.model.labels import encode_labels
from metricsmith.promql.engine import Engine, EngineConfig
from metricsmith.promql.result import to_api
from metricsmith.testing import services
from metricsmith.testing.remote_read import (
    Series,
    decode_chunk,
    join_queries,
    read_frames,
    read_query,
    read_request,
    read_samples,
)
from metricsmith.wire import remote_read_encode
from metricsmith.wire.remote_read import MAX_MATCHERS, MAX_QUERIES, decode_read_request
from metricsmith.wire.remote_write_encode import encode_series_labels, encode_write_request
from metricsmith.wire.xor_chunk import encode_chunks

NOW_MS = 1_700_000_000_000
STALE_BITS = 0x7FF0000000000002
STREAMED = (1, 0)
Samples = list[tuple[int, float]]


def make_data() -> dict[bytes, Samples]:
    """Series with and without jitter, odd values, gaps, and a staleness marker (None as value)."""
    random = np.random.default_rng(5)
    regular = NOW_MS - 15_000 * np.arange(400, 0, -1)
    jittered = regular + random.integers(-3000, 3000, 400)
    stale = struct.unpack("<d", struct.pack("<Q", STALE_BITS))[0]
    odd = [math.inf, -math.inf, -0.0, 5e-324, 1.7976931348623157e308, 0.1]
    rows: dict[str, tuple[Any, list[float]]] = {
        "requests_total|code=200": (regular, np.cumsum(random.integers(0, 9, 400)).tolist()),
        "requests_total|code=500": (regular, [7.0] * 400),
        "noise|kind=é": (jittered, random.normal(size=400).tolist()),
        "noise|kind=odd": (jittered[::7], (odd * 10)[:58]),
        "A_gone|Zone=x": (regular[:200], [*random.random(199), stale]),
        "one": (regular[-1:], [1.0]),
    }
    return {
        key_of(text): list(zip(times.tolist(), values, strict=True)) for text, (times, values) in rows.items()
    }


def key_of(text: str) -> bytes:
    name, *pairs = text.split("|")
    return encode_labels({"__name__": name} | dict(pair.split("=", 1) for pair in pairs))


DATA = make_data()
WRITTEN = encode_write_request(
    [encode_series_labels(key) for key in DATA],
    [len(samples) for samples in DATA.values()],
    np.array([t for samples in DATA.values() for t, _ in samples], dtype=np.int64),
    np.array([v for samples in DATA.values() for _, v in samples]),
)
WRITE_HEADERS = {"content-encoding": "snappy", "content-type": "application/x-protobuf"}


def bits_of(samples: Samples) -> list[tuple[int, int]]:
    return [(t, struct.unpack("<Q", struct.pack("<d", v))[0]) for t, v in samples]


def joined(series: list[Series]) -> dict[bytes, list[tuple[int, int]]]:
    """Frames of one series together; the order of the series stays."""
    found: dict[bytes, list[tuple[int, int]]] = {}
    for each in series:
        found.setdefault(each.key, []).extend(each.samples)
    return found


def random_text(length: int) -> str:
    """Text that does not become short by compression."""
    return "".join(map(chr, np.random.default_rng(3).integers(97, 123, length).tolist()))


@pytest.fixture
async def filled(api: Any) -> Any:
    """The application with DATA, as remote write brought it."""
    assert (await api.call("POST", "/api/v1/write", WRITTEN, WRITE_HEADERS)).status == 204
    return api


async def ask(api: Any, body: bytes) -> Any:
    answer = await api.call("POST", "/api/v1/read", body, WRITE_HEADERS)
    assert answer.status == 200, answer.body
    return answer


@pytest.mark.parametrize("piece", [60_000, 500, 1])
async def test_both_forms_give_every_sample(filled: Any, monkeypatch: pytest.MonkeyPatch, piece: int) -> None:
    monkeypatch.setattr("metricsmith.api.read.PIECE_SAMPLES", piece)
    everything = [("__name__", "=~", ".+")]
    samples = await ask(filled, read_request(everything, 0, NOW_MS))
    assert samples.headers["content-encoding"] == "snappy"
    assert samples.headers["content-type"] == "application/x-protobuf"
    frames = await ask(filled, read_request(everything, 0, NOW_MS, STREAMED))
    assert (
        frames.headers["content-type"]
        == "application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse"
    )
    wanted = {key: bits_of(samples) for key, samples in DATA.items()}
    for found in (joined(read_samples(samples.body)), joined(read_frames(frames.body))):
        assert found == wanted
        # Zone sorts before __name__, so the first series is that of the largest metric name's label.
        assert next(iter(found)) == key_of("A_gone|Zone=x")


@pytest.mark.parametrize("accepted", [(), STREAMED])
async def test_matchers_range_and_several_queries(filled: Any, accepted: tuple[int, ...]) -> None:
    read = read_frames if accepted else read_samples
    first_ms, last_ms = NOW_MS - 60_000, NOW_MS - 15_000
    queries = [
        read_query([("__name__", "=", "requests_total"), ("code", "!=", "200")], first_ms, last_ms),
        read_query([("__name__", "=", "nothing")], first_ms, last_ms),
        read_query([("kind", "=~", "o.*|é"), ("kind", "!~", "é")], 0, NOW_MS),
        read_query([("__name__", "=", "one")], last_ms, first_ms),
        read_query([("__name__", "=", "one")], -(2**63), 2**63 - 1),
    ]
    found = read((await ask(filled, join_queries(queries, accepted))).body)
    assert [(series.query, series.key, len(series.samples)) for series in found] == [
        (0, key_of("requests_total|code=500"), 4),
        (2, key_of("noise|kind=odd"), 58),
        (4, key_of("one"), 1),
    ]
    times = [t for t, _ in found[0].samples]
    assert (times[0], times[-1]) == (first_ms, last_ms)


async def test_long_series_take_several_frames(filled: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_read_encode, "MAX_FRAME_BYTES", 1600)
    request = read_request([("__name__", "=", "noise")], 0, NOW_MS, STREAMED)
    frames = read_frames((await ask(filled, request)).body)
    assert [len(frame.chunks) for frame in frames] == [1, 1, 1, 1, 1]
    assert joined(frames)[key_of("noise|kind=é")] == bits_of(DATA[key_of("noise|kind=é")])


@pytest.fixture
async def reader(filled: Any, tmp_path: Any) -> AsyncIterator[tuple[Any, services.Server]]:
    """A real Prometheus without data of its own that reads from us by remote read."""
    async with filled.served() as url:
        config = f"remote_read:\n- url: {url}/api/v1/read\n  read_recent: true\n"
        started = services.prometheus(tmp_path / "reader", config)
        try:
            server = await asyncio.to_thread(started.__enter__)
        except services.ServiceMissing as missing:
            pytest.skip(str(missing))
        yield filled, server
        await asyncio.to_thread(started.__exit__, None, None, None)


QUERIES = [
    "requests_total",
    '{__name__=~".+"}[2h]',
    '{code!="200", __name__=~".+", __name__!~"noise|one|A_.*"}[10m]',
    "A_gone[5m] @ 1699996700",
    "A_gone @ 1699996999",
    "A_gone @ 1699997000",
    "sum by (kind) (count_over_time(noise[1h]))",
    "rate(requests_total[7m])",
    "max_over_time(sum(requests_total)[30m:1m])",
    'noise{kind="odd"} or on () vector(3)',
]


async def test_prometheus_answers_through_us_as_we_do(reader: Any) -> None:
    api, server = reader
    engine = Engine(api.store, EngineConfig(closed_windows=True))
    for query in QUERIES:
        asked = urllib.parse.urlencode({"query": query, "time": NOW_MS / 1000})
        theirs = await asyncio.to_thread(fetch, f"{server.url}/api/v1/query?{asked}")
        ours = to_api(engine.instant(query, NOW_MS))
        assert in_order(theirs["data"]["result"]) == in_order(ours["result"]), query
        assert "warnings" not in theirs, query


def in_order(result: Any) -> Any:
    """The result as JSON brings it, its series in the order of their labels."""
    return sorted(json.loads(json.dumps(result)), key=lambda series: sorted(series["metric"].items()))


def fetch(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=60) as answer:
        return json.loads(answer.read())


async def test_chunks_are_those_that_prometheus_writes(filled: Any, tmp_path: Any) -> None:
    request = read_request([("__name__", "=~", ".+")], 0, NOW_MS, STREAMED)

    def theirs() -> list[Series]:
        with services.prometheus(tmp_path / "peer") as server:
            for path, body in (("write", WRITTEN), ("read", request)):
                url = f"{server.url}/api/v1/{path}"
                with urllib.request.urlopen(
                    urllib.request.Request(url, body, WRITE_HEADERS), timeout=20
                ) as answer:
                    data = answer.read()
            return read_frames(data)

    try:
        wanted = await asyncio.to_thread(theirs)
    except services.ServiceMissing as missing:
        pytest.skip(str(missing))
    found = read_frames((await ask(filled, request)).body)
    assert [s.key for s in found] == [s.key for s in wanted]
    assert joined(found) == joined(wanted)
    # Prometheus cuts chunks by time too, so its samples are encoded again as it cut them.
    for chunk in (chunk for series in wanted for chunk in series.chunks):
        times, bits = zip(*decode_chunk(chunk.data), strict=True)
        (again,) = encode_chunks(np.array(times), np.array(bits, dtype=np.uint64), np.array([0, len(times)]))
        # It leaves an empty byte behind a value that ends with a byte.
        assert chunk.data in (again, again + b"\0")
        assert (chunk.first_ms, chunk.last_ms) == (times[0], times[-1])


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"no snappy", 400, "snappy"),
        (b"", 400, ""),
        (read_request([("a", "=~", random_text(40_000) + "(")], 0, 1), 400, "wanted RE2 syntax"),
        (read_request([("a", "=~", "(")], 0, 1), 400, "wanted RE2 syntax"),
        (read_request([("a", "=", "b")], 0, 1, (7, 9)), 400, "response types [7, 9]"),
        (join_queries([b"\x1a\x02\x08\x09"]), 400, "matcher type 9"),
        (join_queries([b"\x1a\x03\x12\x01\xff"]), 400, "UTF-8"),
        (join_queries([b""] * (MAX_QUERIES + 1)), 413, f"{MAX_QUERIES} queries"),
        (join_queries([b"\x1a\x00" * 600] * 2), 413, f"{MAX_MATCHERS} matchers"),
        (bytes(cramjam.snappy.compress_raw(bytes(2 << 20))), 413, "decompressed"),
    ],
)
async def test_what_is_refused(api: Any, body: bytes, status: int, words: str) -> None:
    answer = await api.call("POST", "/api/v1/read", body, WRITE_HEADERS)
    assert answer.status == status
    assert words in answer.json["error"]


@pytest.mark.parametrize("limits", [{"max_samples": 500}, {"max_series": 3}])
@pytest.mark.parametrize("accepted", [(), STREAMED])
async def test_too_much_is_refused_and_counted(make_api: Any, limits: Any, accepted: Any) -> None:
    api = make_api()
    api.context = replace(api.context, engine=Engine(api.store, EngineConfig(**limits), api.clock))
    api.app = create_app(api.context)
    assert (await api.call("POST", "/api/v1/write", WRITTEN, WRITE_HEADERS)).status == 204
    request = read_request([("__name__", "=~", ".+")], 0, NOW_MS, accepted)
    answer = await api.call("POST", "/api/v1/read", request, WRITE_HEADERS)
    assert (answer.status, answer.json["errorType"]) == (422, "execution")
    value = api.context.telemetry.value
    assert value("metricsmith_query_failures_total", reason=next(iter(limits))) == 1


async def test_only_samples_count_as_points(make_api: Any) -> None:
    api = make_api()
    api.context = replace(api.context, engine=Engine(api.store, EngineConfig(max_points=100), api.clock))
    api.app = create_app(api.context)
    assert (await api.call("POST", "/api/v1/write", WRITTEN, WRITE_HEADERS)).status == 204
    for accepted, status in ((), 422), (STREAMED, 200):
        request = read_request([("__name__", "=", "noise")], 0, NOW_MS, accepted)
        assert (await api.call("POST", "/api/v1/read", request, WRITE_HEADERS)).status == status


VALID = read_request([("__name__", "=~", "a|b"), ("x", "!~", "")], 1, 2, (1, 0))


@given(st.one_of(
    st.binary(max_size=60),
    st.binary(max_size=60).map(lambda data: bytes(cramjam.snappy.compress_raw(data))),
    st.tuples(st.integers(0, 200), st.integers(0, 255)).map(
        lambda change: bytes(cramjam.snappy.compress_raw(changed(*change)))
    ),
))  # fmt: skip
def test_any_bytes_are_decoded_or_refused(body: bytes) -> None:
    try:
        request = decode_read_request(body)
    except InputError:
        return
    assert len(request.queries) <= MAX_QUERIES


def changed(place: int, byte: int) -> bytes:
    """A valid request with one byte replaced, or cut short when the byte is 0."""
    data = bytearray(cramjam.snappy.decompress_raw(VALID))
    place %= len(data)
    data[place] = byte
    return bytes(data) if byte else bytes(data[:place])
