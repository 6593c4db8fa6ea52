"""What the sink wrote to InfluxDB is read as it was: series, samples, ends."""

from __future__ import annotations

import json
import time
import urllib.parse
import urllib.request
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metricsmith.errors import QueryLimitExceeded, StoreUnavailable
from metricsmith.model.labels import decode_labels, encode_labels
from metricsmith.model.matchers import Matcher, MatchOp
from metricsmith.model.selection import Selection
from metricsmith.promql.engine import Engine, EngineConfig
from metricsmith.store_contracts import Delivered
from metricsmith.testing.services import Server, free_port

Make = Callable[..., Any]
NOW_MS = int(time.time()) * 1000 - 600_000
EVERY = (-(2**62), 2**62)
TEMPLATES = ["{service}_metrics", "{name}", "{service}.{name}", "metrics", "{service}"]


def rows(found: Selection) -> dict[str, list[tuple[int, Any]]]:
    """Return the samples of each series, `end` for a marker."""
    samples: dict[str, list[tuple[int, Any]]] = {}

    def put(row: int, times: Any, values: Any, stale: Any) -> None:
        marks = np.zeros(len(times), np.bool_) if stale is None else stale
        samples[_shown(found.keys[row])] = [
            (t, "end" if s else v)
            for t, v, s in zip(times.tolist(), values.tolist(), marks.tolist(), strict=True)
        ]

    for matrix in found.matrices:
        for at, row in enumerate(matrix.rows.tolist()):
            put(row, matrix.times, matrix.values[at], matrix.stale)
    if found.ragged is not None:
        ragged = found.ragged
        for at, row in enumerate(ragged.rows.tolist()):
            cut = slice(ragged.offsets[at], ragged.offsets[at + 1])
            put(
                row,
                ragged.times[cut],
                ragged.values[cut],
                None if ragged.stale is None else ragged.stale[cut],
            )
    return samples


def _shown(key: bytes) -> str:
    return json.dumps(decode_labels(key), sort_keys=True, ensure_ascii=False)


def _key(**labels: str) -> str:
    labels["__name__"] = labels.pop("name")
    return json.dumps(labels, sort_keys=True, ensure_ascii=False)


def test_it_is_a_store_that_a_sink_writes(kept: Make) -> None:
    assert isinstance(kept().store, Delivered)


@pytest.mark.parametrize("template", TEMPLATES)
def test_samples_come_back(kept: Make, template: str) -> None:
    made = kept(measurement=template)
    labels = [
        {"__name__": "cpu", "service": "db", "host": "a"},
        {"__name__": "cpu", "service": "db", "host": "b"},
        {"__name__": "cpu", "host": "a"},  # no service
        {"__name__": "value", "service": "metrics"},
        {"__name__": "db_metrics", "service": "db"},
    ]
    samples = [(each, NOW_MS + 1000 * t, at + t / 10) for t in range(4) for at, each in enumerate(labels)]
    assert made.write(samples) == set()
    found = rows(made.store.select([], *EVERY))
    assert found == {
        _shown(encode_labels(each)): [(NOW_MS + 1000 * t, at + t / 10) for t in range(4)]
        for at, each in enumerate(labels)
    }
    cut = rows(made.store.select([], NOW_MS + 1000, NOW_MS + 2000))
    assert {t for each in cut.values() for t, _ in each} == {NOW_MS + 1000, NOW_MS + 2000}
    assert made.store.series([], *EVERY) == sorted(map(encode_labels, labels))
    assert made.store.series([], NOW_MS + 5000, NOW_MS + 6000) == []
    any_name = Matcher("__name__", MatchOp.NE, "")
    for conditions in ([], [any_name]):  # the server's own lists, and those of the series
        assert made.store.label_names(conditions, *EVERY) == ["__name__", "host", "service"]
        assert made.store.label_values("service", conditions, *EVERY) == ["db", "metrics"]
        assert made.store.label_values("host", conditions, *EVERY) == ["a", "b"]
        assert made.store.label_values("__name__", conditions, *EVERY) == ["cpu", "db_metrics", "value"]
        assert made.store.label_values("nothing", conditions, *EVERY) == []
    assert made.store.label_values("__name__", [Matcher("host", MatchOp.EQ, "b")], *EVERY) == ["cpu"]
    assert made.store.metadata() == {}


def test_ends_of_series(kept: Make) -> None:
    made = kept()
    one, two = {"__name__": "a", "host": "x"}, {"__name__": "b", "host": "x"}
    samples = [(one, NOW_MS, 1.0), (two, NOW_MS, 2.0), (two, NOW_MS + 1000, 3.0), (one, NOW_MS + 9000, 4.0)]
    made.write(samples, [(one, NOW_MS + 1000), (two, NOW_MS + 1000)])
    assert rows(made.store.select([], *EVERY)) == {
        _key(name="a", host="x"): [(NOW_MS, 1.0), (NOW_MS + 1000, "end"), (NOW_MS + 9000, 4.0)],
        _key(name="b", host="x"): [(NOW_MS, 2.0), (NOW_MS + 1000, 3.0), (NOW_MS + 1001, "end")],
    }
    # The end is later than what is asked for.
    before = rows(made.store.select([Matcher("__name__", MatchOp.EQ, "b")], NOW_MS, NOW_MS + 1000))
    assert before == {_key(name="b", host="x"): [(NOW_MS, 2.0), (NOW_MS + 1000, 3.0)]}


