"""What is delivered by remote write is there, at the real servers, as it was here."""

from __future__ import annotations

import json
import time
import urllib.parse
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from metricsmith.errors import DeliveryError, Rejected, RetryLater, TooLarge
from metricsmith.model.metadata import Metadata, MetricType
from metricsmith.model.series import SeriesTable
from metricsmith.sinks.remote_write import RemoteWriteSink
from metricsmith.testing.programs import eventually
from metricsmith.testing.services import Server
from metricsmith.wire.remote_write import RemoteWriteDecoder

LIMIT = 64 << 20


def _sink(here: Any, url: str, **settings: Any) -> RemoteWriteSink:
    return RemoteWriteSink(RemoteWriteSink.Config(url=url, **{"version": "1.0"} | settings), here.context)


def _read(body: bytes) -> tuple[list[tuple[dict[str, str], int, str]], dict[str, Metadata]]:
    """Return series, time and value of each sample as the other side reads them, and metadata."""
    series = SeriesTable()
    batch = RemoteWriteDecoder(series).decode(body, max_decompressed=LIMIT).batch
    marked = zip(batch.value.tolist(), batch.stales().tolist(), strict=True)
    values = ["stale" if stale else repr(value) for value, stale in marked]
    columns = batch.layout.ids.tolist(), batch.times().tolist(), values
    return [(series.labels(i), t, v) for i, t, v in zip(*columns, strict=True)], dict(batch.layout.metadata)


async def test_a_layout_travels_whole(here: Any, peer: Any, closing: Callable[[Any], Any]) -> None:
    sink = closing(_sink(here, peer.url, external_labels={"site": "plant", "zone": "no"}))
    labels = [{"__name__": "a", "zone": "eu"}, {"__name__": "b"}]
    layout = here.layout(labels, a=Metadata(MetricType.COUNTER, "s", "Help."))
    await sink.send(here.delivery(here.batch(layout, 1_700_000_000_000, [1.5, float("nan")], [False, True])))
    await sink.send(here.delivery(here.batch(layout, 1_700_000_001_000, [2, float("inf")])))
    first, second = map(_read, peer.bodies)
    site = [
        {"__name__": "a", "site": "plant", "zone": "eu"},
        {"__name__": "b", "site": "plant", "zone": "no"},
    ]
    assert first[0] == [(site[0], 1_700_000_000_000, "1.5"), (site[1], 1_700_000_000_000, "stale")]
    assert second[0] == [(site[0], 1_700_000_001_000, "2.0"), (site[1], 1_700_000_001_000, "inf")]
    assert first[1] == {"a": Metadata(MetricType.COUNTER, "s", "Help.")}
    assert second[1] == {}  # told already
    assert peer.headers[0]["X-Prometheus-Remote-Write-Version"] == "0.1.0"
    assert peer.headers[0]["Content-Encoding"] == "snappy"


@given(
    samples=st.lists(
        st.tuples(st.integers(0, 5), st.integers(-(2**62), 2**62), st.floats(), st.booleans()),
        min_size=1,
        max_size=30,
    ),
    at_ms=st.one_of(st.none(), st.integers(-(2**50), 2**50)),
)
def test_any_samples_are_read_as_they_were(
    new_here: Any, samples: list[tuple[int, int, float, bool]], at_ms: int | None
) -> None:
    here = new_here()
    sink = _sink(here, "http://far/")
    if at_ms is not None:  # one time for all: each series once
        samples = list(
            {series: (series, at_ms, value, stale) for series, _, value, stale in samples}.values()
        )
    labels = [{"__name__": f"m{series}", "l": "ü" * 60 * series} for series, *_ in samples]
    layout = here.layout(labels, None if at_ms is None else "s")
    times: Any = at_ms if at_ms is not None else [t for _, t, _, _ in samples]
    marks = [stale for *_, stale in samples]
    batch = here.batch(layout, times, [value for _, _, value, _ in samples], marks)
    found, _ = _read(sink.body("1.0", here.delivery(batch)))
    wanted = [(series, t, "stale" if stale else repr(value)) for series, t, value, stale in samples]
    got = [(int(labels["__name__"][1:]), t, value) for labels, t, value in found]
    assert sorted(got) == sorted(wanted)
    for series in {series for series, _, _ in wanted}:  # in the order of the journal
        assert [s for s in got if s[0] == series] == [s for s in wanted if s[0] == series]


