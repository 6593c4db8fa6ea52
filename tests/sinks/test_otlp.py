"""What is sent by OTLP is what OpenTelemetry's own messages read, and what another agent had."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from metricsmith.errors import Rejected, RetryLater, TooLarge
from metricsmith.model.metadata import Metadata, MetricType
from metricsmith.sinks.otlp.sink import OtlpSink
from metricsmith.testing.programs import AgentProgram, eventually
from metricsmith.wire.otlp.answers import export_response, status

NOW_MS = 1_700_000_000_123
NOW_NS = NOW_MS * 1_000_000
MINE = {"job": "shop", "instance": "host:1"}
INF = float("inf")


def _sink(here: Any, url: str = "http://far/", **settings: Any) -> OtlpSink:
    return OtlpSink(OtlpSink.Config(url=url, **settings), here.context)


def _read(body: bytes) -> Any:
    message = ExportMetricsServiceRequest()
    message.ParseFromString(body)
    return message


def _texts(attributes: Any) -> dict[str, str]:
    return {each.key: each.value.string_value for each in attributes}


def _metrics(message: Any) -> dict[str, Any]:
    return {m.name: m for r in message.resource_metrics for s in r.scope_metrics for m in s.metrics}


def _histogram(
    name: str, counts: dict[str, float], sum: float, **labels: str
) -> dict[str, tuple[Any, float]]:
    found: dict[str, tuple[Any, float]] = {}
    for le, count in counts.items():
        found[f"b{le}"] = ({"__name__": f"{name}_bucket", "le": le, **labels}, count)
    found["c"] = ({"__name__": f"{name}_count", **labels}, max(counts.values(), default=0))
    found["s"] = ({"__name__": f"{name}_sum", **labels}, sum)
    return found


def test_each_type_is_what_opentelemetry_has_for_it(here: Any) -> None:
    sink = _sink(here, resource_attributes={"env": "test"})
    took = _histogram("took_seconds", {"+Inf": 7, "0.1": 2, "1": 5}, 3.5, path="/a", **MINE)
    series = [
        ({"__name__": "jobs_total", "kind": "x", **MINE}, 5.0),
        ({"__name__": "jobs_created", "kind": "x", **MINE}, 1_600_000_000.5),
        ({"__name__": "depth", **MINE}, -1.5),
        *took.values(),
        ({"__name__": "size", "quantile": "0.9", **MINE}, 9.0),
        ({"__name__": "size_count", **MINE}, 3.0),
        ({"__name__": "size_sum", **MINE}, 12.0),
        ({"__name__": "untold"}, float("nan")),
        ({"__name__": "untold_total"}, 1.0),
    ]
    known = {
        "jobs_total": Metadata(MetricType.COUNTER, "", "Jobs done."),
        "depth": Metadata(MetricType.GAUGE, "jobs"),
        "took_seconds": Metadata(MetricType.HISTOGRAM, "seconds"),
        "size": Metadata(MetricType.SUMMARY),
    }
    layout = here.layout([labels for labels, _ in series], **known)
    body, odd = sink.body(here.delivery(here.batch(layout, NOW_MS, [value for _, value in series])))
    assert not odd
    message = _read(body)
    resources = [_texts(each.resource.attributes) for each in message.resource_metrics]
    assert {"service.name": "shop", "service.instance.id": "host:1", "env": "test"} in resources
    assert {"env": "test"} in resources
    assert message.resource_metrics[0].scope_metrics[0].scope.name == "metricsmith"
    found = _metrics(message)
    jobs, depth = found["jobs_total"], found["depth"]
    assert (
        jobs.sum.is_monotonic and jobs.sum.aggregation_temporality == 2 and jobs.description == "Jobs done."
    )
    (point,) = jobs.sum.data_points
    assert (point.as_double, point.time_unix_nano, point.start_time_unix_nano) == (
        5,
        NOW_NS,
        16 * 10**17 + 5 * 10**8,
    )
    assert _texts(point.attributes) == {"kind": "x"}
    assert (depth.gauge.data_points[0].as_double, depth.unit) == (-1.5, "{jobs}")
    (point,) = found["took_seconds"].histogram.data_points
    assert (found["took_seconds"].unit, found["took_seconds"].histogram.aggregation_temporality) == ("s", 2)
    assert (list(point.explicit_bounds), list(point.bucket_counts)) == ([0.1, 1], [2, 3, 2])
    assert (point.count, point.sum, point.time_unix_nano) == (7, 3.5, NOW_NS)
    assert _texts(point.attributes) == {"path": "/a"}
    (point,) = found["size"].summary.data_points
    assert (point.count, point.sum, [(q.quantile, q.value) for q in point.quantile_values]) == (
        3,
        12,
        [(0.9, 9)],
    )
    assert found["untold"].gauge.data_points[0].as_double != found["untold"].gauge.data_points[0].as_double
    assert set(found) == {
        "jobs_total",
        "depth",
        "took_seconds",
        "size",
        "untold",
        "untold_total",
    }
    assert found["untold_total"].HasField("sum")


@pytest.mark.parametrize("counts", [{"1": 3}, {"1": 3, "x": 4, "+Inf": 5}, {}])
def test_what_is_no_whole_histogram_is_gauges(here: Any, counts: dict[str, float]) -> None:
    parts = _histogram("h", counts, 1, **MINE)
    layout = here.layout([labels for labels, _ in parts.values()], h=Metadata(MetricType.HISTOGRAM))
    values = [value for _, value in parts.values()]
    body, odd = _sink(here).body(here.delivery(here.batch(layout, NOW_MS, values)))
    found = _metrics(_read(body))
    points = [p for metric in found.values() for p in metric.gauge.data_points]
    assert sorted(p.as_double for p in points) == sorted(values) and not odd


def test_counts_that_are_none_are_refused_and_the_rest_is_sent(here: Any) -> None:
    good, bad = (
        {**_histogram("h", counts, 1, n=n)}
        for n, counts in (("g", {"1": 1.0, "+Inf": 2.0}), ("b", {"1": 3.0, "+Inf": 2.0}))
    )
    series = [*good.values(), *bad.values(), ({"__name__": "up"}, 1)]
    layout = here.layout([labels for labels, _ in series], h=Metadata(MetricType.HISTOGRAM))
    body, odd = _sink(here).body(here.delivery(here.batch(layout, NOW_MS, [v for _, v in series])))
    assert odd == set(layout.ids[4:8].tolist())
    found = _metrics(_read(body))
    assert [_texts(p.attributes) for p in found["h"].histogram.data_points] == [{"n": "g"}] and "up" in found


def test_the_end_of_a_series_is_a_point_without_a_value(here: Any) -> None:
    parts = _histogram("h", {"1": 1, "+Inf": 2}, 1)
    layout = here.layout([*(labels for labels, _ in parts.values()), {"__name__": "a"}, {"__name__": "b"}])
    types = here.layout(
        layout_labels := [labels for labels, _ in parts.values()], h=Metadata(MetricType.HISTOGRAM)
    )
    sink = _sink(here)
    sink.body(here.delivery(here.batch(types, NOW_MS, [1, 2, 2, 1])))  # types are told once
    stale = [True] * len(layout_labels) + [True, False]
    found = _metrics(
        _read(sink.body(here.delivery(here.batch(layout, NOW_MS, [float("nan")] * 5 + [1], stale)))[0])
    )
    assert found["h"].histogram.data_points[0].flags == 1
    assert [p.flags for p in found["a"].gauge.data_points] == [1]
    assert [p.flags for p in found["b"].gauge.data_points] == [0]


@given(
    samples=st.lists(
        st.tuples(st.integers(0, 5), st.integers(0, 2**42), st.floats(allow_nan=False)),
        min_size=1,
        max_size=30,
    ),
    stream=st.booleans(),
)
def test_any_samples_are_read_as_they_were(
    new_here: Any, samples: list[tuple[int, int, float]], stream: bool
) -> None:
    here = new_here()
    if stream:
        samples = list({s: (s, samples[0][1], value) for s, _, value in samples}.values())
    labels = [{"__name__": f"m{s}", "l": "ü" * 60 * s, "job": f"j{s % 2}"} for s, *_ in samples]
    known = {f"m{s}": Metadata(MetricType.COUNTER) for s in range(3)}
    layout = here.layout(labels, "s" if stream else None, **known)
    times: Any = samples[0][1] if stream else [t for _, t, _ in samples]
    body, odd = _sink(here).body(here.delivery(here.batch(layout, times, [value for *_, value in samples])))
    assert not odd
    found = []
    for resource in _read(body).resource_metrics:
        job = _texts(resource.resource.attributes)["service.name"]
        for metric in resource.scope_metrics[0].metrics:
            number = int(metric.name[1])
            assert metric.HasField("sum") is (number < 3)
            for point in (metric.sum if number < 3 else metric.gauge).data_points:
                assert _texts(point.attributes).get("l", "") == "ü" * 60 * number and job == f"j{number % 2}"
                found.append((number, point.time_unix_nano, repr(point.as_double)))
    assert sorted(found) == sorted((s, t * 1_000_000, repr(value)) for s, t, value in samples)


def _partial(count: int, message: str) -> Callable[[], web.Response]:
    return lambda: web.Response(body=export_response(count, message, as_json=False))


async def test_points_that_were_not_taken_are_told(
    here: Any, peer: Any, closing: Callable[[Any], Any]
) -> None:
    sink = closing(_sink(here, peer.url, headers={"X-Key": "secret"}))
    delivery = here.delivery(here.batch(here.layout([{"__name__": "a"}]), NOW_MS, [1]))
    peer.answer = _partial(1, "too old")
    await sink.send(delivery)
    assert here.telemetry.value("metricsmith_otlp_rejected_points_total", sink="far") == 1
    assert sink.remark() == "too old"
    peer.answer = _partial(0, "")
    await sink.send(delivery)
    assert here.telemetry.value("metricsmith_otlp_rejected_points_total", sink="far") == 1
    assert sink.remark() == ""
    peer.answer = lambda: web.Response(body=b"<html>")
    await sink.send(delivery)
    first = peer.headers[0]
    assert (first["Content-Type"], first["Content-Encoding"], first["X-Key"]) == (
        "application/x-protobuf",
        "gzip",
        "secret",
    )
    assert "secret" not in repr(sink._config) + str(sink._config.model_dump(mode="json"))


@pytest.mark.parametrize(
    ("code", "error", "said"),
    [
        (429, RetryLater, "429"),
        (503, RetryLater, "503"),
        (404, RetryLater, "check the address"),
        (413, TooLarge, "413 why"),
        (400, Rejected, "^400 why$"),
    ],
)
async def test_what_an_answer_means(
    here: Any, peer: Any, closing: Callable[[Any], Any], code: int, error: type[Exception], said: str
) -> None:
    answer = {"Content-Type": "application/x-protobuf", "Retry-After": "7"}
    peer.answer = lambda: web.Response(status=code, body=status(3, "why", as_json=False), headers=answer)
    sink = closing(_sink(here, peer.url))
    with pytest.raises(error, match=said) as caught:
        await sink.send(here.delivery(here.batch(here.layout([{"__name__": "a"}]), NOW_MS, [1])))
    if code in (429, 503):
        assert caught.value.after_s == 7  # type: ignore[attr-defined]


def test_parts_of_a_point_have_one_group(here: Any) -> None:
    parts = _histogram("h", {"1": 1, "+Inf": 2}, 1, **MINE)
    labels = [labels for labels, _ in parts.values()]
    others = [{"__name__": "h_total", **MINE}, {"__name__": "h_created", **MINE}, {"__name__": "g"}]
    kinds = {"h": Metadata(MetricType.HISTOGRAM), "h_total": Metadata(MetricType.COUNTER)}
    sink = _sink(here)
    groups = sink.groups(here.layout(labels + others, **kinds)).tolist()
    assert len(set(groups[:4])) == 1 and groups[4] == groups[5] and groups[6] not in groups[:6]
    assert sink.groups(here.layout(labels[::-1])).tolist() == groups[3::-1]  # its type was told before


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Another metricsmith."""
    program = AgentProgram(
        tmp_path_factory.mktemp("agent"),
        'server: {{listen: "127.0.0.1:{port}"}}\nstorage: {{path: "{data}"}}\n',
    )
    program.start()
    yield program
    program.stop()


