"""The service's double, and sinks that send to it in the name of its user."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from metricsmith.sinks.oci.settings import OciConfig
from metricsmith.sinks.oci.sink import OciSink
from metricsmith.testing.oci_server import OciServer
from metricsmith.testing.oci_signature import ApiKey

COMPARTMENT = "ocid1.compartment.oc1..example"


@pytest.fixture(scope="session")
def api_key() -> ApiKey:
    """The key of a user."""
    return ApiKey.make()


@pytest.fixture
def oci(api_key: ApiKey) -> Iterator[OciServer]:
    """The service, on loopback, without a limit on calls."""
    with OciServer(api_key, calls_per_second=None) as server:
        yield server


@pytest.fixture
def settings(oci: OciServer, tmp_path: Path) -> Callable[..., OciConfig]:
    """Return settings of a sink to the service; more may be given."""
    file = oci.key.write_config(tmp_path)

    def make(**more: Any) -> OciConfig:
        given = {"namespace": "bharatmart", "compartment_id": COMPARTMENT, "endpoint": oci.url}
        return OciConfig.model_validate(given | {"config_file": str(file), "instance": "here"} | more)

    return make


@pytest.fixture
def sink(settings: Any, here: Any, closing: Any) -> Callable[..., OciSink]:
    """Return a sink to the service."""
    return lambda **more: closing(OciSink(settings(**more), here.context))
