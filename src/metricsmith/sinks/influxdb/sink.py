"""The `influxdb` sink: line protocol to InfluxDB 1 and 2, and to servers that take it as they do."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import ClassVar

import cramjam

from metricsmith.contracts import Context, Delivery, SinkTraits
from metricsmith.errors import Rejected, RetryLater
from metricsmith.model.batch import Batch
from metricsmith.model.findings import Findings
from metricsmith.net.post import HttpRefused, Poster
from metricsmith.sinks.http import deliver
from metricsmith.sinks.influxdb.answers import beyond_retention, refused_places, retention_told
from metricsmith.sinks.influxdb.database import Database
from metricsmith.sinks.influxdb.encode import Encoder
from metricsmith.sinks.influxdb.points import Points
from metricsmith.sinks.influxdb.settings import InfluxdbSinkConfig
from metricsmith.wire.influx_answers import NO_DATABASE, error_text
from metricsmith.wire.line_protocol_places import Places

ANSWERS = 16
"""An answer names one bad field or tag; so many are left out one after another before halves are tried."""
GZIP_LEVEL = 1
SHOWN_REASONS = 3


class InfluxdbSink:
    """Sends samples of one measurement, tag set and time as fields of one point."""

    Config: ClassVar[type[InfluxdbSinkConfig]] = InfluxdbSinkConfig

    @classmethod
    async def examine(cls, config: InfluxdbSinkConfig, context: Context, findings: Findings) -> None:
        """Post no points, and ask for the policy."""
        from metricsmith.sinks.influxdb.examination import examine

        await examine(config, context, findings)

    def __init__(self, config: InfluxdbSinkConfig, context: Context) -> None:
        self._config, self._context = config, context
        self.traits = SinkTraits(max_age_ms=config.retention)
        self._poster = Poster(config.access(), config.timeout / 1000)
        self._places = Places(config.measurement)
        self._points = Points(context, config.precision, config.ends)
        self._encoder = Encoder(context.series, self._places, config.precision)
        self._database = Database(config, context, self._poster)
        self._url = config.write_url()
        self._headers = {"Content-Type": "text/plain; charset=utf-8"}
        if config.compression:
            self._headers["Content-Encoding"] = "gzip"

    def prepare(self, batch: Batch) -> Batch | None:
        """Return what InfluxDB has a form for; the rest is counted."""
        return self._points.of(batch)

    async def send(self, delivery: Delivery) -> None:
        """Post one request, and again without what the answer names as refused."""
        await self._database.prepare()
        refused: dict[int, str] = {}
        for _ in range(ANSWERS):
            body, unwritten = await asyncio.to_thread(self._body, delivery, frozenset(refused))
            refused |= unwritten
            if not body:
                break
            try:
                await self._post(body)
                break
            except HttpRefused as error:
                refused |= await self._named(error, delivery)
        else:
            raise Rejected(_shown(refused))
        if refused:
            raise Rejected(_shown(refused), list(refused))

    def remark(self) -> str:
        """Return what the server did not let us do to the database, empty for nothing."""
        return self._database.remark

    async def close(self) -> None:
        """Close the connections."""
        await self._poster.close()

    def _body(self, delivery: Delivery, without: frozenset[int]) -> tuple[bytes, dict[int, str]]:
        body, unwritten = self._encoder.body(delivery, without)
        if body and self._config.compression:
            body = bytes(cramjam.gzip.compress(body, level=GZIP_LEVEL))
        return body, unwritten

    async def _post(self, body: bytes) -> None:
        try:
            await deliver(self._poster, self._url, body, self._headers)
        except RetryLater as error:
            if NO_DATABASE not in str(error):
                raise
            why = self._database.remark if self._config.create else "create it, or set `create: true`"
            self._database.forget()
            text = "; ".join(filter(None, [f"the server has no database {self._config.database}", why]))
            raise RetryLater(text, reason="database") from None

    async def _named(self, error: HttpRefused, delivery: Delivery) -> dict[int, str]:
        """Return the series that an answer refuses.

        Raises:
            HttpRefused: it does not say.
            RetryLater: they are too old; those that are will not be sent again.
        """
        text = error_text(error.body)
        if beyond_retention(text):
            await self._learn_age(retention_told(text))
        is_refused = refused_places(text)
        if is_refused is None:
            raise error
        place, key = self._places.of, self._context.series.key
        ids = {series for batch in delivery.batches for series in batch.layout.ids.tolist()}
        found = {series: error.reason for series in ids if is_refused(place(key(series)))}
        if not found:
            raise error
        return found

    async def _learn_age(self, told_ms: int | None) -> None:
        """Return if nothing new is to be learnt of how long the server keeps points.

        Raises:
            RetryLater: now it is known; the engine counts and leaves out what is older.
        """
        keeps_ms = told_ms if told_ms is not None else await self._database.retention_ms()
        known_ms = self.traits.max_age_ms
        if keeps_ms and (known_ms is None or keeps_ms < known_ms):
            self.traits = SinkTraits(max_age_ms=keeps_ms)
            raise RetryLater("the server keeps points for a shorter time", 0.0, reason="retention")


def _shown(refused: Mapping[int, str]) -> str:
    return "; ".join(sorted(set(refused.values()))[:SHOWN_REASONS])
