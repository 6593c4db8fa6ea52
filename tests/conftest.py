"""Fixtures that every test may use: real servers (skipped locally when missing, failing in CI), budgets."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from metricsmith.testing import services

settings.register_profile("test", max_examples=60, deadline=None, derandomize=True, print_blob=True)
settings.register_profile(
    "soak", max_examples=5000, deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile(os.environ.get("METRICSMITH_TEST_PROFILE", "test"))

StartServer = Callable[..., AbstractContextManager[services.Server]]


def _server(start: StartServer, *args: object) -> Iterator[services.Server]:
    try:
        context = start(*args)
        server = context.__enter__()
    except services.ServiceMissing as missing:
        if os.environ.get("CI"):
            pytest.fail(str(missing))
        pytest.skip(str(missing))
    yield server
    context.__exit__(None, None, None)


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    """Undo what an agent within the test process sets up."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level


@pytest.fixture(scope="session")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[services.Server]:
    """A real Prometheus with an empty configuration and the remote-write receiver on."""
    yield from _server(services.prometheus, tmp_path_factory.mktemp("prometheus"))


@pytest.fixture(scope="session")
def node_exporter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[services.Server]:
    """A real node exporter."""
    yield from _server(services.node_exporter, tmp_path_factory.mktemp("node-exporter"))


@pytest.fixture
def alertmanager(tmp_path: Path) -> Iterator[services.Server]:
    """A real Alertmanager that has not heard of any alert."""
    yield from _server(services.alertmanager, tmp_path / "alertmanager")


@pytest.fixture(scope="session")
def promtool() -> Path:
    """The path of Prometheus' own promtool."""
    try:
        return services.program("promtool")
    except services.ServiceMissing as missing:
        if os.environ.get("CI"):
            pytest.fail(str(missing))
        pytest.skip(str(missing))
