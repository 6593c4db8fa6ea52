"""Version 2.0 of remote write: what is sent is what was meant, and servers that take only 1.0 get that."""

from __future__ import annotations

import json
import urllib.parse
import urllib.request
from collections.abc import Callable
from typing import Any

import cramjam
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from metricsmith.errors import Rejected, RetryLater
from metricsmith.model.metadata import Metadata, MetricType
from metricsmith.model.series import SeriesTable
from metricsmith.sinks.remote_write import RemoteWriteSink
from metricsmith.testing.programs import AgentProgram, eventually
from metricsmith.testing.remote_write_2 import request_class
from metricsmith.wire.remote_write import RemoteWriteDecoder
from metricsmith.wire.remote_write_2 import RemoteWrite2Decoder

NOW_MS = 1_700_000_000_000
LIMIT = 64 << 20
WRITTEN = "X-Prometheus-Remote-Write-Samples-Written"
Sample = tuple[str, int, str]


def _sink(here: Any, url: str = "http://far/", **settings: Any) -> RemoteWriteSink:
    return RemoteWriteSink(RemoteWriteSink.Config(url=url, **settings), here.context)


def _json(url: str) -> Any:
    with urllib.request.urlopen(url) as answer:
        return json.load(answer)


def _as_google_reads(body: bytes) -> Any:
    message = request_class()()
    message.ParseFromString(bytes(cramjam.snappy.decompress_raw(body)))
    return message


def _labels(message: Any, series: Any) -> dict[str, str]:
    texts = [message.symbols[ref] for ref in series.labels_refs]
    return dict(zip(texts[::2], texts[1::2], strict=True))


def _as_we_read(body: bytes, decoder: Any = None) -> list[Sample]:
    series = SeriesTable()
    batch = (decoder or RemoteWrite2Decoder)(series).decode(body, max_decompressed=LIMIT).batch
    marked = zip(batch.value.tolist(), batch.stales().tolist(), strict=True)
    values = ["stale" if stale else repr(value) for value, stale in marked]
    names = [series.labels(i)["__name__"] for i in batch.layout.ids.tolist()]
    return list(zip(names, batch.times().tolist(), values, strict=True))


def test_series_come_with_their_metadata(here: Any) -> None:
    sink = _sink(here, external_labels={"site": "plant"})
    labels = [{"__name__": "jobs_total"}, {"__name__": "took_bucket", "le": "+Inf"}, {"__name__": "other"}]
    jobs, took = Metadata(MetricType.COUNTER, "", "Jobs."), Metadata(MetricType.HISTOGRAM, "s", "Jobs.")
    layout = here.layout(labels, jobs_total=jobs, took=took)
    message = _as_google_reads(sink.body("2.0", here.delivery(here.batch(layout, NOW_MS, [1, 2, 3]))))
    assert message.symbols[0] == ""
    assert len(set(message.symbols)) == len(message.symbols)
    site = {"site": "plant"}
    assert [_labels(message, each) for each in message.timeseries] == [each | site for each in labels]
    said = [
        (each.metadata.type, message.symbols[each.metadata.help_ref], message.symbols[each.metadata.unit_ref])
        for each in message.timeseries
    ]
    assert said == [(1, "Jobs.", ""), (3, "Jobs.", "s"), (0, "", "")]


def test_samples_say_when_their_series_began(here: Any) -> None:
    names = ["jobs_total", "jobs_created", "took_bucket", "took_created", "depth", "other_total"]
    series = [{"__name__": name, "n": "1"} | ({"le": "1"} if "bucket" in name else {}) for name in names]
    layout = here.layout([*series, {"__name__": "jobs_total", "n": "2"}])
    born, never = [1_600_000_000.5, 1_600_000_001], float("nan")
    rounds = [
        here.batch(layout, NOW_MS + step, [1, born[step], 2, never if step else 1_650_000_000.001, 3, 4, 5])
        for step in range(2)
    ]
    body = _sink(here).body("2.0", here.delivery(*rounds))
    found = {}
    for each in (message := _as_google_reads(body)).timeseries:
        labels = _labels(message, each)
        found[labels["__name__"] + labels["n"]] = [s.start_timestamp for s in each.samples]
        assert [s.timestamp for s in each.samples] == [NOW_MS, NOW_MS + 1]
    began = {"jobs_total1": [1_600_000_000_500, 1_600_000_001_000], "took_bucket1": [1_650_000_000_001, 0]}
    assert found == {key: began.get(key, [0, 0]) for key in found}
    assert {x for x in _as_we_read(body) if x[0] == "jobs_total"} >= {("jobs_total", NOW_MS, "1.0")}


batches = st.lists(  # of three layouts; at one time, or pushed with times of their own
    st.tuples(st.integers(0, 2), st.booleans(), st.integers(0, 20)), min_size=1, max_size=12
)


