"""A database of its own for each test: the sink writes it, the store reads it."""

from __future__ import annotations

import asyncio
import itertools
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from metricsmith import registry
from metricsmith.contracts import Context, Delivery
from metricsmith.errors import Rejected
from metricsmith.model.batch import Batch, Layout
from metricsmith.model.clock import SystemClock
from metricsmith.model.labels import encode_labels
from metricsmith.model.series import SeriesTable
from metricsmith.model.telemetry import Telemetry
from metricsmith.store.influxdb.store import InfluxdbStore
from metricsmith.testing.services import Server

Sample = tuple[dict[str, str], int, float]
_numbers = itertools.count()


class Kept:
    """An InfluxDB as a store."""

    def __init__(self, url: str, **settings: Any) -> None:
        settings.setdefault("database", f"kept_{next(_numbers)}")
        settings.setdefault("precision", "ms")
        self.database: str = settings["database"]
        self._url = url
        self.table, self.telemetry = SeriesTable(), Telemetry()
        self.context = Context("storage", self.table, self.telemetry, SystemClock())
        self.store = InfluxdbStore(InfluxdbStore.Config(url=url, **settings), self.context)

    def drop(self) -> None:
        """Remove the database, and close."""
        self.store.close()
        form = urllib.parse.urlencode({"q": f'DROP DATABASE "{self.database}"'}).encode()
        urllib.request.urlopen(f"{self._url}/query", form, timeout=60).close()

    def write(
        self, samples: Sequence[Sample], ended: Sequence[tuple[dict[str, str], int]] = ()
    ) -> set[bytes]:
        """Write samples and ends of series; return the keys of those that were refused."""
        rows = [*samples, *((labels, time_ms, float("nan")) for labels, time_ms in ended)]
        ids = self.table.intern_many(encode_labels(labels) for labels, *_ in rows)
        times = np.array([time_ms for _, time_ms, _ in rows], dtype=np.int64)
        stale = np.arange(len(rows)) >= len(samples)
        values = np.array([value for *_, value in rows], dtype=np.float64)
        return self.send(Batch(Layout(ids), times, values, stale))

    def send(self, batch: Batch) -> set[bytes]:
        """Write a batch; return the keys of series that were refused."""
        kind, settings = self.store.written_by()
        cls = registry.load("sinks", kind)
        config = cls.Config.model_construct(**settings)

        async def deliver() -> set[bytes]:
            sink = cls(config, self.context)
            try:
                prepared = sink.prepare(batch)
                if prepared is not None:
                    await sink.send(Delivery([1], [prepared]))
                return set()
            except Rejected as error:
                assert error.series
                return {self.table.key(each) for each in error.series}
            finally:
                await sink.close()

        return asyncio.run(deliver())


@pytest.fixture
def kept(influxdb: Server) -> Iterator[Callable[..., Kept]]:
    """Make stores; each is closed at the end."""
    made: list[Kept] = []

    def make(**settings: Any) -> Kept:
        made.append(Kept(settings.pop("url", influxdb.url), **settings))
        return made[-1]

    yield make
    for each in made:
        each.store.close()


@pytest.fixture(scope="session")
def new_kept() -> type[Kept]:
    """For property tests: each example its own."""
    return Kept


@pytest.fixture
def now_ms() -> int:
    """A time that no policy refuses."""
    return int(time.time() * 1000) - 60_000
