"""What people do with sinks: try one, look at what was refused, send it again, drop it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import numpy as np

from metricsmith.contracts import Context, Delivery
from metricsmith.delivery.line import Line
from metricsmith.delivery.pieces import of_series
from metricsmith.delivery.quarantine import Quarantine, Refusal
from metricsmith.errors import DeliveryError, Rejected
from metricsmith.model.batch import Batch, Layout
from metricsmith.model.labels import encode_labels
from metricsmith.model.wording import nearest, one_of

TEST_METRIC = "metricsmith_sink_test"


class NoSuchSink(DeliveryError):
    """No sink of that name is configured."""


class Desk:
    """The sinks that run, and what they were refused."""

    def __init__(self, lines: Mapping[str, Line], quarantine: Quarantine, context: Context) -> None:
        self._lines, self._quarantine, self._context = lines, quarantine, context

    def refusals(self, sink: str = "", limit: int | None = None) -> list[Refusal]:
        """Return what is in quarantine, as `Quarantine.refusals`. From any thread; reads the disk."""
        return self._quarantine.refusals(sink, limit)

    def samples(self, id: str) -> tuple[Refusal, list[dict[str, Any]]]:
        """Return one refusal with its samples; raises as `Quarantine.samples`. From any thread."""
        return self._quarantine.samples(id)

    def drop(self, id: str) -> None:
        """Forget a refusal; raises as `Quarantine.drop`. From any thread."""
        self._quarantine.drop(id)

    async def send_again(self, id: str) -> int:
        """Send what was refused once more; what is taken now leaves the quarantine. Return its samples.

        Raises:
            NotInQuarantine, NoSuchSink: there is none.
            DeliveryError: it was not taken, and stays: that part of it which is still refused, where that is
                known.
        """
        name, delivery = await asyncio.to_thread(self._quarantine.delivery, id)
        try:
            await self._send_now(name, delivery)
        except Rejected as error:
            if error.series:
                await asyncio.to_thread(self._keep_refused, id, name, delivery, error)
            raise
        await asyncio.to_thread(self._quarantine.drop, id)
        return len(delivery)

    async def test(self, name: str) -> tuple[float, str]:
        """Send one sample to a sink; return the seconds that it took, and what the sink says of it.

        Raises:
            NoSuchSink: there is none.
            DeliveryError: it was not taken; the message says why.
        """
        self._line(name)
        clock = self._context.clock
        key = encode_labels({"__name__": TEST_METRIC, "sink": name})
        layout = Layout(np.array([self._context.series.intern(key)], dtype=np.uint32))
        began = clock.monotonic()
        said = await self._send_now(name, Delivery([0], [Batch(layout, clock.now_ms(), np.ones(1))]))
        return clock.monotonic() - began, said

    def _keep_refused(self, id: str, name: str, delivery: Delivery, error: Rejected) -> None:
        left = of_series(delivery, error.series, among=True)
        if len(left) < len(delivery) and self._quarantine.put(name, left, error.reason):
            self._quarantine.drop(id)

    async def _send_now(self, name: str, delivery: Delivery) -> str:
        line = self._line(name)
        said = await line.send_now(delivery)
        line.forget_refused()  # what it takes now may be mended for others too
        return said

    def _line(self, name: str) -> Line:
        try:
            return self._lines[name]
        except KeyError:
            known = sorted(self._lines)
            wanted = f"wanted {one_of(known)}" if known else "and no sink is configured"
            hint = f" ({found})" if (found := nearest(name, known)) else ""
            raise NoSuchSink(f'got the sink "{name[:100]}", {wanted}{hint}') from None