def test_many_that_end_at_once(kept: Make) -> None:
    made = kept()
    labels = [{"__name__": f"a_metric_with_a_long_name_{i:04d}"} for i in range(2500)]
    made.write([(each, NOW_MS, 1.0) for each in labels], [(each, NOW_MS + 1000) for each in labels])
    found = rows(made.store.select([], *EVERY))
    assert len(found) == 2500
    ends = [t - NOW_MS for each in found.values() for t, value in each if value == "end"]
    assert len(ends) == 2500
    assert set(ends) == {1000, 1001, 1002}


def test_a_scrape_with_seconds(kept: Make) -> None:
    made = kept(precision="s")
    made.write([({"__name__": "a"}, NOW_MS + 900 + 15_000 * t, float(t)) for t in range(3)])
    assert rows(made.store.select([], *EVERY)) == {
        _key(name="a"): [(NOW_MS + 15_000 * t, float(t)) for t in range(3)]
    }


def test_an_end_in_the_second_of_a_sample(kept: Make) -> None:
    made = kept(precision="s")
    one = {"__name__": "a"}
    made.write([(one, NOW_MS + 200, 1.0)], [(one, NOW_MS + 900)])
    assert rows(made.store.select([], *EVERY)) == {_key(name="a"): [(NOW_MS, 1.0), (NOW_MS + 1, "end")]}
    counter = "metricsmith_sink_unsent_samples_total"
    assert made.telemetry.value(counter, sink="storage", reason="same_time") == 0


def test_what_others_wrote(kept: Make, influxdb: Server) -> None:
    made = kept()
    made.write([({"__name__": "a", "service": "x"}, NOW_MS, 1.0)])
    lines = f"""x_metrics count=7i,ok=true,text="a]]b",a=2 {NOW_MS + 5}000000
x_metrics a=3 {NOW_MS + 5}000999
foreign,service=x a=9 {NOW_MS}000000
"""
    url = f"{influxdb.url}/write?db={made.database}"
    urllib.request.urlopen(url, lines.encode(), timeout=60).close()
    assert rows(made.store.select([], *EVERY)) == {
        _key(name="a", service="x"): [(NOW_MS, 1.0), (NOW_MS + 5, 3.0)],
        _key(name="count", service="x"): [(NOW_MS + 5, 7.0)],
        _key(name="ok", service="x"): [(NOW_MS + 5, 1.0)],
    }


