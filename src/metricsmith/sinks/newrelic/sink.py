"""The `newrelic` sink: samples to the Metric API, events to the Event API."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import ClassVar

import cramjam

from metricsmith.contracts import Context, Delivery, SinkTraits
from metricsmith.errors import Rejected, RetryLater, TooLarge
from metricsmith.model.batch import Batch
from metricsmith.model.findings import Findings
from metricsmith.model.settings_types import reveal
from metricsmith.net.post import Poster
from metricsmith.net.reach import examine_server, place_of
from metricsmith.net.settings import Access
from metricsmith.sinks.http import MENDED_BY_PEOPLE, deliver
from metricsmith.sinks.newrelic.attributes import common_attributes
from metricsmith.sinks.newrelic.encode import MetricEncoder
from metricsmith.sinks.newrelic.events import MAX_EVENTS, event_body
from metricsmith.sinks.newrelic.points import Converter
from metricsmith.sinks.newrelic.settings import NewRelicConfig

log = logging.getLogger(__name__)

MAX_BODY_BYTES = 1_000_000
"""Of a request as it is sent."""
NO_INTERVAL = "got a growth without its time, which is for looking at and cannot be sent again"
MAX_AGE_MS = 48 * 3_600_000
GZIP_LEVEL = 1
"""Level 2 makes bodies a fifth smaller in three times the time, more than all other work on them together."""


class NewRelicSink:
    """Sends counters as counts, histograms and summaries as summaries, all else as gauges."""

    Config: ClassVar[type[NewRelicConfig]] = NewRelicConfig

    @classmethod
    async def examine(cls, config: NewRelicConfig, context: Context, findings: Findings) -> None:
        """Look at the key's form, and whether the servers are there."""
        try:
            wrong = config.mistake_in(reveal(config.api_key))
        except (OSError, ValueError) as error:
            wrong = f"its file cannot be read: {error}"
        if wrong:
            findings.problem("api_key", wrong, "a licence key of the account's region")
        else:
            findings.ok("api_key", "has the form of a licence key; only a delivery tells more")
        urls = [config.metrics_url(), *([config.events_url()] if config.account_id is not None else [])]
        await asyncio.gather(*(examine_server(findings, place_of(url), url, config.tls) for url in urls))

    def __init__(self, config: NewRelicConfig, context: Context) -> None:
        self._config, self._context = config, context
        self.traits = SinkTraits(max_age_ms=MAX_AGE_MS, events=config.account_id is not None)
        wrong_key = f"check that api_key is a licence key of an account in region {config.region}"
        self._hints = MENDED_BY_PEOPLE | {401: wrong_key, 403: f"{wrong_key}, and account_id"}
        self._poster = Poster(Access(tls=config.tls), config.timeout / 1000)
        self._common = common_attributes(config.attributes)
        self._converter = Converter(context, config.max_gap, config.buckets)
        self._encoder = MetricEncoder(context.series, self._common)

    def prepare(self, batch: Batch) -> Batch | None:
        """Return the points of a batch."""
        return self._converter.points(batch)

    async def send(self, delivery: Delivery) -> None:
        """Post one request."""
        if delivery.events:
            await self._send_events(delivery)
            return
        body, refused = await asyncio.to_thread(self._metrics, delivery)
        if body:
            await self._post(self._config.metrics_url(), body)
        if refused:
            series, reasons = list(refused), sorted(set(refused.values()))
            raise Rejected("; ".join(reasons[:3]), series)

    async def close(self) -> None:
        """Close the connections."""
        await self._poster.close()

    def _metrics(self, delivery: Delivery) -> tuple[bytes, dict[int, str]]:
        """Return a body, empty when nothing is left, and the series that are not in it."""
        found = [self._converter.as_sent(batch) for batch in delivery.batches]
        body, refused = self._encoder.body([points for points, _ in found])
        refused |= {int(series): NO_INTERVAL for _, unknown in found for series in unknown}
        return self._packed(body) if body else body, refused

    async def _send_events(self, delivery: Delivery) -> None:
        if delivery.events > MAX_EVENTS:
            raise TooLarge(f"got {delivery.events} events, wanted at most {MAX_EVENTS} at once")
        events = (event for batch in delivery.batches for event in batch.events)
        body, left_out = event_body(events, self._config.event_type, self._common)
        await self._post(self._config.events_url(), self._packed(body))
        if left_out:
            self._context.telemetry.problem(
                log,
                "metricsmith_newrelic_attributes_left_out_total",
                f"{self._context.name}: {left_out} attributes of events left out: an event has too many",
                amount=left_out,
                sink=self._context.name,
            )

    async def _post(self, url: str, body: bytes) -> None:
        if len(body) > MAX_BODY_BYTES:
            raise TooLarge(f"got {len(body)} bytes, wanted at most {MAX_BODY_BYTES} in a request")
        answer = await deliver(self._poster, url, body, self._headers(), self._hints)
        if not answer.body.lstrip().startswith(b"{"):  # such as the page of a proxy that wants a login
            raise RetryLater("got an answer of another service; check the address", reason="wrong_service")

    def _headers(self) -> Mapping[str, str]:
        try:
            key = reveal(self._config.api_key)
        except (OSError, ValueError) as error:
            raise RetryLater(f"the api key cannot be read: {error}", reason="secret") from None
        if not key or not key.isascii() or not key.isprintable():
            raise RetryLater("got an api key that is no line of text, wanted a licence key", reason="secret")
        if wrong := self._config.mistake_in(key):
            raise RetryLater(wrong, reason="secret")
        encoding = {"Content-Encoding": "gzip"} if self._config.compression else {}
        return {"Api-Key": key, "Content-Type": "application/json"} | encoding

    def _packed(self, body: bytes) -> bytes:
        return bytes(cramjam.gzip.compress(body, level=GZIP_LEVEL)) if self._config.compression else body