async def test_a_wrong_path_of_victoria_metrics_costs_no_samples(
    here: Any, victoria_metrics: Server, closing: Callable[[Any], Any]
) -> None:
    sink = closing(_sink(here, f"{victoria_metrics.url}/api/v1/wrte"))
    delivery = here.delivery(here.batch(here.layout([{"__name__": "a"}]), 1_700_000_000_000, [1]))
    with pytest.raises(RetryLater, match=r"unsupported path requested.*check the address"):
        await sink.send(delivery)


@pytest.mark.parametrize(
    ("status", "error", "said"),
    [
        (500, RetryLater, "got HTTP status 500"),
        (429, RetryLater, "got HTTP status 429"),
        (401, RetryLater, "401 why.*check the credentials"),
        (404, RetryLater, "404 why.*check the address"),
        (301, RetryLater, "redirect"),
        (413, TooLarge, "413 why"),
        (400, Rejected, "400 why"),
    ],
)
async def test_what_an_answer_means(
    here: Any, peer: Any, closing: Callable[[Any], Any], status: int, error: type[DeliveryError], said: str
) -> None:
    peer.answer = lambda: web.Response(status=status, text="why", headers={"Retry-After": "7"})
    sink = closing(_sink(here, peer.url))
    delivery = here.delivery(here.batch(here.layout([{"__name__": "a"}]), 1_700_000_000_000, [1]))
    with pytest.raises(error, match=said) as caught:
        await sink.send(delivery)
    if status in (500, 429):
        assert caught.value.after_s == 7  # type: ignore[attr-defined]
    assert peer.url not in str(caught.value)


async def test_nobody_there(here: Any, closing: Callable[[Any], Any]) -> None:
    sink = closing(_sink(here, "http://127.0.0.1:1/write"))
    with pytest.raises(RetryLater, match="cannot connect: Connection refused"):
        await sink.send(here.delivery(here.batch(here.layout([{"__name__": "a"}]), 1_700_000_000_000, [1])))


@pytest.mark.parametrize("server", ["prometheus", "victoria_metrics"])
async def test_a_real_server_has_what_was_sent(
    request: pytest.FixtureRequest, here: Any, closing: Callable[[Any], Any], server: str
) -> None:
    real: Server = request.getfixturevalue(server)
    sink = closing(_sink(here, f"{real.url}/api/v1/write"))
    now_ms = int(time.time()) * 1000 - 60_000
    names = [{"__name__": "ms_written", "kind": kind, "text": 'a"\\\n'} for kind in ("one", "two")]
    layout = here.layout(names)
    for step in range(5):
        marks = [False, step == 4]
        batch = here.batch(layout, now_ms + 5000 * step, [step * 1.5, 10 - step], marks)
        await sink.send(here.delivery(batch))
    pushed = here.layout([{"__name__": "ms_written", "kind": "pushed"}] * 3, None)
    times = [now_ms, now_ms + 7000, now_ms + 9000]
    await sink.send(here.delivery(here.batch(pushed, times, [1, 2, 3])))

    def read() -> dict[str, list[list[float]]]:
        text = urllib.parse.quote("ms_written[5m]")
        with urllib.request.urlopen(f"{real.url}/api/v1/query?query={text}") as answer:
            found = json.load(answer)["data"]["result"]
        assert all(each["metric"].get("text", names[0]["text"]) == names[0]["text"] for each in found)
        return {
            each["metric"]["kind"]: [[t * 1000 - now_ms, float(v)] for t, v in each["values"]]
            for each in found
        }

    wanted = {
        "one": [[5000 * step, step * 1.5] for step in range(5)],
        "two": [[5000 * step, 10 - step] for step in range(4)],
        "pushed": [[0, 1], [7000, 2], [9000, 3]],
    }

    def without_markers() -> dict[str, list[list[float]]]:
        return {
            kind: [sample for sample in found if sample[1] == sample[1]] for kind, found in read().items()
        }

    eventually(lambda: without_markers() == wanted)  # VictoriaMetrics shows samples after a moment
