"""Messages in, messages and aggregates out: what was sent is found again, and mistakes are named."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metricsmith.errors import DiskFull
from metricsmith.model.metadata import MetricType

NOW = "2023-11-14T22:13:20Z"
MESSAGE = {
    "service": "org.plantd.Broker",
    "timestamp": "2023-11-14T22:13:00Z",
    "metrics": {"message_count": 1250, "response_time_ms": 15.3},
    "tags": {"environment": "production"},
}


async def test_submitted_message_is_answered_whole(api: Any) -> None:
    answer = await api.post("/api/v1/metrics", MESSAGE)
    assert (answer.status, answer.json) == (201, {"status": "accepted", "messages": 1, "samples": 2})
    found = (await api.get("/api/v1/metrics", service="org.plantd.Broker")).json
    assert found == {"metrics": [MESSAGE], "cursor": None}
    series = (await api.get("/api/v1/query", query="message_count")).data["result"]
    assert series[0]["metric"] == {
        "__name__": "message_count",
        "service": "org.plantd.Broker",
        "environment": "production",
    }
    assert api.store.metadata()["message_count"].type is MetricType.COUNTER


async def test_samples_of_new_series_beyond_limits_are_not_among_those_accepted(api: Any) -> None:
    api.state["limited"] = 1
    answer = await api.post("/api/v1/metrics", {"service": "s", "metrics": {"a": 1, "b": 2}})
    assert (answer.status, answer.json["samples"]) == (201, 1)


async def test_specials_absent_tags_and_absent_time(api: Any) -> None:
    metrics = {"a": "NaN", "b": "+Inf", "c": "-Inf", "d": -0.5}
    await api.post("/api/v1/metrics", {"service": "s", "metrics": metrics, "tags": {"empty": ""}})
    assert (await api.get("/api/v1/metrics")).json["metrics"] == [
        {"service": "s", "timestamp": NOW, "metrics": metrics, "tags": {}}
    ]


@pytest.mark.parametrize(
    "text", ["2023-11-14T22:13:00", "2023-11-14T23:13:00+01:00", "2023-11-14t22:13:00.000z"]
)
async def test_forms_of_time(api: Any, text: str) -> None:
    await api.post("/api/v1/metrics", MESSAGE | {"timestamp": text})
    assert (await api.get("/api/v1/metrics")).json["metrics"][0]["timestamp"] == MESSAGE["timestamp"]


@pytest.mark.parametrize(
    ("change", "field", "got"),
    [
        ({"service": ""}, "service", '""'),
        ({"service": 5}, "service", "5"),
        ({"service": "a\x00b"}, "service", '"a\\u0000b"'),
        ({"service": "x" * 201}, "service", '"' + "x" * 99 + "…"),
        ({"timestamp": "yesterday"}, "timestamp", '"yesterday"'),
        ({"timestamp": 1_700_000_000}, "timestamp", "1700000000"),
        ({"timestamp": "2023-02-30T00:00:00Z"}, "timestamp", '"2023-02-30T00:00:00Z"'),
        ({"timestamp": "2020-01-01T00:00:00Z"}, "timestamp", '"2020-01-01T00:00:00Z"'),
        ({"timestamp": "2023-11-14T22:24:00Z"}, "timestamp", '"2023-11-14T22:24:00Z"'),
        ({"metrics": None}, "metrics", "nothing"),
        ({"metrics": {}}, "metrics", "an object of 0"),
        ({"metrics": [1]}, "metrics", "a list of 1"),
        ({"metrics": {"x": "1"}}, "metrics.x", '"1"'),
        ({"metrics": {"x": True}}, "metrics.x", "true"),
        ({"metrics": {"x": None}}, "metrics.x", "nothing"),
        ({"metrics": {"": 1}}, "metrics.", '""'),
        ({"metrics": {f"m{i}": 1 for i in range(1001)}}, "metrics", "an object of 1001"),
        ({"tags": {"service": "x"}}, "tags.service", 'a tag called "service"'),
        ({"tags": {"__name__": "x"}}, "tags.__name__", 'a tag called "__name__"'),
        ({"tags": {"k": 1}}, "tags.k", "1"),
        ({"tags": {"k": "v" * 2001}}, "tags.k", '"' + "v" * 99 + "…"),
        ({"tags": {f"t{i}": "" for i in range(65)}}, "tags", "an object of 65"),
        ({"tagz": {}}, "tagz", "an unknown field"),
    ],
)
async def test_wrong_field_is_named_and_nothing_is_kept(api: Any, change: Any, field: str, got: str) -> None:
    answer = await api.post("/api/v1/metrics", MESSAGE | change)
    assert answer.status == 422, answer.body
    [problem] = answer.json["problems"]
    assert (problem["field"], problem["got"]) == (field, got)
    assert problem["wanted"]
    batch = await api.post("/api/v1/metrics/batch", {"metrics": [MESSAGE, MESSAGE | change]})
    assert batch.status == 422
    assert batch.json["problems"][0]["field"] == f"metrics[1].{field}"
    assert api.state["accepted"] == 0


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b'{"service": "\xff"}', 400),
        (b"[" * 100_000, 400),
        (b'{"a":' * 100_000, 400),
        (b"[]", 422),
        (b"null", 422),
        (b"{}", 422),
        (b'{"metrics": [null, 1, [], "x"]}', 422),
        (b'{"metrics": []}', 422),
    ],
)
async def test_malformed_bodies(api: Any, body: bytes, status: int) -> None:
    for path in ("/api/v1/metrics", "/api/v1/metrics/batch"):
        answer = await api.post(path, body)
        assert answer.status == status, answer.body
        assert answer.json["error"]


async def test_batch_is_taken_whole(api: Any) -> None:
    messages = [
        {"service": f"service{i}", "timestamp": f"2023-11-14T22:12:{i:02d}Z", "metrics": {"value": float(i)}}
        for i in range(60)
    ]
    answer = await api.post("/api/v1/metrics/batch", {"metrics": messages})
    assert (answer.status, answer.json["messages"], answer.json["samples"]) == (201, 60, 60)
    found = (await api.get("/api/v1/metrics", limit=1000)).json["metrics"]
    assert found == [m | {"tags": {}} for m in reversed(messages)]


async def test_only_json_is_taken_and_bodies_are_bounded(api: Any) -> None:
    answer = await api.call("POST", "/api/v1/metrics", b"{}", {"content-type": "text/plain"})
    assert answer.status == 415
    assert "Content-Type: application/json" in answer.json["error"]
    large = b'{"service": "' + b"x" * (api.context.limits.max_body_bytes + 1)
    assert (await api.post("/api/v1/metrics", large)).status == 413
    headers = {"content-type": "application/json", "content-length": "9" * 30}
    assert (await api.call("POST", "/api/v1/metrics", b"{}", headers)).status == 413


async def test_full_disk_asks_to_come_again(api: Any) -> None:
    api.state["refuse"] = DiskFull("no space left")
    answer = await api.post("/api/v1/metrics", MESSAGE)
    assert answer.status == 503
    assert int(answer.headers["retry-after"]) > 0


async def test_pages_follow_one_another_without_gap_or_repetition(api: Any) -> None:
    hours = [0, 0, 0.01, 0.01, 0.01, 2, 30, 30, 300]
    messages = [
        {"service": f"s{i % 3}", "ago": ago, "metrics": {"a": 1.0, "b": float(i)}, "tags": {"i": str(i)}}
        for i, ago in enumerate(hours)
    ]
    for m in messages:
        for name, value in m["metrics"].items():
            api.write({f"{name}|service={m['service']}|i={m['tags']['i']}": [(m["ago"] * 3600, value)]})
    everything = (await api.get("/api/v1/metrics")).json["metrics"]
    assert sorted(m["tags"]["i"] for m in everything) == [str(i) for i in range(9)]
    assert all(set(m["metrics"]) == {"a", "b"} for m in everything)
    times = [m["timestamp"] for m in everything]
    assert times == sorted(times, reverse=True)
    for size in (1, 2, 4, 9):
        paged, cursor = [], None
        while cursor is not None or not paged:
            extra = {"cursor": cursor} if cursor else {}
            page = (await api.get("/api/v1/metrics", limit=size, **extra)).json
            assert 0 < len(page["metrics"]) <= size
            paged += page["metrics"]
            cursor = page["cursor"]
        assert paged == everything


async def test_filters_and_short_names(api: Any) -> None:
    api.write(
        {
            "cpu_usage_percent|service=system": [(10, 1.0)],
            "cpu_usage_percent|service=other": [(10, 2.0)],
            "cpu_usage|service=other": [(10, 3.0)],
            "up|job=shop": [(10, 1.0)],
        }
    )

    async def found(**parameters: Any) -> list[tuple[str, Any]]:
        answer = await api.get("/api/v1/metrics", **parameters)
        return [(m["service"], m["metrics"]) for m in answer.json["metrics"]]

    assert await found(metric="cpu_usage", service="system") == [("system", {"cpu_usage_percent": 1.0})]
    assert await found(metric="cpu_usage", service="other") == [("other", {"cpu_usage": 3.0})]
    assert await found(metric="up") == [("", {"up": 1.0})]
    assert await found(service="other", start="2023-11-14T22:13:11Z") == []
    assert await found(end=1_699_999_989.999) == []
    assert len(await found(start=1_699_999_990, end=1_699_999_990)) == 3


@pytest.mark.parametrize(
    ("func", "values"),
    [
        ("avg", [2.0, 7.0]),
        ("min", [1.0, 7.0]),
        ("max", [3.0, 7.0]),
        ("sum", [6.0, 7.0]),
        ("count", [3.0, 1.0]),
        ("last", [3.0, 7.0]),
        ("p50", [2.0, 7.0]),
        ("p95", [2.9, 7.0]),
        ("p99", [2.98, 7.0]),
    ],
)
async def test_aggregate_functions_and_bucket_edges(api: Any, func: str, values: list[float]) -> None:
    # Buckets of one minute begin at 22:12:00 (80 s ago) and 22:13:00 (20 s ago): begins belong to them.
    api.write({"response_time_ms|service=b": [(80, 1.0), (50, 2.0), (20.001, 3.0), (20, 7.0)]})
    answer = await api.get(
        "/api/v1/metrics/aggregate", metric="response_time", interval="1m", func=func, start=1_699_999_920
    )
    assert answer.json == {
        "metric": "response_time_ms",
        "func": func,
        "interval": "1m",
        "series": [
            {
                "service": "b",
                "tags": {},
                "buckets": [
                    {"start": "2023-11-14T22:12:00Z", "value": pytest.approx(values[0])},
                    {"start": "2023-11-14T22:13:00Z", "value": pytest.approx(values[1])},
                ],
            }
        ],
    }


async def test_names_with_any_characters_are_aggregated(api: Any) -> None:
    name = 'odd "name\\ {}\té'
    message = {"service": 'a"b\\', "metrics": {'odd "name\\ {}é': 4}, "tags": {"t.x": "y"}}
    assert (await api.post("/api/v1/metrics", message)).status == 201
    answer = await api.get("/api/v1/metrics/aggregate", metric='odd "name\\ {}é', service='a"b\\', func="max")
    assert answer.json["series"][0]["buckets"][0]["value"] == 4
    assert (await api.get("/api/v1/metrics/aggregate", metric=name)).json["series"] == []


@pytest.mark.parametrize(
    ("path", "parameters", "field"),
    [
        ("", {"metrc": "x"}, "metrc"),
        ("/aggregate", {"metric": "x", "limit": "5"}, "limit"),
        ("", {"limit": "0"}, "limit"),
        ("", {"limit": "10001"}, "limit"),
        ("", {"limit": "-1"}, "limit"),
        ("", {"limit": "1.5"}, "limit"),
        ("", {"start": "x"}, "start"),
        ("", {"start": "2", "end": "1"}, "end"),
        ("", {"cursor": "!"}, "cursor"),
        ("", {"cursor": "AAAA"}, "cursor"),
        ("/aggregate", {}, "metric"),
        ("/aggregate", {"metric": "x", "interval": "0s"}, "interval"),
        ("/aggregate", {"metric": "x", "interval": "-5"}, "interval"),
        ("/aggregate", {"metric": "x", "interval": "soon"}, "interval"),
        ("/aggregate", {"metric": "x", "interval": "1ms"}, "interval"),
        ("/aggregate", {"metric": "x", "func": "median"}, "func"),
        ("/aggregate", {"metric": "x", "end": "x"}, "end"),
    ],
)
async def test_wrong_parameters_are_named(api: Any, path: str, parameters: Any, field: str) -> None:
    answer = await api.get(f"/api/v1/metrics{path}", **parameters)
    assert answer.status == 400
    [problem] = answer.json["problems"]
    assert problem["field"] == field
    assert problem["got"]
    assert problem["wanted"]


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False)
    | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["service", "timestamp", "metrics", "tags", "", "x"]), inner, max_size=4
        )
    ),
    max_leaves=8,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(JSON)
async def test_no_document_breaks_the_receiver(api: Any, document: Any) -> None:
    for path in ("/api/v1/metrics", "/api/v1/metrics/batch"):
        answer = await api.post(path, document)
        assert answer.status in (201, 422), answer.body
        if answer.status == 422:
            assert answer.json["problems"]


@pytest.mark.parametrize(
    ("message", "hint"),
    [
        ({"timestamp": "2099-01-01T00:00:00Z"}, "check the sender's clock"),
        ({"timestamp": "1999-01-01T00:00:00Z"}, "older samples are past the retention"),
    ],
)
async def test_hints_fit_the_mistake(api: Any, message: dict[str, str], hint: str) -> None:
    answer = await api.post("/api/v1/metrics", {"service": "s", "metrics": {"x": 1}} | message)
    assert [p["hint"] for p in answer.json["problems"]] == [hint]


async def test_an_empty_batch_is_not_to_be_split(api: Any) -> None:
    answer = await api.post("/api/v1/metrics/batch", {"metrics": []})
    assert [p["hint"] for p in answer.json["problems"]] == [""]


async def test_a_repeated_name_counts_with_its_last_value(api: Any) -> None:
    assert (await api.post("/api/v1/metrics", b'{"service":"s","metrics":{"x":1,"x":2}}')).status == 201
    assert (await api.get("/api/v1/metrics")).json["metrics"][0]["metrics"] == {"x": 2}


@pytest.mark.parametrize("path", ["a b", "U__a_20_b"])
async def test_label_values_under_an_escaped_name(api: Any, path: str) -> None:
    await api.post("/api/v1/metrics", {"service": "s", "metrics": {"x": 1}, "tags": {"a b": "c"}})
    assert (await api.get(f"/api/v1/label/{path}/values")).data == ["c"]
