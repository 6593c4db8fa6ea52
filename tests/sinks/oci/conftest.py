"""The service's double, and sinks that send to it in the name of its user."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from metricsmith.contracts import Context
from metricsmith.delivery.line import Limits, Line
from metricsmith.delivery.quarantine import Quarantine
from metricsmith.journal import Journal, JournalConfig
from metricsmith.sinks.oci.settings import OciConfig
from metricsmith.sinks.oci.sink import OciSink
from metricsmith.testing.clock import FakeClock
from metricsmith.testing.oci_server import OciServer
from metricsmith.testing.oci_signature import ApiKey
from metricsmith.testing.programs import LIMIT_S

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


class Shipping:
    """A journal, a clock that a test moves, and a line of delivery from there to the service."""

    def __init__(self, folder: Path, config: OciConfig, here: Any) -> None:
        self.clock, self.here = FakeClock(), here
        self.context = Context("oci", here.series, here.telemetry, self.clock)
        journal = JournalConfig(sync="never")
        self.journal = Journal(folder / "journal", here.series, here.telemetry, self.clock, journal)
        self._config, self.quarantine = config, Quarantine(folder / "quarantine", here.series, self.clock)
        self.line: Line | None = None

    def start(self, batch_size: int = 400, workers: int = 2, timeout_ms: int = 60_000) -> None:
        """Begin to ship, as each start of an agent does."""
        end = lambda: self.journal.next_sequence  # noqa: E731
        reader, limits = self.journal.reader("oci"), Limits(batch_size, 0, workers)
        sink = OciSink(self._config.model_copy(update={"timeout": timeout_ms}), self.context)
        self.line = Line("oci", sink, reader, end, self.context, limits, self.quarantine)
        self.line.start()

    async def caught_up(self) -> None:
        """Return once all is delivered or given up; time flies meanwhile."""
        assert self.line is not None
        async with asyncio.timeout(LIMIT_S):
            while self.line.status().behind:
                await asyncio.sleep(0.002)
                self.clock.advance(0.2)

    def dropped(self, reason: str) -> float:
        name = "metricsmith_sink_dropped_samples_total"
        return self.here.telemetry.value(name, sink="oci", reason=reason)

    async def stop(self) -> None:
        if self.line is not None:
            await self.line.stop()
            self.line = None


@pytest.fixture
async def shipping(
    oci: OciServer, settings: Callable[..., OciConfig], here: Any, tmp_path: Path
) -> AsyncIterator[Shipping]:
    found = Shipping(tmp_path, settings(), here)
    oci.now_ms = found.clock.now_ms
    yield found
    await found.stop()
    await found.journal.close()
