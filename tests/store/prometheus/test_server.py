"""What is made of a server's answers: results, errors that say what to do, bounds, and secrets kept."""

from __future__ import annotations

import gzip
import ssl
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from metricsmith.errors import (
    ExecutionError,
    QueryCancelled,
    QueryError,
    QueryLimitExceeded,
    QueryRefused,
    QueryTimeout,
    StoreUnavailable,
)
from metricsmith.model.matchers import Matcher, MatchOp
from metricsmith.model.progress import Progress
from metricsmith.model.telemetry import Telemetry
from metricsmith.store.prometheus import server as server_module
from metricsmith.store_contracts import Cardinality
from metricsmith.testing.certificates import Certificates
from metricsmith.testing.services import ServiceMissing
from metricsmith.testing.targets import endless, silent, trickling

Make = Callable[..., Any]
X = [Matcher("__name__", MatchOp.EQ, "x")]
NOW = 1_700_000_000_000


def engine(store: Any, **limits: Any) -> Any:
    wanted = {"lookback_ms": 60_000, "timeout_s": 10.0, "max_series": 100, "max_points": 1000} | limits
    return store.query_engine(**wanted)


def vector(*series: Any) -> Any:
    return {"resultType": "vector", "result": list(series)}


def one(value: Any, **labels: str) -> Any:
    return {"metric": labels, "value": [NOW / 1000, value]}


def many(pairs: Any, **labels: str) -> Any:
    return {"metric": labels, "values": pairs}


def matrix(*series: Any) -> Any:
    return {"resultType": "matrix", "result": list(series)}


@pytest.mark.parametrize(
    ("data", "kind", "keys", "values"),
    [
        (vector(), "vector", [], []),
        (vector(one("1.5", __name__="x", b="2", a="1")), "vector", [b"x\xffa\xfe1\xffb\xfe2"], [[1.5]]),
        (vector(one("NaN"), one("+Inf", a="b")), "vector", [b"", b"\xffa\xfeb"], [[np.nan], [np.inf]]),
        ({"resultType": "scalar", "result": [1, "-Inf"]}, "scalar", [b""], [[-np.inf]]),
        ({"resultType": "string", "result": [1, "text"]}, "string", [], []),
    ],
)
def test_results(store_at: Make, scripted: Any, data: Any, kind: str, keys: Any, values: Any) -> None:
    scripted.says(data, warnings=["w"], infos=["i"])
    found = engine(store_at(scripted.url)).instant("expr", NOW)
    assert (found.type, found.keys, found.warnings, found.infos) == (kind, keys, ["w"], ["i"])
    np.testing.assert_array_equal(found.values, np.array(values).reshape(found.values.shape))
    assert found.text == ("text" if kind == "string" else "")


def test_what_a_query_says_reaches_the_server(store_at: Make, scripted: Any) -> None:
    scripted.says(matrix())
    asked = engine(store_at(scripted.url + "/prefix/"))
    asked.range("up[5m] + ü", NOW, NOW + 60_500, 500, timeout_s=2.5, lookback_ms=1000)
    path, form, _ = scripted.asked[0]
    assert path == "/prefix/api/v1/query_range"
    assert form == {
        "query": "up[5m] + ü",
        "start": "1700000000.000",
        "end": "1700000060.500",
        "step": "0.500",
        "timeout": "2500ms",
        "lookback_delta": "1000ms",
        "nocache": "1",
        "stats": "1",
        "partial_response": "false",
        "deny_partial_response": "1",
    }
    scripted.says(vector(), stats={})
    progress = Progress()
    scripted.says(vector(one("1")) | {"stats": {"samples": {"totalQueryableSamples": 7, "peakSamples": 3}}})
    asked.instant("up", NOW, progress=progress)
    assert scripted.asked[1][1]["lookback_delta"] == "60000ms"
    assert (progress.samples, progress.peak_samples, progress.series) == (7, 3, 1)


def test_a_range_has_a_value_where_there_is_one(store_at: Make, scripted: Any) -> None:
    t = NOW // 1000
    scripted.says(matrix(many([[t, "1"], [t + 20, "3"]], a="1"), many([[t + 10.001 - 0.001, "NaN"]])))
    found = engine(store_at(scripted.url)).range("x", NOW, NOW + 25_000, 10_000)
    assert found.steps.tolist() == [NOW, NOW + 10_000, NOW + 20_000]
    assert found.present is not None
    assert found.present.tolist() == [[True, False, True], [False, True, False]]
    assert found.values[0, [0, 2]].tolist() == [1, 3] and found.points() == 3


