"""Pages of messages and aggregates over random histories, held against plain dictionaries."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metricsmith.api.recent import Cursor, recent_messages
from metricsmith.model.labels import decode_labels, encode_labels
from metricsmith.model.matchers import Matcher
from metricsmith.model.selection import MatrixGroup, RaggedGroup, Selection
from metricsmith.promql.engine import Engine, EngineConfig
from metricsmith.wire.messages import format_timestamp

END = 1_700_000_000_000
History = dict[bytes, dict[int, float | None]]  # None is a staleness marker

KEYS = st.builds(
    lambda name, service, tag: encode_labels({"__name__": name, "service": service, "tag": tag}),
    st.sampled_from("abc"),
    st.sampled_from(["", "s", "t"]),
    st.sampled_from(["", "x", "y"]),
)
TIMES = st.sampled_from([0, 1, 2, 59_999, 60_000, 60_001, 299_999, 300_000, 86_400_000]).map(
    lambda t: END - t
)
VALUES = st.none() | st.integers(-5, 5).map(float)
HISTORIES = st.dictionaries(KEYS, st.dictionaries(TIMES, VALUES, min_size=1, max_size=6), max_size=6)


class PlainStore:
    """A store of dictionaries: series with equal times and markers make a matrix, the others are ragged."""

    def __init__(self, history: History) -> None:
        self._history = history

    def select(
        self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, limit: int | None = None
    ) -> Selection:
        found = {}
        for key in sorted(self._history):
            labels = decode_labels(key)
            samples = {t: v for t, v in sorted(self._history[key].items()) if start_ms <= t <= end_ms}
            if samples and all(m.matches(labels.get(m.name, "")) for m in matchers):
                found[key] = samples
        keys = list(found)
        alike: dict[Any, list[int]] = {}
        for row, key in enumerate(keys):
            alike.setdefault(tuple((t, v is None) for t, v in found[key].items()), []).append(row)
        matrices, alone = [], []
        for shape, rows in alike.items():
            if len(rows) == 1:
                alone += rows
                continue
            stale = np.array([s for _, s in shape])
            values = np.array([[math.nan if v is None else v for v in found[keys[r]].values()] for r in rows])
            times = np.array([t for t, _ in shape])
            matrices.append(MatrixGroup(np.array(rows), times, values, stale if stale.any() else None))
        return Selection(keys, matrices, self._ragged(found, keys, alone))

    @staticmethod
    def _ragged(found: History, keys: list[bytes], rows: list[int]) -> RaggedGroup | None:
        if not rows:
            return None
        samples = [sample for row in rows for sample in found[keys[row]].items()]
        return RaggedGroup(
            np.array(rows),
            np.cumsum([0] + [len(found[keys[row]]) for row in rows]),
            np.array([t for t, _ in samples]),
            np.array([math.nan if v is None else v for _, v in samples]),
            np.array([v is None for _, v in samples]),
        )


def plain_messages(history: History) -> list[dict[str, Any]]:
    messages: dict[Any, dict[str, Any]] = {}
    for key, samples in history.items():
        labels = decode_labels(key)
        name, service = labels.pop("__name__"), labels.pop("service", "")
        for time_ms, value in samples.items():
            if value is not None:
                message = messages.setdefault(
                    (time_ms, service, tuple(labels.items())),
                    {
                        "service": service,
                        "timestamp": format_timestamp(time_ms),
                        "metrics": {},
                        "tags": labels,
                    },
                )
                message["metrics"][name] = value
    return [message for _, message in sorted(messages.items(), key=lambda item: -item[0][0])]


def comparable(messages: list[dict[str, Any]]) -> list[Any]:
    return sorted((m["timestamp"], m["service"], sorted(m["tags"].items()), m["metrics"]) for m in messages)


@settings(max_examples=200)
@given(HISTORIES, st.integers(1, 5))
def test_pages_together_are_all_messages(history: History, size: int) -> None:
    store: Any = PlainStore(history)
    found: list[dict[str, Any]] = []
    cursor: Cursor | None = None
    while True:
        page, cursor = recent_messages(store, [], END - 10**9, END, size, cursor)
        found += page
        if cursor is None:
            break
        assert len(page) == size
        cursor = Cursor.parse(cursor.text())
    wanted = plain_messages(history)
    assert [m["timestamp"] for m in found] == [m["timestamp"] for m in wanted]
    assert comparable(found) == comparable(wanted)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    HISTORIES, st.sampled_from([1, 7, 60_000, 86_400_000]), st.sampled_from(["sum", "count", "last", "max"])
)
async def test_buckets_hold_what_lies_in_them(api: Any, history: History, interval: int, func: str) -> None:
    from dataclasses import replace

    from metricsmith.api.app import create_app

    store: Any = PlainStore(history)
    store.series = lambda matchers, start, end: store.select(matchers, start, end).keys
    api.app = create_app(replace(api.context, store=store, engine=Engine(store, EngineConfig(), api.clock)))
    start = END - min(2 * 86_400_000, 10_000 * interval)
    answer = await api.get(
        "/api/v1/metrics/aggregate",
        metric="a",
        interval=f"{interval}ms",
        func=func,
        start=start / 1000,
        end=END / 1000,
    )
    reduce = {"sum": sum, "count": len, "last": lambda values: values[-1], "max": max}[func]
    wanted = []
    for key, samples in history.items():
        labels = decode_labels(key)
        if labels.pop("__name__") != "a":
            continue
        times = sorted(t for t, v in samples.items() if v is not None)
        times = times[bisect_left(times, start - start % interval) :]
        begins = sorted({t - t % interval for t in times})
        buckets = [
            {
                "start": format_timestamp(b),
                "value": reduce([samples[t] for t in times if b <= t < b + interval]),
            }
            for b in begins
        ]
        if buckets:
            wanted.append({"service": labels.pop("service", ""), "tags": labels, "buckets": buckets})
    order = lambda series: (series["service"], sorted(series["tags"].items()))  # noqa: E731
    assert sorted(answer.json["series"], key=order) == sorted(wanted, key=order)
