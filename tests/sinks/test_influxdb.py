"""What is delivered to InfluxDB is there as it was, and what it refuses is told series by series."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from metricsmith.errors import DeliveryError, Rejected, RetryLater, TooLarge
from metricsmith.sinks.influxdb.sink import InfluxdbSink
from metricsmith.testing import services
from metricsmith.testing.programs import eventually
from metricsmith.testing.services import Server

NOW_MS = int(time.time()) * 1000 - 60_000
UNSENT = "metricsmith_sink_unsent_samples_total"
Close = Callable[[Any], Any]


def _sink(here: Any, url: str, **settings: Any) -> InfluxdbSink:
    settings.setdefault("database", "d")
    return InfluxdbSink(InfluxdbSink.Config(url=url.removesuffix("/write"), **settings), here.context)


def _ask(server: Server, statement: str, database: str = "") -> Any:
    form = urllib.parse.urlencode({"q": statement, "db": database, "epoch": "ms"}).encode()
    with urllib.request.urlopen(f"{server.url}/query", form, timeout=20) as answer:
        return json.load(answer)["results"][0]


def _write(server: Server, database: str, lines: str) -> None:
    url = f"{server.url}/write?db={database}&precision=ms"
    urllib.request.urlopen(url, lines.encode(), timeout=20).close()


def _points(server: Server, database: str, measurement: str = "/.*/") -> dict[tuple[str, ...], Any]:
    """Return the rows of each measurement and tag set; a row is a mapping of what is not null."""
    found = _ask(server, f"SELECT * FROM {measurement} GROUP BY *", database).get("series", [])
    return {
        (each["name"], *(f"{k}={v}" for k, v in each.get("tags", {}).items() if v)): [
            {k: v for k, v in zip(each["columns"], row, strict=True) if v is not None}
            for row in each["values"]
        ]
        for each in found
    }


async def test_a_layout_becomes_points_of_several_fields(here: Any, peer: Any, closing: Close) -> None:
    sink = closing(_sink(here, peer.url))
    labels = [
        {"__name__": "cpu", "service": "db", "host": "a b"},
        {"__name__": "up"},
        {"__name__": "mem", "service": "db", "host": "a b"},
        {"__name__": "cpu", "service": "web", "host": "a,b"},
    ]
    layout = here.layout(labels)
    await sink.send(here.delivery(here.batch(layout, 1_700_000_000_999, [0.5, 1, 1e300, -2.25])))
    await sink.send(here.delivery(here.batch(layout, 1_700_000_010_000, [1, 0, 3, 4])))
    assert peer.bodies[0].decode().splitlines() == [
        "db_metrics,host=a\\ b cpu=0.5,mem=1e+300 1700000000",
        "metrics up=1.0 1700000000",
        "web_metrics,host=a\\,b cpu=-2.25 1700000000",
    ]
    assert peer.bodies[1].decode().splitlines()[1] == "metrics up=0.0 1700000010"
    assert peer.headers[0]["Content-Encoding"] == "gzip"


@pytest.mark.parametrize(
    ("precision", "written"), [("s", "7"), ("ms", "7999"), ("us", "7999000"), ("ns", "7999000000")]
)
async def test_units_of_time(here: Any, peer: Any, closing: Close, precision: str, written: str) -> None:
    sink = closing(_sink(here, peer.url, precision=precision, compression=False))
    layout, loose = here.layout([{"__name__": "a"}]), here.layout([{"__name__": "a"}], None)
    await sink.send(here.delivery(here.batch(layout, 7999, [1])))
    await sink.send(here.delivery(here.batch(loose, [7999], [1])))
    assert [body.decode() for body in peer.bodies] == [f"metrics a=1.0 {written}\n"] * 2


async def test_samples_with_times_of_their_own(here: Any, peer: Any, closing: Close) -> None:
    sink = closing(_sink(here, peer.url, compression=False))
    names = ["a", "b", "a", "a", "b"]
    layout = here.layout([{"__name__": name, "zone": "x"} for name in names], None)
    await sink.send(here.delivery(here.batch(layout, [1000, 1000, 1900, 3000, 2000], [1, 2, 3, 4, 5])))
    assert peer.bodies[0].decode().splitlines() == [
        "metrics,zone=x a=3.0,b=2.0 1",  # of one second the last
        "metrics,zone=x b=5.0 2",
        "metrics,zone=x a=4.0 3",
    ]


async def test_what_has_no_form_is_counted(here: Any, peer: Any, closing: Close) -> None:
    sink = closing(_sink(here, peer.url, compression=False))
    layout = here.layout([{"__name__": name} for name in "abcd"])
    nan, inf = float("nan"), float("inf")
    batch = here.batch(layout, 1000, [nan, -inf, 1, 2], [False, False, True, False])
    await sink.send(here.delivery(sink.prepare(batch)))
    assert peer.bodies[0] == b"metrics d=2.0 1\n"
    assert sink.prepare(here.batch(layout, 2**61, [1, 2, 3, 4])) is None
    counted = {
        reason: here.telemetry.value(UNSENT, sink="far", reason=reason)
        for reason in ("not_finite", "ended", "time_range", "same_time")
    }
    assert counted == {"not_finite": 2, "ended": 1, "time_range": 4, "same_time": 0}


def test_samples_of_one_second_are_counted(here: Any) -> None:
    sink = _sink(here, "http://far")
    layout = here.layout([{"__name__": name} for name in "ab"])
    loose = here.layout([{"__name__": name} for name in "aba"], None)
    for batch in (
        here.batch(layout, 1000, [1, 2]),
        here.batch(layout, 1500, [1, 2]),  # both again
        here.batch(layout, 2000, [1, 2]),
        here.batch(loose, [2100, 3000, 2900], [1, 2, 3]),  # twice `a`
    ):
        sink.prepare(batch)
    assert here.telemetry.value(UNSENT, sink="far", reason="same_time") == 4
    exact = _sink(here, "http://far", precision="ms")
    exact.prepare(here.batch(layout, 1000, [1, 2]))
    exact.prepare(here.batch(layout, 1500, [1, 2]))
    assert here.telemetry.value(UNSENT, sink="far", reason="same_time") == 4


@pytest.mark.parametrize(
    ("status", "error", "said"),
    [
        (500, RetryLater, "got HTTP status 500"),
        (429, RetryLater, "got HTTP status 429"),
        (401, RetryLater, "check the credentials"),
        (404, RetryLater, "check the address"),
        (413, TooLarge, "413"),
        (400, Rejected, "400 .*why"),
        (422, Rejected, "422 .*why"),
    ],
)
async def test_what_an_answer_means(
    here: Any, peer: Any, closing: Close, status: int, error: type[DeliveryError], said: str
) -> None:
    peer.answer = lambda: web.json_response({"error": "why"}, status=status)
    sink = closing(_sink(here, peer.url))
    delivery = here.delivery(here.batch(here.layout([{"__name__": "a"}]), NOW_MS, [1]))
    with pytest.raises(error, match=said) as caught:
        await sink.send(delivery)
    if isinstance(caught.value, Rejected):
        assert caught.value.series == ()


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ({"__name__": "time"}, "called time"),
        ({"__name__": "metricsmith_ended"}, "called metricsmith_ended"),
        ({"__name__": "a", "time": "x"}, "called time"),
        ({"l": "x"}, "no name"),
        ({"__name__": "a", "l": "x\ny"}, "line break"),
        ({"__name__": "a", "l": "x\\"}, "ends with a backslash"),
        ({"__name__": "a\\b"}, "backslash"),
        ({"__name__": "a", "service": "#x"}, "comment"),
        ({"__name__": "a", "l": "x" * 65_536}, "at most 65535"),
    ],
)
async def test_series_without_a_form_are_named(
    here: Any, peer: Any, closing: Close, labels: dict[str, str], said: str
) -> None:
    sink = closing(_sink(here, peer.url, compression=False))
    layout = here.layout([{"__name__": "good"}, labels])
    with pytest.raises(Rejected, match=said) as caught:
        await sink.send(here.delivery(here.batch(layout, 1000, [1, 2])))
    assert caught.value.series == (1,)
    assert peer.bodies == [b"metrics good=1.0 1\n"]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"database": None}, "exactly one of database .* and bucket"),
        ({"bucket": "b"}, "exactly one of database .* and bucket"),
        ({"database": None, "bucket": "b", "create": True}, "got create with a bucket"),
        ({"org": "o"}, "got org without bucket"),
        ({"alter": True}, "got alter without retention"),
        ({"username": "u", "token": "t"}, "got username and token"),
        ({"measurement": "{a"}, "brace"),
        ({"measurement": ""}, "wanted a measurement"),
        ({"url": "http://u:p@h"}, "basic_auth"),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        InfluxdbSink.Config(**{"url": "http://far", "database": "d"} | settings)


def test_no_secret_is_shown(here: Any) -> None:
    sink = _sink(here, "http://far", username="u", password="hunter2")
    assert "hunter2" not in repr(sink._config)


# Against the real server.


async def test_the_real_server_has_what_was_sent(here: Any, closing: Close, influxdb: Server) -> None:
    sink = closing(_sink(here, influxdb.url, database="sent", create=True, precision="ms"))
    labels = [
        {"__name__": "cpu", "service": "db", "host": "a b,c=d"},
        {"__name__": "mem", "service": "db", "host": "a b,c=d"},
        {"__name__": "my metric", "service": "größe"},
    ]
    layout = here.layout(labels)
    for step in range(3):
        await sink.send(here.delivery(here.batch(layout, NOW_MS + step, [step * 0.1, -step, 1e-300])))
    assert _points(influxdb, "sent") == {
        ("db_metrics", "host=a b,c=d"): [
            {"time": NOW_MS + step, "cpu": step * 0.1, "mem": -step} for step in range(3)
        ],
        ("größe_metrics",): [{"time": NOW_MS + step, "my metric": 1e-300} for step in range(3)],
    }


async def test_both_queries_of_the_document_answer(here: Any, closing: Close, influxdb: Server) -> None:
    sink = closing(_sink(here, influxdb.url, database="plantd_metrics", create=True))
    names = ["cpu_usage_percent", "memory_usage_percent"]
    layout = here.layout([{"__name__": name, "service": "system"} for name in names])
    now_ms = int(time.time()) * 1000
    for step in range(10):
        await sink.send(here.delivery(here.batch(layout, now_ms - 30_000 * step, [40 + step % 2, 10])))
    for name, low, high in ((names[0], 40, 41), (names[1], 10, 10)):
        query = f"SELECT mean({name}) FROM system_metrics WHERE time >= now() - 1h GROUP BY time(1m)"
        rows = _ask(influxdb, query, "plantd_metrics")["series"][0]["values"]
        means = [mean for _, mean in rows if mean is not None]
        assert means and all(low <= mean <= high for mean in means)


async def test_the_database_is_made_as_asked(here: Any, closing: Close, influxdb: Server) -> None:
    delivery = here.delivery(here.batch(here.layout([{"__name__": "a"}]), NOW_MS, [1]))

    async def policies(**settings: Any) -> tuple[dict[str, str], str]:
        sink = closing(_sink(here, influxdb.url, database='made "it"', **settings))
        await sink.send(delivery)
        found = _ask(influxdb, 'SHOW RETENTION POLICIES ON "made \\"it\\""')["series"][0]["values"]
        return {row[0] + "!" * row[-1]: row[1] for row in found}, sink.remark()

    with pytest.raises(RetryLater, match='no database made "it"; create it'):
        await policies()
    day_ms = 86_400_000
    assert await policies(create=True, retention="30d") == ({"autogen!": "720h0m0s"}, "")
    assert await policies(create=True, retention="30d") == ({"autogen!": "720h0m0s"}, "")
    assert await policies(create=True, retention="10d") == ({"autogen!": "720h0m0s"}, "")
    found, remark = await policies(create=True, retention="40d")
    assert found == {"autogen!": "720h0m0s"}
    assert remark == "the retention policy autogen keeps points 30d only, not 40d"
    found, _ = await policies(create=True, retention="10d", alter=True)
    assert found == {"autogen!": "240h0m0s"}
    found, _ = await policies(create=True, retention=f"{day_ms}ms", retention_policy="short")
    assert found == {"autogen!": "240h0m0s", "short": "24h0m0s"}
    found, _ = await policies(retention="2h", alter=True, retention_policy="short")
    assert found == {"autogen!": "240h0m0s", "short": "2h0m0s"}


async def test_what_may_not_be_created_is_told(here: Any, peer: Any, closing: Close) -> None:
    answers = iter(
        [
            web.json_response({"results": [{"error": "database not found: d"}]}),
            web.json_response({"error": "create not allowed"}, status=403),
            web.Response(status=204),
        ]
    )
    peer.answer = lambda: next(answers)
    sink = closing(_sink(here, peer.url, create=True))
    delivery = here.delivery(here.batch(here.layout([{"__name__": "a"}]), NOW_MS, [1]))
    await sink.send(delivery)  # it may be there all the same
    assert "refused to create or change the database: create not allowed" in sink.remark()
    assert here.telemetry.value("metricsmith_influxdb_statements_refused_total", sink="far") == 1


async def test_a_conflict_of_types_is_isolated(here: Any, closing: Close, influxdb: Server) -> None:
    sink = closing(_sink(here, influxdb.url, database="types", create=True))
    layout = here.layout([{"__name__": n, "host": h} for h in "ab" for n in ("x", "y", "z")])
    await sink.send(here.delivery(here.batch(here.layout([{"__name__": "first"}]), NOW_MS, [1])))
    _write(influxdb, "types", f'metrics,host=old x=1i,z="text" {NOW_MS}')
    with pytest.raises(Rejected, match=r"field type conflict: input field \W+x") as caught:
        await sink.send(here.delivery(here.batch(layout, NOW_MS, [1, 2, 3, 4, 5, 6])))
    refused = sorted(here.series.labels(each)["__name__"] for each in caught.value.series)
    assert refused == ["x", "x", "z", "z"]
    rows = _points(influxdb, "types")
    assert {key: row for key, row in rows.items() if "host=old" not in key and len(key) > 1} == {
        ("metrics", "host=a"): [{"time": NOW_MS, "y": 2}],
        ("metrics", "host=b"): [{"time": NOW_MS, "y": 5}],
    }


async def test_too_many_values_of_a_tag_are_isolated(
    here: Any, closing: Close, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INFLUXDB_DATA_MAX_VALUES_PER_TAG", "2")
    with services.influxdb(tmp_path) as server:
        sink = closing(_sink(here, server.url, database="tags", create=True))
        hosts = ["a", "b", 'c"d', "e\\f"]
        layouts = [
            here.layout([{"__name__": n, "host": h} for h in some for n in "xy"])
            for some in (hosts[:2], hosts)
        ]
        await sink.send(here.delivery(here.batch(layouts[0], NOW_MS, [1] * 4)))
        with pytest.raises(Rejected, match="max-values-per-tag") as caught:
            await sink.send(here.delivery(here.batch(layouts[1], NOW_MS + 5000, [2] * 8)))
        refused = [here.series.labels(each)["host"] for each in caught.value.series]
        assert sorted(refused) == sorted(hosts[2:] * 2)
        assert sorted(len(rows) for rows in _points(server, "tags").values()) == [2, 2]


async def test_a_body_over_the_servers_bound(
    here: Any, closing: Close, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INFLUXDB_HTTP_MAX_BODY_SIZE", "2000")
    with services.influxdb(tmp_path) as server:
        for compression in (True, False):
            sink = closing(_sink(here, server.url, create=True, compression=compression))
            small, large = (here.layout([{"__name__": f"m{i}"} for i in range(n)]) for n in (50, 2000))
            await sink.send(here.delivery(here.batch(small, NOW_MS, range(50))))
            with pytest.raises(TooLarge, match="413"):
                await sink.send(here.delivery(here.batch(large, NOW_MS, range(2000))))


async def test_what_is_sent_twice_is_there_once(
    here: Any, closing: Close, peer: Any, influxdb: Server
) -> None:
    """A server that writes and dies before it answers."""
    sink = closing(_sink(here, peer.url, database="twice", precision="ms", compression=False))
    _ask(influxdb, 'CREATE DATABASE "twice"')
    layout = here.layout([{"__name__": "a", "n": str(n)} for n in range(20)])
    loose = here.layout([{"__name__": "b"}] * 3, None)
    for step in range(5):
        for batch in (
            here.batch(layout, NOW_MS + step, [step] * 20),
            here.batch(loose, [NOW_MS + step * 10 + i for i in range(3)], [1, 2, 3]),
        ):
            peer.answer = lambda: web.Response(status=502)
            with pytest.raises(RetryLater):
                await sink.send(here.delivery(batch))
            peer.answer = lambda: web.Response(status=204)
            await sink.send(here.delivery(batch))
    for body in peer.bodies:
        _write(influxdb, "twice", body.decode())
    assert len(peer.bodies) == 20
    assert sum(len(rows) for rows in _points(influxdb, "twice").values()) == 5 * 20 + 5 * 3


async def test_answers_of_influxdb_2(here: Any, peer: Any, closing: Close) -> None:
    texts = [
        'partial write: field type conflict: input field "b" on measurement "metrics" is type float,'
        " already exists as type integer dropped=1",
        "partial write: dropped 1 points outside retention policy of duration 24h0m0s due to time range",
    ]
    codes = {"code": "unprocessable entity"}
    answers = [
        web.json_response({**codes, "message": f"failure writing points to database: {text}"}, status=422)
        for text in texts
    ]
    peer.answer = lambda: answers.pop(0) if answers else web.Response(status=204)
    sink = closing(_sink(here, peer.url, database=None, bucket="b", org="o", compression=False))
    layout = here.layout([{"__name__": name} for name in "abc"])
    delivery = here.delivery(here.batch(layout, NOW_MS, [1, 2, 3]))
    with pytest.raises(RetryLater, match="shorter"):
        await sink.send(delivery)
    assert sink.traits.max_age_ms == 86_400_000
    assert [body.partition(b" ")[2].partition(b" ")[0] for body in peer.bodies] == [
        b"a=1.0,b=2.0,c=3.0",
        b"a=1.0,c=3.0",
    ]
    await sink.send(delivery)


async def test_what_the_policy_does_not_keep_is_learnt(here: Any, closing: Close, influxdb: Server) -> None:
    _ask(influxdb, 'CREATE DATABASE "old" WITH DURATION 24h')
    sink = closing(_sink(here, influxdb.url, database="old"))
    layout = here.layout([{"__name__": "a"}, {"__name__": "b"}], None)
    delivery = here.delivery(here.batch(layout, [NOW_MS, NOW_MS - 30 * 86_400_000], [1, 2]))
    assert sink.traits.max_age_ms is None
    with pytest.raises(RetryLater, match="shorter"):
        await sink.send(delivery)
    assert sink.traits.max_age_ms == 86_400_000
    assert _points(influxdb, "old") == {("metrics",): [{"time": NOW_MS, "a": 1}]}


SPECIAL = st.text("ab ,=\"'\\#/{}\t\r_:.", min_size=1, max_size=6)
label_values = st.one_of(SPECIAL, st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
names = st.one_of(SPECIAL, st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20))


@given(
    series=st.lists(
        st.tuples(names, st.dictionaries(names, label_values, max_size=4)),
        min_size=1,
        max_size=20,
    )
)
def test_hostile_names_arrive_or_are_refused(
    new_here: Any, influxdb: Server, series: list[tuple[str, dict[str, str]]]
) -> None:
    here = new_here()
    database = "hostile"
    layout = here.layout([{**labels, "__name__": name} for name, labels in series], None)
    sink = _sink(here, influxdb.url, database=database, create=True, measurement="all")
    _ask(influxdb, f'DROP DATABASE "{database}"')

    async def send() -> set[int]:
        try:
            await sink.send(here.delivery(here.batch(layout, [NOW_MS] * len(series), [1] * len(series))))
            return set()
        except Rejected as error:
            assert "InfluxDB has no form for it" in error.reason
            return set(error.series)
        finally:
            await sink.close()

    refused = asyncio.run(send())
    wanted = {
        tuple(sorted(here.series.labels(each).items())) for each in layout.ids.tolist() if each not in refused
    }
    found = set()
    for each in _ask(influxdb, "SELECT * FROM /.*/ GROUP BY *", database).get("series", []):
        tags = {k: v for k, v in each.get("tags", {}).items() if v}
        for row in each["values"]:
            found |= {
                tuple(sorted({**tags, "__name__": field}.items()))
                for field, value in zip(each["columns"][1:], row[1:], strict=True)
                if value is not None
            }
    assert found == wanted


async def test_victoria_metrics_takes_both_forms(here: Any, closing: Close, victoria_metrics: Server) -> None:
    layout = here.layout([{"__name__": "cpu", "service": "vm_test", "host": 'a"b c'}])
    for at, settings in enumerate(
        (
            {"database": None, "bucket": "b", "org": "o", "token": "secret", "precision": "ms"},
            {"database": "d", "precision": "ms"},
        )
    ):
        url = victoria_metrics.url + ("/influx" if at else "")
        sink = closing(_sink(here, url, **settings))
        await sink.send(here.delivery(here.batch(layout, NOW_MS + at * 1000, [at + 0.5])))

    def read() -> list[Any]:
        urllib.request.urlopen(f"{victoria_metrics.url}/internal/force_flush", timeout=20).close()
        query = urllib.parse.urlencode({"match[]": '{__name__="vm_test_metrics_cpu"}'})
        with urllib.request.urlopen(f"{victoria_metrics.url}/api/v1/export?{query}") as answer:
            found = [json.loads(line) for line in answer]
        return [(each["metric"]["host"], v) for each in found for v in each["values"]]

    eventually(lambda: sorted(read()) == [('a"b c', 0.5), ('a"b c', 1.5)])