def test_series_of_native_histograms_are_left_out_and_remarked(store_at: Make, scripted: Any) -> None:
    scripted.says(vector(one("1"), {"metric": {"a": "b"}, "histogram": [1, {}]}))
    found = engine(store_at(scripted.url)).instant("x", NOW)
    assert found.keys == [b""]
    assert found.warnings == ["1 series of native histograms are left out: they cannot be read yet"]


REFUSALS: list[tuple[int, str, str, type[Exception], str]] = [
    (
        400,
        "bad_data",
        "1:1: parse error: x",
        QueryRefused,
        "^1:1: parse error: x$",
    ),
    (422, "execution", "many-to-many", ExecutionError, "^many-to-many$"),
    (422, "422", "cannot parse", ExecutionError, "^cannot parse$"),
    (
        422,
        "execution",
        "query processing would load too many samples into memory",
        QueryLimitExceeded,
        "too many samples",
    ),
    (503, "timeout", "query timed out in expression evaluation", QueryTimeout, "^query timed out in"),
    (503, "unavailable", "starting", StoreUnavailable, "HTTP status 503: starting"),
    (503, "canceled", "stopping", StoreUnavailable, "stopping"),
    (500, "internal", "boom", StoreUnavailable, "HTTP status 500: boom"),
    (429, "too_many_requests", "slow down", StoreUnavailable, "429: slow down"),
    (401, "unauthorized", "no", StoreUnavailable, "wanted it to let us in"),
    (404, "not_found", "no", StoreUnavailable, r"is storage\.url right\?"),
]


@pytest.mark.parametrize(("status", "kind", "text", "error", "match"), REFUSALS)
def test_refusals(
    store_at: Make, scripted: Any, status: int, kind: str, text: str, error: Any, match: str
) -> None:
    scripted.fails(status, kind, text)
    with pytest.raises(error, match=match):
        engine(store_at(scripted.url)).instant("x", NOW)
    with pytest.raises(error):
        store_at(scripted.url).select(X, NOW, NOW + 10)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>Log in</html>",
        b"[]",
        b"null",
        b'{"status":"success"}',
        b'{"status":"success","data":[]}',
        b'{"status":"error","data":{}}',
        b"[" * 100_000,
        b'{"status":"success","data":{"resultType":"vector","result":{}}}',
        b'{"status":"success","data":{"resultType":"vector","result":[1]}}',
        b'{"status":"success","data":{"resultType":"vector","result":[{"metric":1,"value":[1,"2"]}]}}',
        b'{"status":"success","data":{"resultType":"vector","result":[{"metric":{"a":1},"value":[1,"2"]}]}}',
        b'{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1,"x"]}]}}',
        b'{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1,null]}]}}',
        b'{"status":"success","data":{"resultType":"vector","result":'
        b'[{"metric":{},"value":[1,"2"]},{"metric":{},"value":[1,"2"]}]}}',
        b'{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":[["a","1"]]}]}}',
        b'{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":[[1e999,"1"]]}]}}',
        b'{"status":"success","data":{"resultType":"matrix","result":'
        b'[{"metric":{},"values":[[2,"1"],[1,"1"]]}]}}',
        b'{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":[[1e99,"1"]]}]}}',
        b'{"status":"success","data":{"resultType":"streams","result":[]}}',
        gzip.compress(b"{}", mtime=0),
    ],
)
def test_what_no_prometheus_answers_is_an_error_that_says_so(
    store_at: Make, scripted: Any, telemetry: Telemetry, body: bytes
) -> None:
    scripted.body = body
    store = store_at(scripted.url)
    ask = engine(store)
    for work in (
        lambda: ask.instant("x", NOW),
        lambda: ask.range("x", NOW, NOW + 10, 1),
        lambda: store.select(X, NOW - 10, NOW),
    ):
        with pytest.raises(
            StoreUnavailable, match=r"none of Prometheus' API .*is storage\.url right\?"
        ) as error:
            work()
        assert scripted.url in str(error.value)
    assert telemetry.value("metricsmith_store_server_failures_total", reason="answer") == 3


def test_times_that_are_no_steps_are_no_answer(store_at: Make, scripted: Any) -> None:
    for time_s in (NOW / 1000 + 0.5, NOW / 1000 - 10, NOW / 1000 + 50):
        scripted.says(matrix(many([[time_s, "1"]])))
        with pytest.raises(StoreUnavailable, match="no steps"):
            engine(store_at(scripted.url)).range("x", NOW, NOW + 30_000, 10_000)