def test_limits(kept: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    made = kept()
    labels = [{"__name__": "a", "host": f"host-{i:03d}"} for i in range(50)]
    made.write([(each, NOW_MS + t * 1000, 1.0) for each in labels for t in range(40)])
    with pytest.raises(QueryLimitExceeded, match="too many samples"):
        made.store.select([], NOW_MS, NOW_MS + 60_000, 1999)
    whole = rows(made.store.select([], NOW_MS, NOW_MS + 60_000, 2000))
    monkeypatch.setattr("metricsmith.store.influxdb.selecting.PIECE_BYTES", 20_000)
    assert rows(made.store.select([], NOW_MS, NOW_MS + 60_000, 2000)) == whole  # in pieces
    monkeypatch.setattr("metricsmith.store.influxdb.selecting.PIECE_BYTES", 1000)
    with pytest.raises(QueryLimitExceeded, match="too many series"):
        made.store.select([], NOW_MS, NOW_MS + 60_000, 2000)


SPECIAL = st.text("ab ,=\"'\\#/{}()|.*$^[]\t:_-;", min_size=1, max_size=6)
names = st.one_of(st.sampled_from(["host", "service", "zone", "_name", "name"]), SPECIAL)
values = st.one_of(
    st.sampled_from(["a", "b", "' OR 1=1 --", '"; DROP DATABASE x; --', "/ OR true --"]), SPECIAL
)
series = st.tuples(
    st.one_of(st.sampled_from(["cpu", "mem"]), SPECIAL), st.dictionaries(names, values, max_size=3)
)
PATTERNS = [
    "a",
    "a.*",
    "",
    ".*",
    ".+",
    "a|",
    "/",
    "a\\/b",
    "[/]",
    "\\Q/\\E",
    "(?i)A",
    "(?:a|b)",
    "(?P<x>a)b?",
    "\\\\",
    "\n",
    "\\x2f",
    ".$",
]
matchers = st.one_of(
    st.builds(Matcher, names, st.sampled_from([MatchOp.EQ, MatchOp.NE]), st.one_of(values, st.just(""))),
    st.builds(Matcher, names, st.sampled_from([MatchOp.RE, MatchOp.NRE]), st.sampled_from(PATTERNS)),
    st.builds(Matcher, st.just("__name__"), st.sampled_from(MatchOp), st.sampled_from(["cpu", "mem", "a"])),
)


@given(
    chosen=st.lists(series, min_size=1, max_size=8),
    asked=st.lists(st.lists(matchers, max_size=3), min_size=1, max_size=6),
    template=st.sampled_from(TEMPLATES),
)
def test_hostile_labels_and_conditions(
    influxdb: Server, new_kept: Any, chosen: Any, asked: Any, template: str
) -> None:
    made = new_kept(influxdb.url, measurement=template)
    try:
        labelled = [{**labels, "__name__": name} for name, labels in chosen]
        refused = made.write([(each, NOW_MS, 1.0) for each in labelled])
        there = {encode_labels(each) for each in labelled} - refused
        for conditions in asked:
            wanted = sorted(
                key for key in there if all(m.matches(decode_labels(key).get(m.name, "")) for m in conditions)
            )
            assert made.store.select(conditions, NOW_MS, NOW_MS).keys == wanted
            assert made.store.series(conditions, NOW_MS, NOW_MS) == wanted
    finally:
        made.drop()


def test_promql_over_it(kept: Make) -> None:
    made = kept()
    labels = [{"__name__": "requests_total", "service": "web", "code": code} for code in ("200", "500")]
    made.write(
        [
            (each, NOW_MS + 15_000 * t, 30.0 * t * (1 + at))
            for t in range(21)
            for at, each in enumerate(labels)
        ]
    )
    engine = Engine(made.store, EngineConfig())
    answer = engine.instant('sum by (service) (rate(requests_total{code=~"2..|5.."}[5m]))', NOW_MS + 300_000)
    assert [decode_labels(key) for key in answer.keys] == [{"service": "web"}]


def test_status(kept: Make) -> None:
    made = kept(retention="45d")
    before = made.store.status()
    assert before.status == "connected"
    assert "not there yet" in before.detail
    assert made.store.select([], *EVERY).keys == []
    made.write([({"__name__": "a", "host": f"{i}"}, NOW_MS, 1.0) for i in range(5)])
    status = made.store.status()
    assert (status.type, status.status, status.detail) == ("influxdb", "connected", "")
    assert status.database == made.database
    assert status.retention_ms == 45 * 86_400_000
    assert status.series == 5
    assert status.disk_usage_bytes is not None
    found = made.store.cardinality(2)
    assert found.series == 5
    assert found.series_by_metric == [("a", 5)]
    assert found.values_by_label == [("host", 5), ("__name__", 1)]


def test_a_policy_that_was_there_is_changed_only_on_purpose(kept: Make, influxdb: Server) -> None:
    form = urllib.parse.urlencode({"q": "CREATE DATABASE there WITH DURATION 100d"}).encode()
    urllib.request.urlopen(f"{influxdb.url}/query", form, timeout=60).close()
    sample = [({"__name__": "a"}, NOW_MS, 1.0)]
    for settings, days in (({}, 100), ({"retention": "60d"}, 60)):
        made = kept(database="there", **settings)
        made.write(sample)
        assert made.store.status().retention_ms == days * 86_400_000


def test_a_policy_of_its_own(kept: Make) -> None:
    """Two stores in one database, each in its policy: what one keeps the other does not show."""
    sample = ({"__name__": "a"}, NOW_MS, 1.0)
    default = kept(retention="10d")
    default.write([sample])
    short = kept(database=default.database, retention_policy='sho"rt', retention="2h")
    short.write(
        [({"__name__": "a"}, NOW_MS + 1000, 2.0), ({"__name__": "b"}, NOW_MS, 3.0)],
        [(sample[0], NOW_MS + 2000)],
    )
    assert rows(default.store.select([], *EVERY)) == {_key(name="a"): [(NOW_MS, 1.0)]}
    assert rows(short.store.select([], *EVERY)) == {
        _key(name="a"): [(NOW_MS + 1000, 2.0), (NOW_MS + 2000, "end")],
        _key(name="b"): [(NOW_MS, 3.0)],
    }
    assert [each.store.status().retention_ms for each in (default, short)] == [864_000_000, 7_200_000]


def test_a_server_that_is_away(kept: Make) -> None:
    made = kept(url=f"http://127.0.0.1:{free_port()}")
    with pytest.raises(StoreUnavailable, match=r"cannot connect: Connection refused") as caught:
        made.store.select([], *EVERY)
    assert caught.value.reason == "connection"
    status = made.store.status()
    assert status.status == "error"
    assert "Connection refused" in status.detail
    counter = "metricsmith_store_server_failures_total"
    assert made.telemetry.value(counter, reason="connection") == 2
