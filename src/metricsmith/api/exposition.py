"""/metrics: the agent's own metrics and, by setting, the last value of every collected series."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import numpy as np
from starlette.requests import Request
from starlette.responses import Response

from metricsmith.api.context import ApiContext, MetricsPage
from metricsmith.api.routes import Operation
from metricsmith.api.workers import Workers
from metricsmith.model.arrays import F64
from metricsmith.model.labels import PAIR, encode_labels, encode_pairs, split_key
from metricsmith.model.metadata import Metadata
from metricsmith.model.own_metrics import OWN_METRICS
from metricsmith.model.telemetry import Telemetry
from metricsmith.wire.exposition import Wanted, negotiate
from metricsmith.wire.exposition.writer import write_exposition

log = logging.getLogger(__name__)

OWN_METADATA = {m.name: Metadata(m.type, m.unit, m.help) for m in OWN_METRICS}
_OWN = (b"metricsmith_", PAIR)
"""How keys begin of the agent's own metrics, and of series without a name."""
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
                path,
                ("GET",),
                self._metrics,
                summary,
                "Health and status",
                answers=answers,
                media_type="text/plain",
                always=True,
            )
            for path in dict.fromkeys(("/metrics", self._context.metrics_path))
        ]

    async def _metrics(self, request: Request) -> Response:
        wanted = negotiate(request.headers.get("accept"))
        text = await self._workers.run(lambda: self._document(wanted))
        return Response(text, headers={"content-type": wanted.content_type})

    def _document(self, wanted: Wanted) -> bytes:
        keys, values = own_samples(self._context.telemetry)
        metadata: Mapping[str, Metadata] = OWN_METADATA
        page = self._context.metrics_page()
        if page.collected:
            collected, last = self._collected(page)
            keys, values = keys + collected, np.concatenate((values, last))
            known = (self._context.last or self._context.store).metadata()
            metadata = {page.prefix + name: m for name, m in known.items()} | OWN_METADATA
        document = write_exposition(keys, values, metadata, wanted.format, utf8_names=wanted.utf8_names)
        if document.left_out:
            self._context.telemetry.problem(
                log,
                "metricsmith_samples_dropped_total",
                f"/metrics leaves out {document.left_out} series that are, as shown, the same as others",
                amount=document.left_out,
                component="metrics_page",
                reason="same_labels",
            )
        return document.body

    def _collected(self, page: MetricsPage) -> tuple[list[bytes], F64]:
        now_ms, last = self._context.clock.now_ms(), self._context.last
        if last is not None:
            keys, values = last.since(now_ms - self._context.limits.lookback_ms)
            others = [i for i, key in enumerate(keys) if not key.startswith(_OWN)]
            return [exposed_key(keys[i], page) for i in others], values[others]
        result = self._context.engine.instant(_ALL_COLLECTED, now_ms)
        return [exposed_key(key, page) for key in result.keys], result.values[:, 0]


def own_samples(telemetry: Telemetry) -> tuple[list[bytes], F64]:
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
