"""The collector's pipeline is whole, and ends where the agent listens for OTLP."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from metricsmith.api.otlp import PATHS
from metricsmith.integration.generate.configured import Configured
from metricsmith.integration.generate.otel_collector import MAIN, otel_collector

Configure = Callable[..., Configured]
KINDS = ("receivers", "processors", "exporters")


def read(configured: Configured) -> Any:
    return yaml.safe_load(otel_collector(configured).files[MAIN])


def test_pipelines_are_made_of_what_is_declared_and_nothing_is_left_over(configure: Configure) -> None:
    """The collector refuses to start otherwise, or warns."""
    found = read(configure("{}"))
    assert found.keys() == {"extensions", *KINDS, "service"}
    service = found["service"]
    assert set(service["extensions"]) == found["extensions"].keys()
    (pipeline,) = service["pipelines"].values()
    for kind in KINDS:
        assert set(pipeline[kind]) == found[kind].keys()
    assert pipeline["processors"][0] == "memory_limiter" and pipeline["processors"][-1] == "batch"
    exporter = found["exporters"]["otlphttp"]
    assert exporter["sending_queue"]["storage"] in found["extensions"]


@pytest.mark.parametrize(
    ("text", "expected", "notes"),
    [
        ("{}", "http://127.0.0.1:9480", 1),
        ("rules: {external_url: 'https://u:pw@agent.example/m/'}", "https://agent.example/m", 0),
        ("rules: {external_url: 'http://agent.example:9480'}", "http://agent.example:9480", 0),
    ],
)
def test_it_ends_at_the_agent(configure: Configure, text: str, expected: str, notes: int) -> None:
    endpoint = read(configure(text))["exporters"]["otlphttp"]["endpoint"]
    assert endpoint == expected
    # The exporter puts the signal's path behind its endpoint.
    path = urlsplit(endpoint + "/v1/metrics").path.removeprefix("/m")
    assert path in PATHS
    assert len(otel_collector(configure(text)).notes) == notes


def test_it_listens_on_this_machine_alone(configure: Configure) -> None:
    found = read(configure("{}"))
    addresses = [p["endpoint"] for p in found["receivers"]["otlp"]["protocols"].values()]
    assert {address.partition(":")[0] for address in addresses} == {"127.0.0.1"}
