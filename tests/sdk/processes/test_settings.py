"""What the environment says, and what it cannot break."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from metricsmith.sdk import processes

Run = Callable[[str], str]
PROGRAM = """
import threading
from metricsmith.sdk import processes
sharing = processes.share()
print(processes.flush(), sharing.address, sharing._identity["service"], threading.active_count())
"""


def test_disabled(run: Run, environment: dict[str, str], address: str) -> None:
    """Nothing is started, and what waits for a flush goes on."""
    environment["METRICSMITH_ENABLED"] = "no"
    assert run(PROGRAM) == f"True {address} program 1\n"


def test_an_address_that_is_none(run: Run, environment: dict[str, str]) -> None:
    environment["METRICSMITH_PROCESSES_ADDRESS"] = "tcp://0.0.0.0:1"
    environment["METRICSMITH_SERVICE_NAME"] = "shop"
    flushed, address, service, threads = run(PROGRAM).split()
    assert (address, service, threads) == (f"/tmp/metricsmith-{os.getuid()}/processes.sock", "shop", "2")
    assert flushed in ("True", "False")  # there may be an agent on this machine


@pytest.mark.parametrize("interval_s", [0, 0.01, 3601, float("nan")])
def test_intervals(interval_s: float) -> None:
    with pytest.raises(ValueError, match="wanted seconds"):
        processes.share(interval_s=interval_s)