@given(batches=batches)
@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_any_batches_are_read_as_they_were(
    new_here: Any, version: str, batches: list[tuple[int, bool, int]]
) -> None:
    """Also when several are sent as one, and when the same series is in two layouts."""
    here = new_here()
    sink = _sink(here)
    own = [{"__name__": f"m{n}", "l": "ü" * 40 * n} for n in range(4)]
    layouts = [here.layout(own[:2], "a"), here.layout(own[2:3], "b"), here.layout([own[3], own[0]], "c")]
    names = [["m0", "m1"], ["m2"], ["m3", "m0"]]
    made, sent = [], []
    for number, (which, pushed, at) in enumerate(batches):
        layout = here.layout(own[:2] * 2, None) if pushed else layouts[which]
        called = names[0] * 2 if pushed else names[which]
        times = [NOW_MS + at + n for n in range(len(called))] if pushed else [NOW_MS + at] * len(called)
        stale = [n == number % 5 for n in range(len(called))]
        made.append(here.batch(layout, times if pushed else NOW_MS + at, [number] * len(called), stale))
        shown = ["stale" if mark else repr(float(number)) for mark in stale]
        sent += list(zip(called, times, shown, strict=True))
    body = sink.body(version, here.delivery(*made))
    if version == "1.0":
        found = _as_we_read(body, RemoteWriteDecoder)
    else:
        found = _as_we_read(body)
        message = _as_google_reads(body)
        assert [
            (_labels(message, s)["__name__"], x.timestamp) for s in message.timeseries for x in s.samples
        ] == [(name, time_ms) for name, time_ms, _ in found]
    assert sorted(found) == sorted(sent)
    for name in {name for name, *_ in sent}:  # in the order of the journal
        assert [s for s in found if s[0] == name] == [s for s in sent if s[0] == name]


def test_several_samples_of_a_layout_are_one_series(here: Any) -> None:
    sink = _sink(here)
    layout = here.layout([{"__name__": "a"}, {"__name__": "b"}])
    sent = [here.batch(layout, NOW_MS + step, [step, -step]) for step in range(3)]
    message = _as_google_reads(sink.body("2.0", here.delivery(*sent)))
    assert [[x.value for x in each.samples] for each in message.timeseries] == [[0, 1, 2], [0, -1, -2]]


def test_what_nobody_refers_to_any_more_is_not_sent_for_ever(here: Any) -> None:
    """Series come and go: a request stays in proportion to what it says."""
    sink = _sink(here)
    for turn in range(50):
        labels = [{"__name__": "m", "pod": f"pod-{turn}-{n}-{'x' * 50}"} for n in range(100)]
        layout = here.layout(labels, "s", m=Metadata(MetricType.GAUGE, "", f"Help {turn}."))
        body = sink.body("2.0", here.delivery(here.batch(layout, NOW_MS + turn, range(100))))
        message = _as_google_reads(body)
        assert [_labels(message, each) for each in message.timeseries] == labels
        assert message.symbols[message.timeseries[0].metadata.help_ref] == f"Help {turn}."
        assert sum(map(len, message.symbols)) < 40_000


def _text(status: int, **headers: str) -> Callable[[], web.Response]:
    return lambda: web.Response(status=status, headers={k.replace("_", "-"): v for k, v in headers.items()})


WROTE = {WRITTEN.replace("-", "_"): "1"}


@pytest.mark.parametrize(
    ("answers", "versions", "reason"),
    [
        ([_text(204, **WROTE)] * 2, ["2.0.0"] * 2, ""),
        ([_text(415), _text(204), _text(204)], ["2.0.0", "0.1.0", "0.1.0"], "unsupported"),
        ([_text(204), _text(204), _text(204)], ["2.0.0", "0.1.0", "0.1.0"], "not_written"),
        ([_text(400), _text(204), _text(204)], ["2.0.0", "0.1.0", "0.1.0"], "refused"),
        ([_text(204, **WROTE), _text(415), _text(204)], ["2.0.0", "2.0.0", "0.1.0"], "unsupported"),
    ],
)
async def test_a_server_gets_the_version_that_it_takes(
    here: Any,
    peer: Any,
    closing: Callable[[Any], Any],
    answers: list[Callable[[], web.Response]],
    versions: list[str],
    reason: str,
) -> None:
    sink = closing(_sink(here, peer.url))
    waiting = list(answers)
    peer.answer = lambda: waiting.pop(0)()
    for step in range(2):
        await sink.send(here.delivery(here.batch(here.layout([{"__name__": "a"}]), NOW_MS + step, [step])))
    assert [each["X-Prometheus-Remote-Write-Version"] for each in peer.headers] == versions
    for body, headers in zip(peer.bodies, peer.headers, strict=True):
        second = headers["X-Prometheus-Remote-Write-Version"] == "2.0.0"
        assert headers["Content-Type"].endswith("v2.Request") is second
        assert len(_as_we_read(body, RemoteWrite2Decoder if second else RemoteWriteDecoder)) == 1
    if reason:
        name = "metricsmith_remote_write_fallbacks_total"
        assert here.telemetry.value(name, sink="far", reason=reason) == 1


