"""The local New Relic refuses what the real one does, so that a test against it says something."""

from __future__ import annotations

import gzip
import json
import os
import urllib.error
import urllib.request
from typing import Any

import pytest

from metricsmith.testing.newrelic_limits import HOUR_MS, Dropped, read_events, read_metrics
from metricsmith.testing.newrelic_server import NewRelicServer, newrelic_server

NOW_MS = 1_763_740_800_000
GOOD = {"name": "a", "type": "gauge", "value": 1, "timestamp": NOW_MS}


def _post(far: NewRelicServer, body: bytes, path: str = "/metric/v1", **headers: str) -> int:
    given = {"Content-Type": "application/json", "Api-Key": far.key, "Content-Encoding": "gzip"} | headers
    request = urllib.request.Request(f"http://127.0.0.1:{far.port}{path}", body, given)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def test_requests_are_answered_as_documented() -> None:
    good = gzip.compress(json.dumps([{"metrics": [GOOD]}]).encode())
    with newrelic_server(requests_per_minute=9, now_ms=lambda: NOW_MS) as far:
        event = gzip.compress(json.dumps({"eventType": "T", "timestamp": NOW_MS}).encode())
        assert _post(far, good) == 202
        assert _post(far, event, f"/v1/accounts/{far.account}/events") == 200
        assert _post(far, good, **{"Api-Key": "another"}) == 403
        assert _post(far, good, "/metric/v2") == 404
        assert _post(far, good, **{"Content-Type": "text/plain"}) == 415
        assert _post(far, b"{", **{"Content-Encoding": "identity"}) == 400
        assert _post(far, gzip.compress(b'{"metrics": []}')) == 400
        assert _post(far, os.urandom(1_000_001)) == 413
        assert _post(far, good) == 202
        assert _post(far, good) == 429, "over the number of requests in a minute"
        assert (len(far.points), len(far.events), far.dropped) == (2, 1, [])


@pytest.mark.parametrize(
    "change",
    [
        {"name": "n" * 255},
        {"name": ""},
        {"timestamp": NOW_MS - 48 * HOUR_MS - 1},
        {"timestamp": NOW_MS + 24 * HOUR_MS + 1},
        {"timestamp": None},
        {"value": float("nan")},
        {"value": "1"},
        {"type": "histogram"},
        {"type": "count"},
        {"type": "count", "interval.ms": 0},
        {"type": "count", "interval.ms": 1000, "value": -1},
        {"type": "summary", "interval.ms": 1000, "value": {"count": 1, "sum": 2}},
        {"attributes": {"count": "x"}},
        {"attributes": {"a": "x"}},
        {"attributes": {"with-dash": "x"}},
        {"attributes": {"k" * 256: "x"}},
        {"attributes": {"k": "x" * 4097}},
        {"attributes": {"k": []}},
        {"attributes": {f"k{n}": "x" for n in range(101)}},
    ],
)
def test_points_are_dropped_as_documented(change: dict[str, Any]) -> None:
    good, bad = read_metrics([{"metrics": [GOOD, GOOD | change]}], NOW_MS)
    assert not isinstance(good, Dropped) and isinstance(bad, Dropped)


@pytest.mark.parametrize(
    "event",
    [
        {},
        {"eventType": "with blank"},
        {"eventType": "T", "timestamp": 5},
        {"eventType": "T", "accountId": 1},
        {"eventType": "T", "on": True},
        {"eventType": "T", "k": "x" * 4097},
        {"eventType": "T", **{f"k{n}": 1 for n in range(254)}},
    ],
)
def test_events_are_dropped_as_documented(event: dict[str, Any]) -> None:
    (found,) = read_events([event], NOW_MS)
    assert isinstance(found, Dropped)
