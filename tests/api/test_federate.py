"""/federate shows what the real Prometheus shows: the last samples, their times, nothing that has ended."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics

from metricsmith.model.metadata import Metadata, MetricType
from metricsmith.promql.engine import EngineConfig
from metricsmith.testing import services

NOW_MS = 1_700_000_000_000
SERIES: dict[str, list[tuple[float, float]]] = {
    "fed_total|job=a|i=1": [(40, 1), (20, 2), (10, 3)],
    "fed_total|job=a|i=2": [(40, 1), (20, 7.5)],
    "fed_total|job=b": [(50, 0.1)],
    "fed_old|job=a": [(400, 5), (600, 4)],
    "fed_value|kind=tiny": [(1, 1e-7)],
    "fed_value|kind=huge": [(1, 1e21)],
    "fed_value|kind=nan": [(1, float("nan"))],
    "fed_value|kind=inf": [(1, float("-inf"))],
    'fed_text|text=quote" back\\ new\nline é': [(5.25, 1)],
    "fed_up|instance=x:1|job=a": [(5, 1)],
    "fed_bucket|le=0.1": [(5, 1)],
    "fed_bucket|le=+Inf": [(5, 2)],
}
SELECTED = [
    ["fed_total"],
    ['{__name__=~"fed_.*"}'],
    ['fed_total{job="a"}', 'fed_total{i="2"}', "fed_value"],
    ["fed_old"],
    ['{instance=""}'],
    ["nothing"],
    [],
]
REFUSED = [["fed_total{"], ["{"], ["sum(fed_total)"], ["fed_total", "x["]]


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory, prometheus: Any, make_peer: Any) -> Iterator[Any]:
    """A Prometheus of its own, as its samples are of now."""
    with services.prometheus(tmp_path_factory.mktemp("federated")) as server:
        yield make_peer(server.url)


@pytest.fixture(scope="module")
def written(theirs: Any) -> int:
    """The present at which the real server was given SERIES."""
    now_ms = time.time_ns() // 1_000_000
    theirs.write({name: sorted(samples, reverse=True) for name, samples in SERIES.items()}, now_ms)
    return now_ms


def lines(body: bytes, now_ms: int) -> list[str]:
    """Lines in any order of series, with values read and times before now; Prometheus sorts by name alone."""
    found = []
    for line in body.decode().splitlines():
        if not line.startswith("#"):
            series, value, time = line.rsplit(" ", 2)
            line = f"{series} {float(value)!r} {int(time) - now_ms}"
        found.append(line)
    return sorted(found)


@pytest.mark.parametrize("chosen", SELECTED, ids=str)
async def test_text_is_that_of_prometheus(api: Any, theirs: Any, written: int, chosen: list[str]) -> None:
    api.write({name: sorted(samples, reverse=True) for name, samples in SERIES.items()})
    query = urlencode({"match[]": chosen}, doseq=True)
    status, headers, body = theirs.send("GET", f"/federate?{query}")
    ours = await api.get("/federate", **{"match[]": chosen})
    assert (ours.status, ours.headers["content-type"]) == (status, headers["Content-Type"])
    assert lines(ours.body, NOW_MS) == lines(body, written)


@pytest.mark.parametrize("chosen", REFUSED, ids=str)
async def test_refusals_are_text_too(api: Any, theirs: Any, chosen: list[str]) -> None:
    query = urlencode({"match[]": chosen}, doseq=True)
    status, headers, _ = theirs.send("GET", f"/federate?{query}")
    ours = await api.get("/federate", **{"match[]": chosen})
    assert (ours.status, ours.headers["content-type"]) == (status, headers["Content-Type"])
    assert b"match[]" in ours.body


async def test_hostile_selectors_are_refused(api: Any) -> None:
    many = {"match[]": ["up"] * 101}
    assert (await api.get("/federate", **many)).status == 400
    for text in ("(" * 100_000, "{" * 100_000, '{a=~"((a*)*)*{1000}"}', "\x00", "up" * 100_000 + "{"):
        answer = await api.get("/federate", **{"match[]": text})
        assert (answer.status, answer.headers["content-type"]) == (400, "text/plain; charset=utf-8")
        assert len(answer.body) < 2000


async def test_series_that_have_ended_are_not_shown(api: Any) -> None:
    api.write({"a|i=1": [(20, 1)], "a|i=2": [(20, 2)], "b": [(20, 3)]})
    api.end({"a|i=2": 10, "b": 10})
    found = (await api.get("/federate", **{"match[]": '{__name__=~"a|b"}'})).body.decode()
    assert found == f'# TYPE a untyped\na{{i="1",instance=""}} 1 {NOW_MS - 20_000}\n'


async def test_openmetrics_where_it_is_asked_for(api: Any) -> None:
    known = {"x_total": Metadata(MetricType.COUNTER, "", "help")}
    api.write({"x_total|a=b": [(10.5, 3)], "plain": [(1, 2)]}, known)
    accept = {"Accept": "application/openmetrics-text;version=1.0.0"}
    answer = await api.get("/federate", accept, **{"match[]": '{__name__=~".+"}'})
    assert answer.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    samples = [s for family in parse_openmetrics(answer.body.decode()) for s in family.samples]
    assert {(s.name, s.value, float(s.timestamp)) for s in samples} == {
        ("x_total", 3.0, NOW_MS / 1000 - 10.5),
        ("plain", 2.0, NOW_MS / 1000 - 1),
    }


async def test_series_without_a_name_are_counted_not_shown(api: Any) -> None:
    api.write({"|a=b": [(10, 1)], "x|a=b": [(10, 1)]})
    answer = await api.get("/federate", **{"match[]": '{a="b"}'})
    assert answer.body.count(b" 1 ") == 1
    value = api.context.telemetry.value
    assert value("metricsmith_samples_dropped_total", component="federate", reason="no_name") == 1


async def test_more_samples_than_a_query_may_read_are_refused(make_api: Any) -> None:
    api = make_api(EngineConfig(max_samples=3))
    api.write({f"x|i={i}": [(10, 1), (5, 1)] for i in range(2)})
    answer = await api.get("/federate", **{"match[]": "x"})
    assert (answer.status, b"too many samples" in answer.body) == (422, True)
    one = {"match[]": 'x{i="1"}'}
    assert (await api.get("/federate", **one)).status == 200
