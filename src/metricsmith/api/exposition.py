"""/metrics: the agent's own metrics and, by setting, the last value of every collected series."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from starlette.requests import Request
from starlette.responses import Response

from metricsmith.api.context import ApiContext, MetricsPage
from metricsmith.api.routes import Operation
from metricsmith.api.workers import Workers
from metricsmith.model.labels import encode_labels, encode_pairs, split_key
from metricsmith.model.metadata import Metadata
from metricsmith.model.own_metrics import OWN_METRICS
from metricsmith.model.telemetry import Telemetry
from metricsmith.wire.exposition import ExpositionFormat, negotiate
from metricsmith.wire.exposition.writer import write_exposition

OWN_METADATA = {m.name: Metadata(m.type, m.unit, m.help) for m in OWN_METRICS}
_ALL_COLLECTED = '{__name__!~"metricsmith_.+|"}'


class MetricsPageApi:
    """The page that Prometheus scrapes."""

    def __init__(self, context: ApiContext, workers: Workers) -> None:
        self._context = context
        self._workers = workers

    def operations(self) -> list[Operation]:
        """Return the operations of this group."""
        summary = "The agent's own metrics, and by setting the collected ones."
        answers = {200: "Prometheus text 0.0.4, or OpenMetrics 1.0 where `Accept` prefers it."}
        return [
            Operation(
                "/metrics",
                ("GET",),
                self.metrics,
                summary,
                "Health and status",
                answers=answers,
                media_type="text/plain",
                always=True,
            )
        ]

    async def metrics(self, request: Request) -> Response:
        form = negotiate(request.headers.get("accept"))
        text = await self._workers.run(lambda: self._document(form))
        return Response(text, headers={"content-type": form.content_type})

    def _document(self, form: ExpositionFormat) -> bytes:
        keys, values = own_samples(self._context.telemetry)
        metadata: Mapping[str, Metadata] = OWN_METADATA
        page = self._context.metrics_page()
        if page.collected:
            result = self._context.engine.instant(_ALL_COLLECTED, self._context.clock.now_ms())
            keys = keys + [exposed_key(key, page) for key in result.keys]
            values = np.concatenate((values, result.values[:, 0]))
            known = self._context.store.metadata()
            metadata = {page.prefix + name: m for name, m in known.items()} | OWN_METADATA
        return write_exposition(keys, values, metadata, form)


def own_samples(telemetry: Telemetry) -> tuple[list[bytes], np.ndarray[tuple[int], np.dtype[np.float64]]]:
    """Return the keys and values of the agent's own metrics."""
    samples = [s for family in telemetry.registry.collect() for s in family.samples]
    keys = [encode_labels({**s.labels, "__name__": s.name}) for s in samples]
    return keys, np.array([s.value for s in samples], dtype=np.float64)


def exposed_key(key: bytes, page: MetricsPage) -> bytes:
    """Return the key of a collected series as shown: name with prefix, a `host` label if it has none."""
    name, pairs = split_key(key)
    if page.host_label and all(label != b"host" for label, _ in pairs):
        pairs = [*pairs, (b"host", page.host_label.encode())]
    return encode_pairs(page.prefix.encode() + name, pairs)
