"""Every store: what is sent in by the one way in is answered, whoever keeps it."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from metricsmith.model.labels import decode_labels, encode_labels
from metricsmith.model.matchers import Matcher, MatchOp
from metricsmith.promql import evaluate

pytestmark = pytest.mark.asyncio(loop_scope="module")
MINUTE = 60_000
DAY = 86_400_000


def key(name: str, **labels: str) -> bytes:
    return encode_labels({"__name__": name, **labels})


def named(name: str, *more: tuple[str, MatchOp, str]) -> list[Matcher]:
    return [Matcher("__name__", MatchOp.EQ, name), *(Matcher(*each) for each in more)]


def live(found: Mapping[bytes, Mapping[int, float | None]]) -> dict[bytes, dict[int, float]]:
    """Return samples without staleness markers."""
    return {k: {t: v for t, v in row.items() if v is not None} for k, row in found.items()}


async def test_values_and_times(stored: Any, base_ms: int, lab: SimpleNamespace) -> None:
    values = [0.0, 1.0, -1.5, 0.1, 1e-9, 123456789.25, 2.0**53, -1e300, 5e-324, 0.1 + 0.2]
    if "digits" in stored.kind.lacks:
        values = values[:4]
    sent = {
        key("as_values", n=str(n)): {base_ms + 1000 * i + n: value for i, value in enumerate(values)}
        for n in (0, 7)
    }
    await stored.keep(sent)
    found = lab.as_dict(await stored.select(named("as_values"), base_ms, base_ms + MINUTE))
    assert live(found) == sent


async def test_numbers_that_are_none(stored: Any, base_ms: int, lab: SimpleNamespace) -> None:
    sent = {key("as_none", of="plain"): {base_ms: 1.0}}
    if "infinite" not in stored.kind.lacks:
        sent[key("as_none", of="inf")] = {base_ms: math.inf, base_ms + 1: -math.inf}
    if "nan" not in stored.kind.lacks:
        sent[key("as_none", of="nan")] = {base_ms: math.nan, base_ms + 1: 5.0}
    await stored.keep(sent)
    found = lab.as_dict(await stored.select(named("as_none"), base_ms, base_ms + MINUTE))
    assert repr(live(found)) == repr({k: sent[k] for k in sorted(sent)})


async def test_numbers_that_a_destination_cannot_keep_are_counted(stored: Any, base_ms: int) -> None:
    if "infinite" not in stored.kind.lacks:
        pytest.skip("it keeps them")
    await stored.keep({key("as_lost"): {base_ms: math.inf, base_ms + 1: math.nan, base_ms + 2: 1.0}})
    _, page = await stored.ask("/metrics")
    lost = [line for line in page.splitlines() if "_unsent_samples_total" in line and "storage" in line]
    assert sum(float(line.rpartition(" ")[2]) for line in lost) == 2, lost


async def test_series_that_ended(stored: Any, base_ms: int) -> None:
    gone, stays = key("as_ended", n="gone"), key("as_ended", n="stays")
    at = [base_ms + 15_000 * i for i in range(8)]
    await stored.keep({gone: dict.fromkeys(at[:4], 1.0) | {at[4]: None}, stays: dict.fromkeys(at, 1.0)})
    for time_ms, wanted in ((at[3] + 1000, {"gone", "stays"}), (at[4] + 1000, {"stays"})):
        _, body = await stored.ask("/api/v1/query", query="as_ended", time=time_ms / 1000)
        assert {series["metric"]["n"] for series in body["data"]["result"]} == wanted


TEXTS = ["ä€😀", 'say "hi"', "back\\slash", "two\nlines", "a,b=c d", "{}[]", " x ", "#", "'", "%2F", "a\tb"]


async def test_characters_of_label_values(stored: Any, base_ms: int, lab: SimpleNamespace) -> None:
    texts = [text for text in TEXTS if "\n" not in text or "lines" not in stored.kind.lacks]
    sent = {key("as_texts", text=text, n=str(i)): {base_ms: float(i)} for i, text in enumerate(texts)}
    await stored.keep(sent)
    span = (base_ms, base_ms + MINUTE)
    assert live(lab.as_dict(await stored.select(named("as_texts"), *span))) == sent
    store = stored.service.agent.store
    assert await asyncio.to_thread(store.label_values, "text", named("as_texts"), *span) == sorted(texts)
    for i, text in enumerate(texts):
        (found,) = lab.as_dict(await stored.select(named("as_texts", ("text", MatchOp.EQ, text)), *span))
        assert decode_labels(found)["n"] == str(i)


MATCHES: list[tuple[tuple[str, MatchOp, str], set[str]]] = [
    (("job", MatchOp.EQ, "a"), {"1", "2"}),
    (("job", MatchOp.NE, "a"), {"3", "4"}),
    (("job", MatchOp.RE, "a|b"), {"1", "2", "3"}),
    (("job", MatchOp.RE, ".*"), {"1", "2", "3", "4"}),
    (("job", MatchOp.RE, "x?"), {"4"}),
    (("job", MatchOp.NRE, "b|"), {"1", "2"}),
    (("zone", MatchOp.EQ, ""), {"1", "4"}),
    (("zone", MatchOp.NE, ""), {"2", "3"}),
    (("zone", MatchOp.RE, "e.+"), {"2"}),
    (("nowhere", MatchOp.EQ, ""), {"1", "2", "3", "4"}),
    (("nowhere", MatchOp.NE, ""), set()),
]


async def test_matchers_and_lists(stored: Any, base_ms: int, lab: SimpleNamespace) -> None:
    labels: list[dict[str, str]] = [{"job": "a"}, {"job": "a", "zone": "eu"}, {"job": "b", "zone": "us"}, {}]
    sent = {key("as_match", n=str(n), **each): {base_ms: 1.0} for n, each in enumerate(labels, 1)}
    await stored.keep(sent)
    span = (base_ms - MINUTE, base_ms + MINUTE)
    store = stored.service.agent.store
    for matcher, wanted in MATCHES:
        matchers = named("as_match", matcher)
        found = lab.as_dict(await stored.select(matchers, *span))
        assert {decode_labels(k)["n"] for k in found} == wanted, matcher
        listed = await asyncio.to_thread(store.series, matchers, *span)
        assert listed == sorted(found), matcher
        values = await asyncio.to_thread(store.label_values, "n", matchers, *span)
        assert values == sorted(wanted), matcher
    some = named("as_match", ("zone", MatchOp.EQ, "eu"))
    assert await asyncio.to_thread(store.label_names, some, *span) == ["__name__", "job", "n", "zone"]
    assert "as_match" in await asyncio.to_thread(store.label_values, "__name__", [], *span)
    none = await asyncio.to_thread(store.series, named("as_nothing"), *span)
    assert none == []


async def test_ranges_are_closed(stored: Any, base_ms: int, lab: SimpleNamespace) -> None:
    sent = {key("as_range"): {base_ms + 1000 * i: float(i) for i in range(20)}}
    await stored.keep(sent)
    for first, last in ((0, 19), (5, 5), (3, 11), (-5, 2), (18, 40), (30, 40)):
        found = await stored.select(named("as_range"), base_ms + 1000 * first, base_ms + 1000 * last)
        got = list(live(lab.as_dict(found)).get(key("as_range"), {}).values())
        assert got == [float(i) for i in range(20) if first <= i <= last], (first, last)


async def test_times_that_are_accepted(stored: Any, lab: SimpleNamespace) -> None:
    now_ms = stored.service.agent.clock.now_ms()
    await stored.keep({key("as_times"): {now_ms - 31 * DAY: 1.0, now_ms: 2.0, now_ms + 11 * MINUTE: 3.0}})
    found = lab.as_dict(await stored.select(named("as_times"), 0, now_ms + DAY))
    assert live(found) == {key("as_times"): {now_ms: 2.0}}
    _, page = await stored.ask("/metrics")
    for reason in ("too_old", "too_far_in_future"):
        counted = f'metricsmith_samples_dropped_total{{component="store",reason="{reason}"}} 1'
        assert counted in page.splitlines()


QUERIES = [
    "as_gauge",
    "as_gauge > 30",
    "sum by (job) (as_gauge)",
    "topk(1, as_gauge)",
    "as_gauge offset 2m",
    "sum by (job) (max_over_time(as_gauge[3m]))",  # MetricsQL keeps the name
    "sum by (job) (count_over_time(as_gauge[100s]))",
    "as_gauge * on (job) group_left () as_weight",
    "quantile(0.5, as_gauge) + vector(1)",
    "absent(as_nothing)",
    'label_replace(as_weight, "x", "$1", "job", "(.)")',
]
EXTRAPOLATED = [
    "rate(as_total[2m])",
    "sum(increase(as_total[2m]))",
    "max_over_time(rate(as_total[1m])[4m:1m])",
]


async def test_promql(stored: Any, base_ms: int) -> None:
    ticks = range(0, 10 * MINUTE, 15_000)
    sent: dict[bytes, dict[int, float]] = {}
    for n, job in enumerate("abc"):
        sent[key("as_gauge", job=job)] = {base_ms + t: float((t // 1000 * (n + 3)) % 71) for t in ticks}
        sent[key("as_weight", job=job)] = {base_ms + t: n + 0.5 for t in ticks}
        sent[key("as_total", job=job)] = {base_ms + t: float(t // 1000 % 400 * (n + 1)) for t in ticks}
    await stored.keep(sent)
    series = [(decode_labels(k), list(row), list(row.values())) for k, row in sent.items()]
    # Between two samples: windows of Prometheus 2 hold the sample at their start.
    times = {"start": base_ms + 5 * MINUTE + 7_000, "end": base_ms + 9 * MINUTE, "step": 30_000}
    parameters = {name: time_ms / 1000 for name, time_ms in times.items()}
    for query in QUERIES + ([] if "extrapolation" in stored.kind.lacks else EXTRAPOLATED):
        status, body = await stored.ask("/api/v1/query_range", query=query, **parameters)
        assert status == 200, (query, body)
        wanted = evaluate(query, series, **times)
        got, expected = _by_series(body["data"]["result"]), _by_series(wanted["result"])
        assert expected and got.keys() == expected.keys(), query
        for each, points in expected.items():
            assert got[each] == pytest.approx(points, rel=1e-9), (query, each)


def _by_series(result: list[dict[str, Any]]) -> dict[frozenset[tuple[str, str]], dict[float, float]]:
    return {
        frozenset(series["metric"].items()): {float(t): float(v) for t, v in series["values"]}
        for series in result
    }


async def test_rest_queries(stored: Any, base_ms: int) -> None:
    sent = {
        key("as_cpu", service="web", host=host): {base_ms + 15_000 * i: float(i + n) for i in range(8)}
        for n, host in enumerate("ab")
    }
    await stored.keep(sent | {key("as_memory", service="web", host="a"): {base_ms: 9.0}})
    span = {"start": base_ms / 1000, "end": (base_ms + 2 * MINUTE - 1) / 1000}
    status, body = await stored.ask("/api/v1/metrics", service="web", metric="as_cpu", limit=3, **span)
    assert status == 200, body
    newest = [(each["tags"]["host"], each["metrics"]["as_cpu"]) for each in body["metrics"]]
    assert newest == [("a", 7.0), ("b", 8.0), ("a", 6.0)]
    _, body = await stored.ask("/api/v1/metrics", service="web", cursor=body["cursor"], limit=100, **span)
    assert len(body["metrics"]) == 13 and body["cursor"] is None
    assert body["metrics"][-2]["metrics"] == {"as_cpu": 0.0, "as_memory": 9.0}
    status, body = await stored.ask(
        "/api/v1/metrics/aggregate", metric="as_cpu", service="web", interval="1m", func="max", **span
    )
    assert status == 200, body
    found = {each["tags"]["host"]: [b["value"] for b in each["buckets"]] for each in body["series"]}
    assert found == {"a": [3.0, 7.0], "b": [4.0, 8.0]}


async def test_status(stored: Any, base_ms: int) -> None:
    await stored.keep({key("as_status"): {base_ms: 1.0}})
    _, body = await stored.ask("/storage/status")
    assert (body["type"], body["status"]) == (stored.kind.type, "connected"), body
    assert body["database"] and (body["retention"] is None or body["retention"] != "0s")
    assert body["last_metric"] is not None
    assert body["disk_usage_bytes"] is None or body["disk_usage_bytes"] > 0
    assert body["series"] is None or body["series"] > 0
    assert ("writing" in body) == (stored.kind.type != "embedded")
    _, body = await stored.ask("/status")
    assert (body["status"], body["storage_status"]) == ("healthy", "connected")
    assert (Path(stored.service.agent.configuration.settings.storage.path) / "journal").is_dir()


async def test_server_away_and_back(stored: Any, base_ms: int, lab: SimpleNamespace) -> None:
    if stored.gate is None:
        pytest.skip("it is on this machine")
    sent: dict[bytes, dict[int, float | None]] = {key("as_away"): {base_ms: 0.0}}
    await stored.keep(sent)
    await stored.gate.shut()
    later = {key("as_away"): {base_ms + 1000 * i: float(i) for i in range(1, 50)}}
    await stored.send(later)  # returns: the journal has them
    query = {"query": "as_away", "time": base_ms / 1000}
    for path, parameters in (
        ("/api/v1/query", query),
        ("/api/v1/series", {"match[]": "as_away"}),
        ("/api/v1/label/job/values", {}),
        ("/api/v1/metrics", {"metric": "as_away"}),
        ("/api/v1/metrics/aggregate", {"metric": "as_away"}),
    ):
        status, body = await stored.ask(path, **parameters)
        assert (status, "Connection refused" in str(body)) == (503, True), (path, body)
    _, body = await stored.ask("/storage/status")
    assert (body["status"], "Connection refused" in body["detail"]) == ("error", True), body
    assert body["writing"]["behind_batches"] >= 49, "these, and maybe one that the agent tells of itself"
    assert (await stored.ask("/metrics"))[0] == (await stored.ask("/health"))[0] == 200
    await stored.gate.open()
    await stored.written()
    found = await stored.select(named("as_away"), base_ms, base_ms + MINUTE)
    assert live(lab.as_dict(found)) == {key("as_away"): sent[key("as_away")] | later[key("as_away")]}
    _, body = await stored.ask("/storage/status")
    assert (body["status"], body["writing"]["behind_batches"] <= 1) == ("connected", True), body


async def test_restart(start: Callable[[], Any], lab: SimpleNamespace) -> None:
    sent = {}
    for life in range(2):
        async with start() as stored:
            now_ms = stored.service.agent.clock.now_ms()
            sent[now_ms] = float(life)
            await stored.send({key("as_restart"): {now_ms: float(life)}})
    async with start() as stored:
        await stored.written()
        found = live(lab.as_dict(await stored.select(named("as_restart"), min(sent), max(sent))))
        assert found == {key("as_restart"): sent}
