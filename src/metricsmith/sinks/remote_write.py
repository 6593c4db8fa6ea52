"""The `remote_write` sink: Prometheus remote write 1.0, to whatever server or agent takes it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar

import cramjam
import numpy as np
from pydantic import Field

from metricsmith import __version__
from metricsmith.contracts import Context, Delivery, SinkConfig, SinkTraits
from metricsmith.model.batch import Batch, Layout
from metricsmith.model.labels import encode_pairs, split_key
from metricsmith.model.metadata import Metadata
from metricsmith.model.settings_types import DurationMs
from metricsmith.net.post import Poster
from metricsmith.net.settings import Access
from metricsmith.sinks.http import deliver
from metricsmith.wire.remote_write_encode import (
    encode_metadata,
    encode_series_labels,
    encode_time_series,
    value_bits,
)
from metricsmith.wire.remote_write_template import FIRST_MS, LAST_MS, WriteTemplate

HOUR_S = 3600.0
_HEADERS = {
    "Content-Type": "application/x-protobuf",
    "Content-Encoding": "snappy",
    "X-Prometheus-Remote-Write-Version": "0.1.0",
    "User-Agent": f"metricsmith/{__version__}",
}


class RemoteWriteConfig(SinkConfig, Access):
    """Settings of a `remote_write` sink."""

    url: str = Field(
        pattern=r"^https?://",
        max_length=2000,
        description="Where to write, such as http://host:9090/api/v1/write.",
    )
    headers: dict[str, str] = Field({}, max_length=100, description="Headers of each request.")
    external_labels: dict[str, str] = Field(
        {}, max_length=100, description="Labels put on every series that has none of that name."
    )
    timeout: DurationMs = Field(30_000, ge=100, le=600_000, description="Longest wait for an answer.")
    metadata: bool = Field(True, description="Send type, unit and help of metrics, each once an hour.")


class RemoteWriteSink:
    """Sends samples to Prometheus-compatible servers by remote write 1.0.

    What is known of a layout's series is bytes made once; times and values are filled in.
    """

    Config: ClassVar[type[RemoteWriteConfig]] = RemoteWriteConfig
    traits: ClassVar[SinkTraits] = SinkTraits()

    def __init__(self, config: RemoteWriteConfig, context: Context) -> None:
        self._config, self._context = config, context
        self._poster = Poster(config, config.timeout / 1000)
        self._headers = {**config.headers, **_HEADERS}
        self._external = [(n.encode(), v.encode()) for n, v in config.external_labels.items() if v]
        self._told: dict[str, Metadata] = {}
        self._told_since_s = context.clock.monotonic()

    async def send(self, delivery: Delivery) -> None:
        """Post one request."""
        news = self._news(delivery)
        await deliver(self._poster, self._config.url, self.body(delivery, news), self._headers)
        self._told |= news

    def body(self, delivery: Delivery, metadata: Mapping[str, Metadata]) -> bytes:
        """Return a request body: protobuf, snappy block format."""
        parts = [part for batch in delivery.batches for part in self._series(batch)]
        parts += (encode_metadata(name, known) for name, known in metadata.items())
        return bytes(cramjam.snappy.compress_raw(b"".join(parts)))

    async def close(self) -> None:
        """Close the connections."""
        await self._poster.close()

    def _series(self, batch: Batch) -> Iterator[bytes | memoryview]:
        bits = value_bits(batch.value, batch.stale)
        if isinstance(batch.time_ms, int) and FIRST_MS <= batch.time_ms <= LAST_MS:
            template: WriteTemplate = batch.layout.derive(self, self._template)
            yield template.fill(batch.time_ms, bits)
            return
        ids = batch.layout.ids
        order = np.argsort(ids, kind="stable")  # a message has the samples of a series together
        _, first, counts = np.unique(ids[order], return_index=True, return_counts=True)
        labels = [self._labels(series) for series in ids[order][first].tolist()]
        yield from encode_time_series(labels, counts.tolist(), batch.times()[order], bits[order])

    def _template(self, layout: Layout) -> WriteTemplate:
        return WriteTemplate([self._labels(series) for series in layout.ids.tolist()])

    def _labels(self, series: int) -> bytes:
        key = self._context.series.key(series)
        if self._external:
            name, pairs = split_key(key)
            key = encode_pairs(name, dict(self._external + pairs).items())
        return encode_series_labels(key)

    def _news(self, delivery: Delivery) -> dict[str, Metadata]:
        """Return what is known of families that was not told within the last hour."""
        if not self._config.metadata:
            return {}
        now_s = self._context.clock.monotonic()
        if now_s - self._told_since_s > HOUR_S:
            self._told, self._told_since_s = {}, now_s
        known = [batch.layout.metadata for batch in delivery.batches]
        distinct = {id(each): each for each in known}.values()
        return {n: m for each in distinct for n, m in each.items() if self._told.get(n) != m}