async def test_another_agent_has_what_was_sent(
    here: Any, closing: Callable[[Any], Any], agent: AgentProgram
) -> None:
    sink = closing(_sink(here, f"{agent.url}/v1/metrics"))
    now_ms = here.context.clock.now_ms() - 60_000
    series = [
        ({"__name__": "ms_jobs_total", "kind": "x", **MINE}, 5.0),
        ({"__name__": "ms_depth_ratio", **MINE}, 0.5),
        *_histogram("ms_took_seconds", {"0.1": 2, "1": 5, "+Inf": 7}, 3.5, **MINE).values(),
        ({"__name__": "ms_size_bytes", "quantile": "0.9", **MINE}, 9.0),
        ({"__name__": "ms_size_bytes_count", **MINE}, 3.0),
        ({"__name__": "ms_size_bytes_sum", **MINE}, 12.0),
    ]
    known = {
        "ms_jobs_total": Metadata(MetricType.COUNTER, "", "Jobs done."),
        "ms_depth_ratio": Metadata(MetricType.GAUGE, "ratio"),
        "ms_took_seconds": Metadata(MetricType.HISTOGRAM, "seconds"),
        "ms_size_bytes": Metadata(MetricType.SUMMARY, "bytes"),
    }
    layout = here.layout([labels for labels, _ in series], **known)
    await sink.send(here.delivery(here.batch(layout, now_ms, [value for _, value in series])))
    wanted = sorted((sorted(labels.items()), value) for labels, value in series)

    def read() -> list[Any]:
        found = agent.get("/api/v1/query", query='{__name__=~"ms_.*"}')["data"]["result"]
        return sorted((sorted(each["metric"].items()), float(each["value"][1])) for each in found)

    eventually(lambda: read() == wanted)
    told = agent.get("/api/v1/metadata", metric="ms_took_seconds")["data"]["ms_took_seconds"]
    assert told == [{"type": "histogram", "help": "", "unit": "seconds"}]
