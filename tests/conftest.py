"""Fixtures that every test may use: real servers (skipped locally when missing, failing in CI), budgets."""

from __future__ import annotations

import gc
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, settings

from metricsmith.testing import kafka as real_kafka
from metricsmith.testing import services

settings.register_profile("test", max_examples=60, deadline=None, derandomize=True, print_blob=True)
settings.register_profile(
    "soak", max_examples=5000, deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile(os.environ.get("METRICSMITH_TEST_PROFILE", "test"))

# Programs start from compiled modules, as installed ones do, also where the tree is kept free of these.
if os.environ.pop("PYTHONDONTWRITEBYTECODE", ""):
    os.environ["PYTHONPYCACHEPREFIX"] = str(Path(__file__).parents[1] / ".cache" / "pycache")

gc.disable()  # until all tests are known: they stay, and looking for garbage among them costs a quarter more

KAFKA_FIXTURES = {"kafka", "kafka_cluster"}
Running = TypeVar("Running")


def _found(get: Callable[[], Running]) -> Running:
    try:
        return get()
    except services.ServiceMissing as missing:
        if os.environ.get("CI"):
            pytest.fail(str(missing))
        pytest.skip(str(missing))


def _server(start: Callable[..., AbstractContextManager[Running]], *args: object) -> Iterator[Running]:
    context = start(*args)
    yield _found(context.__enter__)
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
def victoria_metrics(tmp_path_factory: pytest.TempPathFactory) -> Iterator[services.Server]:
    """A real VictoriaMetrics without data."""
    yield from _server(services.victoria_metrics, tmp_path_factory.mktemp("victoria-metrics"))


@pytest.fixture(scope="session")
def influxdb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[services.Server]:
    """A real InfluxDB 1.6 without databases; name one after your test."""
    yield from _server(services.influxdb, tmp_path_factory.mktemp("influxdb"))


@pytest.fixture(scope="session")
def node_exporter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[services.Server]:
    """A real node exporter."""
    yield from _server(services.node_exporter, tmp_path_factory.mktemp("node-exporter"))


@pytest.fixture
def alertmanager(tmp_path: Path) -> Iterator[services.Server]:
    """A real Alertmanager that has not heard of any alert."""
    yield from _server(services.alertmanager, tmp_path / "alertmanager")


def pytest_collection_finish() -> None:
    """Collect garbage again, but no more what stays: all tests and modules, gone through each time."""
    gc.enable()
    gc.set_threshold(700, 10, 10)  # Python's own, not those of commands: what a test leaves is found soon
    gc.collect()
    gc.freeze()


def pytest_unconfigure() -> None:
    """Let libraries end in order: they complain of what is never collected."""
    gc.unfreeze()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let tests of Kafka pass over sockets that its client leaves open: docs/decisions/0004."""
    for item in (item for item in items if isinstance(item, pytest.Function)):
        if KAFKA_FIXTURES & set(item.fixturenames):
            item.add_marker(pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"))
            item.fixturenames.insert(0, "collect_sockets")


@pytest.fixture
def collect_sockets() -> Iterator[None]:
    """Collect what the test left, lest a later test be blamed."""
    yield
    gc.collect()


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[real_kafka.Cluster]:
    """A real Kafka of one broker with every kind of listener; name topics and groups after your test."""
    yield from _server(real_kafka.cluster, tmp_path_factory.mktemp("kafka"), 1, real_kafka.ALL)


@pytest.fixture(scope="module")
def kafka_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[real_kafka.Cluster]:
    """A real Kafka of three brokers, to be killed and restarted; leave all three running.

    It ends with the file: three brokers that idle beside all other tests cost more than to start them again.
    """
    yield from _server(real_kafka.cluster, tmp_path_factory.mktemp("kafka-cluster"), 3)


@pytest.fixture
def start_alertmanager(tmp_path: Path) -> Callable[[], AbstractContextManager[services.Server]]:
    """Start a real Alertmanager, on the same port with the same data each time."""
    port, folder = services.free_port(), tmp_path / "alertmanager"
    _program("prometheus-alertmanager")
    return lambda: services.alertmanager(folder, port=port)


@pytest.fixture(scope="session")
def promtool() -> Path:
    """The path of Prometheus' own promtool."""
    return _program("promtool")


@pytest.fixture(scope="session")
def kcat() -> list[str]:
    """The start of a kcat command line."""
    return _found(real_kafka.kcat)


def _program(name: str) -> Path:
    return _found(lambda: services.program(name))


@pytest.fixture
def seed_002() -> str:
    """The document whose configuration file must load unchanged; it lies beside the repository."""
    folder = Path(__file__).parents[2] / "shared" / "seeds"
    found = sorted(folder.glob("002_*.txt"))
    if not found:
        pytest.skip("the seed documents are not beside this clone")
    return found[0].read_text(encoding="utf-8")
