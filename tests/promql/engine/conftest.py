"""Series with every difficulty, in memory and in a real Prometheus, and a way to ask both the same."""

from __future__ import annotations

import json
import math
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from metricsmith.errors import QueryError
from metricsmith.model.labels import decode_labels, encode_labels, format_labels
from metricsmith.promql import Engine, EngineConfig, Result
from metricsmith.promql.memory import STALE_BITS, MemorySeries
from metricsmith.promql.parser import parse_selector
from metricsmith.testing.services import Server
from metricsmith.wire.remote_write_encode import encode_series_labels, encode_write_request

STALE = float(np.array([STALE_BITS], dtype=np.uint64).view(np.float64)[0])
SPAN_MS = 40 * 60_000
INTERVAL_MS = 15_000


class Dataset:
    """Series, and the time they begin."""

    def __init__(self, start_ms: int) -> None:
        self.start_ms = start_ms
        self.series: list[tuple[dict[str, str], np.ndarray, np.ndarray]] = []

    def add(self, labels: dict[str, str], times: np.ndarray, values: np.ndarray) -> None:
        self.series.append((labels, self.start_ms + times, values))


def _counter(random: np.random.Generator, count: int) -> np.ndarray:
    """A counter with resets."""
    steps = random.integers(0, 50, count).astype(float)
    values = np.cumsum(steps)
    for reset in np.flatnonzero(random.random(count) < 0.02).tolist():
        values[reset:] -= values[reset] - steps[reset]
    return values


def _difficult(random: np.random.Generator, values: np.ndarray) -> np.ndarray:
    """Values with NaN, infinities, zeros of both signs, and markers among them."""
    values = values.copy()
    for odd in (math.nan, math.inf, -math.inf, 0.0, -0.0, STALE):
        values[random.random(len(values)) < 0.02] = odd
    return values


