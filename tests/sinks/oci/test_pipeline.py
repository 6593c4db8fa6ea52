"""The documented exporter as its one configuration file: from a shop's page to the service, every value."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from metricsmith.config.load import load_text
from metricsmith.testing.oci_server import OciServer
from metricsmith.testing.programs import AgentProgram
from metricsmith.testing.targets import Target, running_target

EXAMPLE = Path(__file__).parents[3] / "examples" / "oci.yaml"
FAST = "server: {listen: '127.0.0.1:@port'}\nstorage: {path: '@data'}\nperformance: {flush_interval: 100ms}\n"

PAGE = """\
# TYPE http_requests_total counter
http_requests_total{method="GET",route="/",status_code="200"} %(requests)g
http_requests_total{method="GET",route="/cart",status_code="500"} 3
# TYPE http_request_duration_seconds histogram
http_request_duration_seconds_bucket{route="/",le="0.5"} %(count_a)g
http_request_duration_seconds_bucket{route="/",le="+Inf"} %(count_a)g
http_request_duration_seconds_sum{route="/"} %(sum_a)g
http_request_duration_seconds_count{route="/"} %(count_a)g
http_request_duration_seconds_bucket{route="/cart",le="0.5"} 0
http_request_duration_seconds_bucket{route="/cart",le="+Inf"} %(count_b)g
http_request_duration_seconds_sum{route="/cart"} %(sum_b)g
http_request_duration_seconds_count{route="/cart"} %(count_b)g
# TYPE external_call_latency_ms summary
external_call_latency_ms{service="pay",quantile="0.5"} 12
external_call_latency_ms_sum{service="pay"} %(sum_c)g
external_call_latency_ms_count{service="pay"} %(count_c)g
# TYPE orders_created_total counter
orders_created_total %(orders)g
# TYPE queue_sum gauge
queue_sum{queue="mail"} 4
# TYPE simulated_latency_ms gauge
simulated_latency_ms NaN
"""
FIRST = {"requests": 100, "sum_a": 10, "count_a": 5, "sum_b": 100, "count_b": 1, "sum_c": 30, "count_c": 3}
THEN = {"requests": 160, "sum_a": 16, "count_a": 8, "sum_b": 140, "count_b": 2, "sum_c": 30, "count_c": 3}


def _page(orders: int = 7, **numbers: float) -> str:
    return PAGE % {"orders": orders, **numbers}


@pytest.fixture
def shop() -> Iterator[Target]:
    with running_target(_page(**FIRST)) as target:
        yield target


@pytest.fixture
def agent(oci: OciServer, shop: Target, tmp_path: Path) -> Iterator[AgentProgram]:
    """An agent with the example's configuration, pointed at the doubles, and faster."""
    text = FAST + EXAMPLE.read_text()
    for documented, here in (
        ("http://localhost:3000/metrics", shop.url),
        ("interval: 30s", "interval: 500ms"),
        ("~/.oci/config", str(oci.key.write_config(tmp_path))),
        ("endpoint: null ", f"endpoint: {oci.url} "),
    ):
        assert documented in text, "the example is as documented"
        text = text.replace(documented, here)
    braces = text.replace("{", "{{").replace("}", "}}").replace("@port", "{port}").replace("@data", "{data}")
    program = AgentProgram(tmp_path, braces)
    yield program
    if program.process is not None:
        program.kill()


def _got(oci: OciServer) -> dict[tuple[str, str], set[float]]:
    """Return the values of each stream, by name and the labels that the shop gave."""
    found: dict[tuple[str, str], set[float]] = {}
    for (name, dimensions), values in oci.streams().items():
        own = [f"{key}={value}" for key, value in dimensions if key not in ("job", "instance")]
        found.setdefault((name, ",".join(own)), set()).update(values.values())
    return found


def _until(oci: OciServer, name: str, labels: str, value: float) -> None:
    oci.wait_for(lambda: value in _got(oci).get((name, labels), ()))


AS_THEY_ARE = {
    ("http_requests_total", "method=GET,route=/,status_code=200"): {100.0, 160.0},
    ("http_requests_total", "method=GET,route=/cart,status_code=500"): {3.0},
    ("http_request_duration_seconds_count", "route=/"): {5.0, 8.0},
    ("http_request_duration_seconds_count", "route=/cart"): {1.0, 2.0},
    ("external_call_latency_ms", "quantile=0.5,service=pay"): {12.0},
    ("external_call_latency_ms_count", "service=pay"): {3.0},
    ("orders_created_total", ""): {7.0},
    ("queue_sum", "queue=mail"): {4.0},
}


def test_every_value_arrives_and_averages_are_of_now(
    oci: OciServer, shop: Target, agent: AgentProgram
) -> None:
    agent.start()
    _until(oci, "orders_created_total", "", 7)
    shop.text = _page(**THEN)
    _until(oci, "http_request_duration_seconds_avg", "route=/cart", 40)
    got = _got(oci)
    assert 1 in got.pop(("up", ""))
    assert got == AS_THEY_ARE | {
        ("http_request_duration_seconds_avg", "route=/"): {2.0},
        ("http_request_duration_seconds_avg", "route=/cart"): {40.0},
    }
    assert {(p.namespace, p.compartment) for p in oci.points} == {
        ("bharatmart", "ocid1.compartment.oc1..example")
    }
    assert oci.problems == [] and oci.largest_call <= 50
    assert agent.stop() == 0


def test_averages_of_all_time_are_those_of_each_label_set_and_counters_go_as_growth_where_asked_for(
    oci: OciServer, shop: Target, agent: AgentProgram
) -> None:
    # The script that this replaces divides all sums by the first count: 50 where 1 is right.
    numbers = FIRST | {"sum_a": 1, "count_a": 1, "sum_b": 50, "count_b": 50}
    shop.text = _page(**numbers)
    settings = "average: lifetime\n    quantiles: [0.5]\n    counters: delta"
    agent.config = agent.config.replace("average: delta", settings)
    agent.start()
    _until(oci, "http_request_duration_seconds_avg", "route=/cart", 1)
    shop.text = _page(orders=12, **numbers)
    _until(oci, "orders_created_delta", "", 5)
    got = _got(oci)
    assert got["http_request_duration_seconds_avg", "route=/"] == {1.0}
    assert got["http_request_duration_seconds_avg", "route=/cart"] == {1.0}
    assert got["external_call_latency_ms_avg", "service=pay"] == {10.0}
    assert got["http_request_duration_seconds_p50", "route=/"] == {0.25}
    assert got["orders_created_delta", ""] <= {0.0, 5.0}
    assert ("orders_created_total", "") not in got


@pytest.mark.parametrize("line", ["quantiles: [0.5, 0.9]", "counters: rate", "auth: instance_principal"])
def test_the_example_takes_the_other_settings(line: str) -> None:
    (part,) = load_text(
        EXAMPLE.read_text().replace("    average: delta", f"    {line}\n    average: delta")
    ).of("sinks")
    config: Any = part.config
    assert config.namespace == "bharatmart"