def test_limits_on_answers(store_at: Make, scripted: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ask = engine(store_at(scripted.url), max_series=2, max_points=3)
    t = NOW // 1000
    scripted.says(vector(*(one("1", i=str(i)) for i in range(3))))
    with pytest.raises(QueryLimitExceeded, match="got 3, wanted at most 2") as error:
        ask.instant("x", NOW)
    assert error.value.limit == "series"
    scripted.says(matrix(many([[t, "1"], [t + 1, "1"]]), many([[t, "1"], [t + 1, "1"]], a="b")))
    for work in (lambda: ask.instant("x[5m]", NOW), lambda: ask.range("x", NOW, NOW + 1000, 1000)):
        with pytest.raises(QueryLimitExceeded, match="got 4, wanted at most 3") as error:
            work()
        assert error.value.limit == "points"
    scripted.says(matrix(many([[t, "1"]])))
    with pytest.raises(QueryLimitExceeded, match="got 3601"):  # cells that would be empty
        ask.range("x", NOW, NOW + 3_600_000, 1000)
    monkeypatch.setattr(server_module, "MAX_ANSWER_BYTES", 1000)
    scripted.target.behave = endless
    with pytest.raises(QueryLimitExceeded, match="answer over 1000B"):
        engine(store_at(scripted.url)).instant("x", NOW)


@pytest.mark.parametrize("behave", [silent, trickling])
def test_a_server_that_does_not_end_its_answer(
    store_at: Make, scripted: Any, telemetry: Telemetry, behave: Any
) -> None:
    scripted.target.behave = behave
    with pytest.raises(QueryTimeout, match=r"has not answered within 0\.1 s"):
        engine(store_at(scripted.url), timeout_s=0.1).instant("x", NOW)
    assert telemetry.value("metricsmith_store_server_failures_total", reason="timeout") == 1


def test_a_query_that_nobody_waits_for_is_given_up(store_at: Make, scripted: Any) -> None:
    progress, asked = Progress(), threading.Event()

    def answer_never(handler: Any, closing: threading.Event) -> None:
        asked.set()
        silent(handler, closing)

    scripted.target.behave = answer_never
    threading.Thread(target=lambda: (asked.wait(), setattr(progress, "cancelled", True)), daemon=True).start()
    with pytest.raises(QueryCancelled):
        engine(store_at(scripted.url)).instant("x", NOW, progress=progress)


def test_a_server_that_is_away(store_at: Make, scripted: Any, telemetry: Telemetry) -> None:
    store = store_at("http://127.0.0.1:1")
    for work in (
        lambda: engine(store).instant("x", NOW),
        lambda: store.select(X, 1, 2),
        lambda: store.series(X, 1, 2),
        lambda: store.label_names([], 1, 2),
        lambda: store.label_values("a", [], 1, 2),
        store.metadata,
        lambda: store.cardinality(3),
    ):
        with pytest.raises(StoreUnavailable, match=r"127\.0\.0\.1:1: cannot connect: Connection refused"):
            work()
    assert telemetry.value("metricsmith_store_server_failures_total", reason="connection") == 7
    status = store.status()
    assert (status.status, "cannot connect" in status.detail) == ("error", True)


def test_a_closed_store_says_so(store_at: Make, scripted: Any, telemetry: Telemetry) -> None:
    scripted.says(matrix())
    store = store_at(scripted.url)
    assert store.select(X, 1, 2).keys == []
    store.close()
    with pytest.raises(StoreUnavailable, match="agent stops"):
        store.select(X, 1, 2)


def test_a_query_that_runs_when_the_store_is_closed_ends(store_at: Make, scripted: Any) -> None:
    asked = threading.Event()

    def answer_never(handler: Any, closing: threading.Event) -> None:
        asked.set()
        silent(handler, closing)

    scripted.target.behave = answer_never
    store = store_at(scripted.url)
    closer = threading.Thread(target=lambda: (asked.wait(), store.close()))
    closer.start()
    with pytest.raises(StoreUnavailable, match="agent stops"):
        store.select(X, 1, 2)
    closer.join()


def test_a_connection_that_the_server_has_closed_is_opened_again(store_at: Make, scripted: Any) -> None:
    def answer_and_close(handler: Any, closing: threading.Event) -> None:
        scripted.serve(handler, closing)
        handler.close_connection = True  # without having said so

    scripted.target.behave = answer_and_close
    scripted.says(vector(one("1")))
    ask = engine(store_at(scripted.url))
    for _ in range(20):
        assert ask.instant("x", NOW).keys == [b""]


def test_https_is_verified(
    store_at: Make, scripted: Any, telemetry: Telemetry, tmp_path_factory: pytest.TempPathFactory
) -> None:
    try:
        made = Certificates.make(tmp_path_factory.mktemp("certificates"))
    except ServiceMissing as missing:
        pytest.skip(str(missing))

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            scripted.serve(self, scripted.target.closing)

        def log_message(self, *_: object) -> None:
            pass

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.server_pem)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    url = f"https://127.0.0.1:{server.server_address[1]}"
    scripted.says(vector(one("1")))
    try:
        trusting = store_at(url, tls={"ca_file": str(made.authority)})
        assert engine(trusting).instant("x", NOW).keys == [b""]
        with pytest.raises(StoreUnavailable, match=r"TLS failed: .*certificate verify failed"):
            engine(store_at(url)).instant("x", NOW)
        assert telemetry.value("metricsmith_store_server_failures_total", reason="tls") == 1
        missing = {"ca_file": str(made.folder / "none.pem")}
        with pytest.raises(StoreUnavailable, match="TLS files cannot be used"):
            engine(store_at(url, tls=missing)).instant("x", NOW)
        trusting.close()
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


