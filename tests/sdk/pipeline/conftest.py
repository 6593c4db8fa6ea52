from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from metricsmith.sdk import Registry
from metricsmith.sdk.pipeline import MetricsReporter
from metricsmith.sdk.settings import ExportSettings
from metricsmith.testing.clock import FakeClock

EXAMPLE = Path(__file__).parents[3] / "examples" / "pipeline"


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Let the example be imported as `dataflow`; return where it lies."""
    monkeypatch.syspath_prepend(str(EXAMPLE))
    yield EXAMPLE
    for name in [name for name in sys.modules if name.partition(".")[0] == "dataflow"]:
        del sys.modules[name]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def registry() -> Registry:
    return Registry()


@pytest.fixture
def settings() -> ExportSettings:
    """Settings that serve nothing."""
    return ExportSettings(prometheus_enabled=False, status_page_enabled=False)


@pytest.fixture
def reporter(registry: Registry, clock: FakeClock, settings: ExportSettings) -> MetricsReporter:
    """A reporter with a registry of its own, which exports nothing."""
    return MetricsReporter(settings, registry, clock=clock)


@pytest.fixture(scope="session")
def document() -> str:
    """The document; it lies beside the repository."""
    found = sorted((Path(__file__).parents[4] / "shared" / "seeds").glob("004_*.txt"))
    if not found:
        pytest.skip("the seed documents are not beside this clone")
    return found[0].read_text(encoding="utf-8")