def make_dataset(start_ms: int) -> Dataset:
    random = np.random.default_rng(7)
    data = Dataset(start_ms)
    shared = np.arange(0, SPAN_MS, INTERVAL_MS)
    for job in ("api", "db", "web"):
        for instance in ("a:1", "b:1", "c:2"):
            where = {"job": job, "instance": instance}
            jittered = shared + random.integers(-4000, 4000, len(shared)).clip(-4000, 4000) + 4000
            some = np.sort(random.choice(jittered, len(jittered) // 3, replace=False))
            data.add({"__name__": "requests_total", **where}, shared, _counter(random, len(shared)))
            data.add({"__name__": "jittered_total", **where}, jittered, _counter(random, len(jittered)))
            data.add({"__name__": "level", **where}, shared, random.normal(0, 100, len(shared)))
            data.add(
                {"__name__": "odd", **where}, shared, _difficult(random, random.normal(5, 3, len(shared)))
            )
            data.add({"__name__": "sparse", **where, "zone": job[:1]}, some, random.random(len(some)) * 10)
            # Each instance's series ends with a marker and begins again later.
            broken = random.random(len(shared)) + 1
            broken[40:44] = STALE
            data.add({"__name__": "flapping", **where, "le": "5"}, shared, broken)
            below = np.zeros(len(shared))
            for limit in ("0.1", "0.5", "1", "+Inf"):
                below = below + np.cumsum(random.integers(0, 5, len(shared)))
                data.add({"__name__": "seconds_bucket", **where, "le": limit}, shared, below)
    for job in ("api", "db", "web"):
        data.add({"__name__": "owner", "job": job, "team": f"team-{job}"}, shared, np.ones(len(shared)))
    return data


@pytest.fixture(scope="session")
def dataset() -> Dataset:
    """Series of the last minutes, because a server refuses old samples."""
    now = time.time_ns() // 1_000_000
    return make_dataset((now - SPAN_MS) // 60_000 * 60_000)


class Peer:
    """The real Prometheus, holding the dataset."""

    def __init__(self, url: str) -> None:
        self._url = url

    def ask(self, query: str, start_ms: int, end_ms: int, step_ms: int) -> dict[str, Any] | str:
        """Return the data of a range query (step 0: instant), or the error."""
        if step_ms:
            path = "query_range"
            times = {"start": start_ms / 1000, "end": end_ms / 1000, "step": step_ms / 1000}
        else:
            path, times = "query", {"time": start_ms / 1000}
        body = urllib.parse.urlencode({"query": query, **times}).encode()
        try:
            with urllib.request.urlopen(f"{self._url}/api/v1/{path}", body, timeout=20) as answer:
                found: dict[str, Any] = json.load(answer)["data"]
                return found
        except urllib.error.HTTPError as error:
            with error:
                return str(json.load(error)["error"])


@pytest.fixture(scope="session")
def peer(prometheus: Server, dataset: Dataset) -> Peer:
    """A Prometheus that has been given the dataset."""
    labels = [encode_series_labels(encode_labels(labels)) for labels, *_ in dataset.series]
    counts = [len(times) for _, times, _ in dataset.series]
    times = np.concatenate([times for _, times, _ in dataset.series])
    values = np.concatenate([values for *_, values in dataset.series])
    request = urllib.request.Request(
        f"{prometheus.url}/api/v1/write",
        encode_write_request(labels, counts, times, values),
        {
            "Content-Encoding": "snappy",
            "Content-Type": "application/x-protobuf",
            "X-Prometheus-Remote-Write-Version": "0.1.0",
        },
    )
    urllib.request.urlopen(request, timeout=20).close()
    return Peer(prometheus.url)


Table = dict[tuple[tuple[str, str], ...], dict[int, float]]


def table_of(result: Result) -> Table:
    """Return the values of each series by time, labels as sorted pairs."""
    table: Table = {}
    for row, key in enumerate(result.keys):
        labels = tuple(sorted(decode_labels(key).items()))
        if result.raw is not None:
            part = slice(int(result.raw.offsets[row]), int(result.raw.offsets[row + 1]))
            table[labels] = dict(
                zip(result.raw.times[part].tolist(), result.raw.values[part].tolist(), strict=True)
            )
            continue
        mask = np.ones(len(result.steps), bool) if result.present is None else result.present[row]
        table[labels] = dict(zip(result.steps[mask].tolist(), result.values[row][mask].tolist(), strict=True))
    return table


def table_of_api(data: dict[str, Any]) -> Table:
    """Return the same of the peer's answer."""
    if data["resultType"] in ("scalar", "string"):
        return {(): {round(data["result"][0] * 1000): float(data["result"][1])}}
    return {
        tuple(sorted(series["metric"].items())): {
            round(t * 1000): float(v) for t, v in series.get("values") or [series["value"]]
        }
        for series in data["result"]
    }


@pytest.fixture(scope="session")
def differences(peer: Peer, dataset: Dataset) -> Callable[..., str]:
    """Ask the peer and the engine the same; return what differs, empty when nothing does."""
    engine = Engine(MemorySeries(dataset.series), EngineConfig(closed_windows=True))

    def compare(query: str, start_ms: int, end_ms: int, step_ms: int) -> str:
        theirs = peer.ask(query, start_ms, end_ms, step_ms)
        try:
            result = (
                engine.range(query, start_ms, end_ms, step_ms) if step_ms else engine.instant(query, start_ms)
            )
        except QueryError as error:
            return "" if isinstance(theirs, str) else f"we refuse: {error}; they answer {theirs}"
        if isinstance(theirs, str):
            return f"they refuse: {theirs}; we answer {table_of(result)}"
        return _difference(table_of_api(theirs), table_of(result))

    return compare


def _difference(theirs: Table, ours: Table) -> str:
    if theirs.keys() != ours.keys():
        return f"series: only theirs {theirs.keys() - ours.keys()}, only ours {ours.keys() - theirs.keys()}"
    for labels, wanted in theirs.items():
        got = ours[labels]
        if wanted.keys() != got.keys():
            return (
                f"{labels}: times only theirs {wanted.keys() - got.keys()}, ours {got.keys() - wanted.keys()}"
            )
        for t, value in wanted.items():
            same = got[t] == value or (math.isnan(value) and math.isnan(got[t]))
            if not same and not math.isclose(got[t], value, rel_tol=1e-9, abs_tol=1e-9):
                return f"{labels} at {t}: got {got[t]!r}, wanted {value!r}"
    return ""


MINUTE_MS = 60_000


def read_series(lines: str) -> list[tuple[dict[str, str], list[int], list[float]]]:
    """Return series written one per line, a sample a minute from 0 on: `x{a="1"} 1 2 _ stale`."""
    series = []
    for line in filter(None, map(str.strip, lines.splitlines())):
        cut = line.index("}") + 1 if "}" in line else line.index(" ")
        labels = {m.name: m.value for m in parse_selector(line[:cut]).matchers}
        points = [
            (i * MINUTE_MS, STALE if text == "stale" else float(text))
            for i, text in enumerate(line[cut:].split())
            if text != "_"
        ]
        series.append((labels, [t for t, _ in points], [v for _, v in points]))
    return series


class Ask:
    """Evaluates queries over series in the short notation; answers `{labels text: value or values}`."""

    def __init__(self, lines: str, config: EngineConfig | None = None) -> None:
        self.engine = Engine(MemorySeries(read_series(lines)), config)

    def at(self, query: str, minute: float = 0) -> dict[str, float]:
        result = self.engine.instant(query, round(minute * MINUTE_MS))
        values = result.values[:, 0].tolist() if result.keys else []
        return {_text(key): value for key, value in zip(result.keys, values, strict=True)}

    def over(self, query: str, minutes: int, step_s: int = 60) -> dict[str, list[float | None]]:
        result = self.engine.range(query, 0, minutes * MINUTE_MS, step_s * 1000)
        mask = np.ones(result.values.shape, bool) if result.present is None else result.present
        return {
            _text(key): [v if there else None for v, there in zip(values, present, strict=True)]
            for key, values, present in zip(result.keys, result.values.tolist(), mask.tolist(), strict=True)
        }


def _text(key: bytes) -> str:
    return format_labels(decode_labels(key)).replace('"', "'")


@pytest.fixture(scope="session")
def given_series() -> type[Ask]:
    """Make a querier of series written in the short notation."""
    return Ask