async def test_bad_samples_are_not_a_matter_of_the_version(
    here: Any, peer: Any, closing: Callable[[Any], Any]
) -> None:
    sink = closing(_sink(here, peer.url))
    delivery = here.delivery(here.batch(here.layout([{"__name__": "a"}]), NOW_MS, [1]))
    peer.answer = lambda: web.Response(status=400, text="out of order")
    with pytest.raises(Rejected, match="400 out of order"):  # as both versions
        await sink.send(delivery)
    peer.answer = lambda: web.Response(status=400, text="out of order", headers={WRITTEN: "0"})
    with pytest.raises(Rejected, match="400 out of order"):
        await sink.send(delivery)
    versions = [each["X-Prometheus-Remote-Write-Version"] for each in peer.headers]
    assert versions == ["2.0.0", "0.1.0", "2.0.0"]


@pytest.mark.parametrize("status", [204, 415])
async def test_the_version_that_was_asked_for(
    here: Any, peer: Any, closing: Callable[[Any], Any], status: int
) -> None:
    peer.answer = lambda: web.Response(status=status)
    sink = closing(_sink(here, peer.url, version=2.0))  # as YAML reads it
    with pytest.raises(RetryLater, match=r"version 2\.0.*set version: auto or 1\.0"):
        await sink.send(here.delivery(here.batch(here.layout([{"__name__": "a"}]), NOW_MS, [1])))
    assert len(peer.bodies) == 1


async def test_samples_that_were_not_written_are_told(
    here: Any, peer: Any, closing: Callable[[Any], Any]
) -> None:
    peer.answer = lambda: web.Response(status=204, headers={WRITTEN: "1"})
    sink = closing(_sink(here, peer.url))
    layout = here.layout([{"__name__": "a"}, {"__name__": "b"}])
    await sink.send(here.delivery(here.batch(layout, NOW_MS, [1, 2])))
    name = "metricsmith_remote_write_unwritten_samples_total"
    assert here.telemetry.value(name, sink="far") == 1


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Another metricsmith."""
    folder = tmp_path_factory.mktemp("agent")
    program = AgentProgram(folder, 'server: {{listen: "127.0.0.1:{port}"}}\nstorage: {{path: "{data}"}}\n')
    program.start()
    yield program
    program.stop()


@pytest.mark.parametrize("server", ["agent", "prometheus", "victoria_metrics"])
async def test_a_real_server_has_what_was_sent(
    request: pytest.FixtureRequest, here: Any, closing: Callable[[Any], Any], server: str
) -> None:
    real = request.getfixturevalue(server)
    sink = closing(_sink(here, f"{real.url}/api/v1/write"))
    now_ms = here.context.clock.now_ms() // 1000 * 1000 - 60_000
    name = "ms_written_2_total"
    layout = here.layout(
        [{"__name__": name, "kind": kind, "text": 'a"\\\n'} for kind in ("one", "two")],
        **{name: Metadata(MetricType.COUNTER, "", "Written.")},
    )
    for first in (0, 3):  # the second of several samples per series
        steps = range(first, first + 3) if first else range(3)
        rounds = [here.batch(layout, now_ms + 5000 * step, [step * 1.5, 10 - step]) for step in steps]
        await sink.send(here.delivery(*rounds))
    wanted = {
        "one": [[5000 * step, step * 1.5] for step in range(6)],
        "two": [[5000 * step, 10 - step] for step in range(6)],
    }

    def read() -> dict[str, list[list[float]]]:
        text = urllib.parse.urlencode({"query": f"{name}[5m]"})
        found = _json(f"{real.url}/api/v1/query?{text}")["data"]["result"]
        assert all(each["metric"]["text"] == 'a"\\\n' for each in found)
        return {
            each["metric"]["kind"]: [[t * 1000 - now_ms, float(v)] for t, v in each["values"]]
            for each in found
        }

    eventually(lambda: read() == wanted)  # VictoriaMetrics shows samples after a moment
    fell_back = here.telemetry.value(
        "metricsmith_remote_write_fallbacks_total", sink="far", reason="not_written"
    )
    assert fell_back == (server != "agent")
    if server == "agent":
        told = _json(f"{real.url}/api/v1/metadata?metric={name}")["data"][name]
        assert told == [{"type": "counter", "help": "Written.", "unit": ""}]
