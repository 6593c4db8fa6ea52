"""What Prometheus refuses of what is shipped: only that goes to the quarantine, with its words."""

from __future__ import annotations

import asyncio
import json
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metricsmith.delivery.line import Limits, Line
from metricsmith.delivery.quarantine import Quarantine
from metricsmith.errors import DeliveryError, Rejected
from metricsmith.journal import Journal, JournalConfig
from metricsmith.model.batch import Batch
from metricsmith.sinks.remote_write import RemoteWriteSink
from metricsmith.testing.services import Server

STEP_MS = 15_000


async def _ship(here: Any, folder: Path, url: str, batches: list[Batch]) -> Quarantine:
    """Deliver batches in one request as long as they are not refused; return what was set aside."""
    context = here.context
    journal = Journal(
        folder / "journal", here.series, here.telemetry, context.clock, JournalConfig(sync="never")
    )
    quarantine = Quarantine(folder / "quarantine", here.series, context.clock)
    reader = journal.reader("far")
    for batch in batches:
        await journal.append(batch)
    sink: Any = RemoteWriteSink(RemoteWriteSink.Config(url=f"{url}/api/v1/write"), context)
    line = Line(
        "remote_write", sink, reader, lambda: journal.next_sequence, context, Limits(1000, 0, 4), quarantine
    )
    line.start()
    async with asyncio.timeout(60):
        while line.status().behind:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)
    await line.stop()
    await journal.close()
    return quarantine


def _values(server: Server, name: str) -> dict[str, list[float]]:
    text = urllib.parse.urlencode({"query": f"{name}[10m]"})
    with urllib.request.urlopen(f"{server.url}/api/v1/query?{text}") as answer:
        found = json.load(answer)["data"]["result"]
    return {each["metric"]["n"]: [float(v) for _, v in each["values"]] for each in found}


@pytest.mark.parametrize(
    ("name", "step", "value", "why"),
    [
        ("ms_late", -STEP_MS, 7.0, "out of order sample"),
        ("ms_twice", 0, 7.0, "duplicate sample for timestamp"),
        ("ms_old", -365 * 86_400_000, 7.0, "out of bounds"),
    ],
)
async def test_one_bad_series_among_many(
    here: Any, tmp_path: Path, prometheus: Server, name: str, step: int, value: float, why: str
) -> None:
    start_ms = here.context.clock.now_ms() - 120_000
    layout = here.layout([{"__name__": name, "n": str(n)} for n in range(50)])
    first = here.batch(layout, start_ms, np.zeros(50))
    assert not (await _ship(here, tmp_path / "1", prometheus.url, [first])).refusals()
    times = np.full(50, start_ms + STEP_MS)
    times[7] = start_ms + step
    values = np.ones(50)
    values[7] = value
    quarantine = await _ship(here, tmp_path / "2", prometheus.url, [here.batch(layout, times, values)])
    (refusal,) = quarantine.refusals()
    assert why in refusal.reason and refusal.reason.startswith("400")
    _, (sample,) = quarantine.samples(refusal.id)
    assert sample["labels"] == {"__name__": name, "n": "7"} and sample["time_ms"] == start_ms + step
    found = _values(prometheus, name)
    assert found.pop("7") == [0] and set(found) == {str(n) for n in range(50)} - {"7"}
    assert all(samples == [0, 1] for samples in found.values())


async def test_the_same_again_is_no_error(here: Any, tmp_path: Path, prometheus: Server) -> None:
    """As after an answer that was lost."""
    now_ms = here.context.clock.now_ms()
    batch = here.batch(here.layout([{"__name__": "ms_again", "n": "0"}]), now_ms - 60_000, [3])
    for turn in ("1", "2"):
        assert not (await _ship(here, tmp_path / turn, prometheus.url, [batch])).refusals()
    assert _values(prometheus, "ms_again") == {"0": [3]}


@pytest.mark.parametrize("version", ["1.0", "auto"])
async def test_what_is_refused_for_its_time_says_nothing_of_what_comes(
    here: Any, prometheus: Server, closing: Any, version: str
) -> None:
    """As when the agent was killed, and sends several samples of a series again."""
    config = RemoteWriteSink.Config(url=f"{prometheus.url}/api/v1/write", version=version)
    sink = closing(RemoteWriteSink(config, here.context))
    now_ms = here.context.clock.now_ms()
    layout = here.layout([{"__name__": f"ms_late_{version}", "n": "0"}])
    await sink.send(here.delivery(here.batch(layout, now_ms, [1])))
    with pytest.raises(Rejected) as refused:
        await sink.send(here.delivery(here.batch(layout, now_ms - 1, [2])))
    assert refused.value.late


@pytest.mark.parametrize(
    ("headers", "why"),
    [
        ({"Content-Type": "text/plain"}, "is set here"),
        ({"x-prometheus-remote-write-version": "9"}, "is set here"),
        ({"Authorization": "Bearer x"}, "wanted `authorization` or `basic_auth`"),
        ({"X Y": "1"}, "wanted a name such as X-Scope-OrgID"),
        ({"X-A": "1", "x-a": "2"}, "got a header twice"),
    ],
)
def test_headers_that_are_not_for_users(headers: dict[str, str], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        RemoteWriteSink.Config(url="http://far/", headers=headers)


async def test_headers_are_sent_and_not_shown(here: Any, peer: Any, closing: Any, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("from-file\n")
    settings = {"X-Scope-OrgID": "plants", "X-Key": f"file:{tmp_path}/key"}
    sink = closing(RemoteWriteSink(RemoteWriteSink.Config(url=peer.url, headers=settings), here.context))
    delivery = here.delivery(here.batch(here.layout([{"__name__": "a"}]), 1_700_000_000_000, [1]))
    await sink.send(delivery)
    assert (peer.headers[0]["X-Scope-OrgID"], peer.headers[0]["X-Key"]) == ("plants", "from-file")
    assert "plants" not in repr(sink._config) + sink._config.model_dump_json()
    (tmp_path / "key").write_text("two\nlines")
    with pytest.raises(DeliveryError, match="the header X-Key holds control characters") as caught:
        await sink.send(delivery)
    assert "lines" not in str(caught.value)
