"""The `otlp` sink: metrics to OpenTelemetry's protocol over HTTP, as Protobuf."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import ClassVar

import cramjam
import numpy as np

from metricsmith import __version__
from metricsmith.contracts import Context, Delivery, SinkTraits
from metricsmith.errors import Rejected
from metricsmith.model.arrays import I64, Bool
from metricsmith.model.batch import Batch, Layout
from metricsmith.model.findings import Findings
from metricsmith.net.post import Answer, HttpRefused, Poster
from metricsmith.net.reach import examine_post, place_of
from metricsmith.sinks.http import deliver, revealed
from metricsmith.sinks.otlp.series import Shapes
from metricsmith.sinks.otlp.settings import OtlpConfig
from metricsmith.wire.otlp.answers import read_export_response, read_status
from metricsmith.wire.otlp.template import RequestTemplate
from metricsmith.wire.protobuf import bytes_field

log = logging.getLogger(__name__)

GZIP_LEVEL = 1
_SCOPE = bytes_field(1, b"metricsmith") + bytes_field(2, __version__.encode())
_ODD = "no histogram or summary: counts are no whole numbers or fall; or a time before 1970"


class OtlpSink:
    """Sends counters as monotonic sums, histograms and summaries whole, all else as gauges."""

    Config: ClassVar[type[OtlpConfig]] = OtlpConfig
    traits: ClassVar[SinkTraits] = SinkTraits()

    @classmethod
    async def examine(cls, config: OtlpConfig, context: Context, findings: Findings) -> None:
        """Post a request without points."""
        shorter = config.model_copy(update={"timeout": findings.within_ms(config.timeout)})
        sink = cls(shorter, context)
        try:
            await examine_post(findings, place_of(config.url), sink._post(b""))
        finally:
            await sink.close()

    def __init__(self, config: OtlpConfig, context: Context) -> None:
        self._config, self._context = config, context
        self._poster = Poster(config, config.timeout / 1000)
        self._shapes = Shapes(context.series, config.resource_attributes, _SCOPE)
        self._remark = ""

    async def send(self, delivery: Delivery) -> None:
        """Post one request."""
        body, odd = self.body(delivery)
        if body:
            await self._post(body)
        if odd:
            raise Rejected(_ODD, sorted(odd))

    def body(self, delivery: Delivery) -> tuple[bytes, set[int]]:
        """Return the request of a delivery, empty when nothing is left, and series that are not in it."""
        parts: list[memoryview] = []
        odd: set[int] = set()
        for batch in delivery.batches:
            for part, left_out in self._parts(batch):
                parts.append(part)
                odd |= left_out
        return b"".join(parts), odd

    def groups(self, layout: Layout) -> I64:
        """Return a number for each series, the same for those that become one point."""
        return layout.derive((self, "groups"), self._shapes.groups)

    def remark(self) -> str:
        """Return what the last answer said beside that all is well."""
        return self._remark

    async def close(self) -> None:
        """Close the connections."""
        await self._poster.close()

    def _parts(self, batch: Batch) -> Iterator[tuple[memoryview, set[int]]]:
        if isinstance(batch.time_ms, int) and batch.layout.stream is not None and batch.stale is None:
            template: RequestTemplate = batch.layout.derive(self, self._template)
            if not template.odd_rows(batch.times(), batch.value).size:
                yield template.fill(batch.times(), batch.value), set()
                return
        stale = batch.stales()
        for ended in (False, True):
            part = _only(batch, stale == ended)
            if len(part):
                yield self._once(part, ended)

    def _template(self, layout: Layout) -> RequestTemplate:
        return self._shapes.template(layout, self._shapes.roles(layout), None)

    def _once(self, batch: Batch, ended: bool) -> tuple[memoryview, set[int]]:
        """Return a request of samples that are of one use, and the series that cannot be said."""
        values = np.zeros(len(batch)) if ended else batch.value
        template, times = self._once_template(batch, ended), batch.times()
        odd = template.odd_rows(times, values)
        if not odd.size:
            return template.fill(times, values, ended), set()
        groups = self._shapes.groups(batch.layout)
        bad = np.isin(groups, groups[odd])
        left = _only(batch, ~bad)
        request = self._once(left, ended)[0] if len(left) else memoryview(b"")
        return request, set(batch.layout.ids[bad].tolist())

    def _once_template(self, batch: Batch, ended: bool) -> RequestTemplate:
        times = None if isinstance(batch.time_ms, int) else batch.time_ms
        return self._shapes.template(batch.layout, self._shapes.roles(batch.layout), times, ended)

    async def _post(self, body: bytes) -> Answer:
        headers = revealed(self._config.headers) | {
            "Content-Type": "application/x-protobuf",
            "User-Agent": f"metricsmith/{__version__}",
        }
        if self._config.compression:
            headers["Content-Encoding"] = "gzip"
            body = bytes(cramjam.gzip.compress(body, level=GZIP_LEVEL))
        try:
            answer = await deliver(self._poster, self._config.url, body, headers)
        except HttpRefused as error:
            if "protobuf" in error.headers.get("Content-Type", "") and (said := read_status(error.body)):
                raise HttpRefused(error.status, said.encode(), error.headers) from None
            raise
        rejected, self._remark = read_export_response(answer.body)
        if rejected:
            why = self._remark or "it says not why"
            self._context.telemetry.problem(
                log,
                "metricsmith_otlp_rejected_points_total",
                f"{self._context.name}: the server did not take {rejected} points: {why}",
                amount=rejected,
                sink=self._context.name,
            )
        return answer


def _only(batch: Batch, mask: Bool) -> Batch:
    if mask.all():
        return batch
    index = np.flatnonzero(mask)
    layout = batch.layout
    return batch.take(Layout(layout.ids[index], layout.stream, layout.metadata), index)
