"""The calls of Grafana's Prometheus data source, in its order and form, over HTTP.

Source:
    Grafana 9 to 12: health check, queries and resources of the backend (Go), the browser's metadata calls,
    which the backend passes on. Its answers are read as a stream, so `resultType` must stand before `result`.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from metricsmith.model.metadata import Metadata, MetricType

NOW_S = 1_700_000_000
FORM = "application/x-www-form-urlencoded"
HEADERS = {"User-Agent": "Grafana/12.0.0", "Accept-Encoding": "gzip", "X-Grafana-Org-Id": "1"}
WINDOW = {"start": str(NOW_S - 3600), "end": str(NOW_S)}


class Grafana:
    """Asks as the data source does."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session, self._url = session, url

    async def get(self, path: str, **parameters: Any) -> Any:
        async with self._session.get(f"{self._url}/api/v1/{path}", params=parameters) as answer:
            return await self._read(answer)

    async def form(self, path: str, **fields: Any) -> Any:
        url = f"{self._url}/api/v1/{path}"
        async with self._session.post(url, data=fields, headers={"Content-Type": FORM}) as answer:
            return await self._read(answer)

    async def _read(self, answer: aiohttp.ClientResponse) -> Any:
        assert answer.content_type == "application/json"
        text = await answer.text()
        assert answer.status == 200, text
        document = await answer.json()
        assert document["status"] == "success"
        if "resultType" in text:
            assert text.index('"resultType"') < text.index('"result"')
        return document["data"]


@pytest.fixture
async def grafana(api: Any) -> AsyncIterator[Grafana]:
    known = {
        "requests_total": Metadata(MetricType.COUNTER, "", "Requests."),
        "load": Metadata(MetricType.GAUGE, "", "Load."),
    }
    requests = {
        f"requests_total|job=shop|code={code}|path=/{i}": [(60 * n, 100.0 - n) for n in range(10, -1, -1)]
        for code in (200, 500)
        for i in range(40)
    }
    api.write({**requests, "load|job=shop|host.name=a b": [(30, 0.5)]}, known)
    async with api.served() as url, aiohttp.ClientSession(headers=HEADERS) as session:
        yield Grafana(session, url)


async def test_save_and_test(grafana: Grafana) -> None:
    health = await grafana.form("query", query="1+1", time="4")
    assert health == {"resultType": "scalar", "result": [4, "2"]}
    build = await grafana.get("status/buildinfo")
    major, minor, _ = map(int, re.fullmatch(r"(\d+)\.(\d+)\.(\d+)", build["version"]).groups())
    assert (major, minor) >= (3, 0), "names in UTF-8 and match[] on labels depend on it"
    assert "features" not in build, "with features, it would be taken for Mimir"
    assert (await grafana.get("rules"))["groups"] == []
    assert (await grafana.get("alerts"))["alerts"] == []


@pytest.mark.parametrize("method", ["form", "get"])
async def test_panels(grafana: Grafana, method: str) -> None:
    ask = getattr(grafana, method)
    query = 'sum by (code) (rate(requests_total{job=~"shop|other"}[5m0s]))'
    matrix = await ask("query_range", query=query, start=f"{NOW_S - 300}.5", end=f"{NOW_S}.25", step="15")
    assert matrix["resultType"] == "matrix"
    assert [series["metric"] for series in matrix["result"]] == [{"code": "200"}, {"code": "500"}]
    assert all(isinstance(t, float) and float(v) > 0 for t, v in matrix["result"][0]["values"])
    large = await ask("query_range", query="requests_total", **WINDOW, step="15")
    assert len(large["result"]) == 80
    vector = await ask("query", query="requests_total", time=f"{NOW_S}")
    assert (vector["resultType"], len(vector["result"])) == ("vector", 80)
    exemplars = await ask("query_exemplars", query="requests_total", **WINDOW)
    assert exemplars == []


async def test_query_editor(grafana: Grafana) -> None:
    names = await grafana.get("label/__name__/values", **WINDOW, limit="40000")
    assert names == ["load", "requests_total"]
    metadata = await grafana.get("metadata", limit="40000", limit_per_metric="1")
    assert metadata["load"] == [{"type": "gauge", "unit": "", "help": "Load."}]
    selector = '{__name__="requests_total",job="shop"}'
    labels = await grafana.form("labels", **{"match[]": selector}, **WINDOW, limit="40000")
    assert labels == ["__name__", "code", "job", "path"]
    assert await grafana.get("labels", **{"match[]": selector}, **WINDOW) == labels
    values = await grafana.get("label/code/values", **{"match[]": selector}, **WINDOW, limit="40000")
    assert values == ["200", "500"]
    assert await grafana.get("label/U__host_2e_name/values", **{"match[]": '{__name__="load"}'}) == ["a b"]
    series = await grafana.form("series", **{"match[]": 'requests_total{code="500"}'}, **WINDOW)
    assert len(series) == 40
    assert await grafana.get("format_query", query="sum(x)by(a)") == "sum by (a) (x)"


async def test_template_variables(grafana: Grafana) -> None:
    """`label_values(m, l)`, `query_result(q)`, `metrics(r)`, as the browser makes calls of them."""
    values = await grafana.get("label/path/values", **{"match[]": 'requests_total{code="200"}'}, **WINDOW)
    assert len(values) == 40
    found = await grafana.get("query", query="count by (job) (requests_total)", time=str(NOW_S))
    assert found["result"] == [{"metric": {"job": "shop"}, "value": [NOW_S, "80"]}]
    series = await grafana.get("series", **{"match[]": '{__name__=~"requests_.*"}'}, **WINDOW)
    assert {s["__name__"] for s in series} == {"requests_total"}


async def test_a_bad_query_is_told_as_one(grafana: Grafana) -> None:
    session, url = grafana._session, f"{grafana._url}/api/v1/query_range"
    fields = {"query": "sum(", **WINDOW, "step": "15"}
    async with session.post(url, data=fields) as answer:
        assert answer.status == 400
        document = await answer.json()
    assert (document["status"], document["errorType"]) == ("error", "bad_data")
    assert "1:5: parse error" in document["error"]


async def test_no_page_of_another_server_may_read_answers(grafana: Grafana) -> None:
    """Grafana asks from its server, so browsers need no leave, and get none."""
    headers = {"Origin": "http://elsewhere.example"}
    url = f"{grafana._url}/api/v1/query?query=1"
    async with grafana._session.get(url, headers=headers) as answer:
        assert not [name for name in answer.headers if name.lower().startswith("access-control-")]
    async with grafana._session.options(url, headers=headers) as answer:
        assert answer.status == 405
        assert not [name for name in answer.headers if name.lower().startswith("access-control-")]