SECRET = "very-secret"


@pytest.mark.parametrize(
    ("settings", "header", "value"),
    [
        ({"username": "me", "password": SECRET}, "Authorization", "Basic bWU6dmVyeS1zZWNyZXQ="),
        ({"authorization": {"credentials": SECRET}}, "Authorization", f"Bearer {SECRET}"),
        ({"headers": {"X-Scope-OrgID": SECRET}}, "X-Scope-OrgID", SECRET),
    ],
)
def test_secrets_reach_the_server_and_nobody_else(
    store_at: Make, scripted: Any, settings: Any, header: str, value: str
) -> None:
    scripted.fails(401, "unauthorized", "no")
    store = store_at(scripted.url, **settings)
    with pytest.raises(StoreUnavailable) as error:
        store.select(X, 1, 2)
    assert scripted.asked[0][2][header] == value
    for told in (str(error.value), repr(store.status()), repr(store.Config(url=scripted.url, **settings))):
        assert SECRET not in told and "bWU6" not in told


@pytest.mark.parametrize(
    "settings",
    [
        {"url": "ftp://x"},
        {"url": "http://me:pw@x"},
        {"url": "http://x", "username": "a", "basic_auth": {"username": "b"}},
        {"url": "http://x", "usrname": "a"},
        {"url": ""},
    ],
)
def test_settings_that_cannot_be_meant(store_at: Make, settings: Any) -> None:
    with pytest.raises(ValidationError):
        store_at(**settings)


@pytest.mark.parametrize(
    "data", [[1], 1, "x", {"headStats": [1]}, {"headStats": {"numSeries": {}}}, {"a": [1]}, [{"a": 1}]]
)
def test_pages_that_are_none(store_at: Make, scripted: Any, data: Any) -> None:
    store = store_at(scripted.url)
    scripted.says(data)
    for ask in (
        lambda: store.series(X, 1, 2),
        lambda: store.label_names([], 1, 2),
        lambda: store.label_values("a", [], 1, 2),
        store.metadata,
        lambda: store.cardinality(3),
    ):
        try:
            found = ask()
        except StoreUnavailable as error:
            assert "none of Prometheus' API" in str(error)
        else:
            assert isinstance(found, list | dict | Cardinality)
    assert store.status().status == "error"


def test_metadata_and_status_pages(store_at: Make, scripted: Any) -> None:
    scripted.status = 404
    scripted.by_path = {
        "/api/v1/metadata": (
            200,
            b'{"status":"success","data":{"up":[{"type":"gauge","help":"Is it up?","unit":""}],'
            b'"odd":[{"type":"new"}],"none":[]}}',
        ),
        "/api/v1/query": (200, b'{"status":"success","data":{"resultType":"scalar","result":[1,"1"]}}'),
        "/api/v1/status/runtimeinfo": (200, b'{"status":"success","data":{"storageRetention":"10GB or 2d"}}'),
    }
    store = store_at(scripted.url)
    found = {name: (m.type.value, m.help) for name, m in store.metadata().items()}
    assert found == {"up": ("gauge", "Is it up?"), "odd": ("unknown", "")}
    status = store.status()
    assert (status.status, status.retention_ms, status.last_sample_ms) == ("connected", 172_800_000, None)
    with pytest.raises(QueryError, match="does not tell where its series come from"):
        store.cardinality(3)
