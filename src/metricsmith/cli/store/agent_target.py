"""A running agent as the place that samples are put into: by remote write, as others push to it."""

from __future__ import annotations

import asyncio
import time

import numpy as np

from metricsmith.cli.client import Refused, fetch, post
from metricsmith.errors import ExecutionError, StoreError
from metricsmith.model.batch import Batch, Layout
from metricsmith.model.duration import parse_duration
from metricsmith.model.series import SeriesTable
from metricsmith.runtime.offline import KEPT_FOR_EVER_MS
from metricsmith.sinks.remote_write_bodies import Bodies1
from metricsmith.store.admission import FUTURE_MS
from metricsmith.wire.remote_write_answers import SAMPLES_WRITTEN, read_written

HEADERS = {
    "Content-Type": "application/x-protobuf",
    "Content-Encoding": "snappy",
    "X-Prometheus-Remote-Write-Version": "0.1.0",
}
TOO_LARGE, UNAVAILABLE = 413, 503
WAITS_S = (0.5, 1, 2, 4, 8, 15, 15, 15)
"""Between tries while the agent cannot accept more."""


class AgentTarget:
    """Sends samples; what the agent's processors do to pushed samples they do to these."""

    def __init__(self, url: str, table: SeriesTable) -> None:
        """Ask the agent for its retention.

        Raises:
            Unreachable: nobody answers.
        """
        self._url, self._bodies = url, Bodies1(table.key)
        told = fetch(url, "/api/v1/status/runtimeinfo", {}).get("storageRetention", "")
        try:
            self._retention_ms = parse_duration(told) if told else KEPT_FOR_EVER_MS
        except ValueError:
            raise StoreError(f"{url}: got the retention {told!r}, wanted one such as 30d") from None

    def time_range(self) -> tuple[int, int]:
        """Return the oldest and the newest time that samples may have now."""
        now_ms = time.time_ns() // 1_000_000
        return now_ms - self._retention_ms, now_ms + FUTURE_MS

    async def accept(self, batch: Batch) -> int:
        """Send samples, wait while the agent cannot take more; return how many it has taken.

        Raises:
            ExecutionError: it refuses them, or could not take them for a minute.
            Unreachable: nobody answers any more.
        """
        body = self._bodies.body([batch], batch.layout.metadata)
        waits_s = iter(WAITS_S)
        while True:
            try:
                answer = await asyncio.to_thread(post, self._url, "/api/v1/write", body, HEADERS)
            except Refused as error:
                if error.status == TOO_LARGE and len(batch) > 1:
                    return sum([await self.accept(half) for half in _halves(batch)])
                wait_s = next(waits_s, None)
                if error.status != UNAVAILABLE or wait_s is None:
                    raise ExecutionError(f"the agent does not take samples: {error}") from None
                await asyncio.sleep(wait_s)
            else:
                # Servers that do not say how many they have taken have taken all, or would have refused.
                return read_written(answer.headers.get(SAMPLES_WRITTEN, str(len(batch))))


def _halves(batch: Batch) -> list[Batch]:
    ids, metadata = batch.layout.ids, batch.layout.metadata
    return [
        batch.take(Layout(ids[part], None, metadata), part) for part in np.array_split(np.arange(len(ids)), 2)
    ]
