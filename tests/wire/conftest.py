"""Decoders as tests of several files use them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from metricsmith.model.labels import decode_labels
from metricsmith.model.series import SeriesTable
from metricsmith.testing.otlp import NOW_NS
from metricsmith.wire.otlp.decode import Decoded, OtlpDecoder
from metricsmith.wire.otlp.settings import OtlpSettings

NOW_MS = NOW_NS // 1_000_000


class OtlpReceiver:
    """A decoder with its table, and what it gives as plain data."""

    def __init__(self, **settings: object) -> None:
        self.table = SeriesTable()
        self.decoder = OtlpDecoder(self.table, OtlpSettings.model_validate(settings))

    def take(self, message: ExportMetricsServiceRequest | bytes, now_ms: int = NOW_MS) -> Decoded:
        body = message if isinstance(message, bytes) else message.SerializeToString()
        decoded = self.decoder.decode(body, now_ms)
        if decoded.commit is not None:
            decoded.commit()
        return decoded

    def samples(self, message: ExportMetricsServiceRequest | bytes, now_ms: int = NOW_MS) -> list[tuple]:
        """(key, time, value or "stale") of each sample, sorted."""
        return self.shown(self.take(message, now_ms))

    def shown(self, decoded: Decoded) -> list[tuple]:
        batch = decoded.batch
        columns = zip(
            batch.layout.ids.tolist(),
            batch.times().tolist(),
            batch.value.tolist(),
            batch.stales().tolist(),
            strict=True,
        )
        return sorted((self.table.key(i), t, "stale" if s else repr(v)) for i, t, v, s in columns)

    def values(self, message: ExportMetricsServiceRequest, now_ms: int = NOW_MS) -> dict[str, str]:
        """Name and the labels besides job → value, of a message with one time per series."""
        out = {}
        for key, _, value in self.samples(message, now_ms):
            labels = decode_labels(key)
            name = labels.pop("__name__")
            labels.pop("job", None)
            out[f"{name} {labels}" if labels else name] = value
        return out


@pytest.fixture(scope="session")
def otlp_receiver() -> Callable[..., OtlpReceiver]:
    """Make a decoder of OTLP with settings."""
    return OtlpReceiver
