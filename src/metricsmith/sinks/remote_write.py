"""The `remote_write` sink: Prometheus remote write 2.0 or 1.0, to whatever server or agent takes it."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Mapping
from typing import ClassVar

from metricsmith import __version__
from metricsmith.contracts import Context, Delivery, SinkTraits
from metricsmith.errors import Rejected, RetryLater
from metricsmith.model.batch import Layout
from metricsmith.model.findings import Findings
from metricsmith.model.metadata import Metadata
from metricsmith.net.post import Answer, HttpRefused, Poster
from metricsmith.net.reach import examine_post, place_of
from metricsmith.sinks.http import MENDED_BY_PEOPLE, deliver, revealed
from metricsmith.sinks.remote_write_bodies import Bodies, Bodies1, Bodies2, outgoing_keys
from metricsmith.sinks.remote_write_settings import RemoteWriteConfig
from metricsmith.wire.remote_write_answers import SAMPLES_WRITTEN, read_written

log = logging.getLogger(__name__)

HOUR_S = 3600.0
_MESSAGE_2 = "application/x-protobuf;proto=io.prometheus.write.v2.Request"
_VERSIONS = {"1.0": ("application/x-protobuf", "0.1.0"), "2.0": (_MESSAGE_2, "2.0.0")}
_HINTS = MENDED_BY_PEOPLE | {
    404: "check the address; a Prometheus takes samples when started with --web.enable-remote-write-receiver"
}
_BAD_REQUEST, _UNSUPPORTED = 400, 415
_LATE = re.compile(
    r"out.of.order|out of bounds|too.old|duplicate.(sample|timestamp)|already been ingested", re.IGNORECASE
)
"""How servers say that they have newer samples of a series, or this one: sent again after a kill, perhaps."""


class RemoteWriteSink:
    """Sends samples to Prometheus-compatible servers.

    With `version: auto`, requests are of version 2.0 until the server is found
    not to take it: it answers 415, or says not how many samples it wrote, or
    refuses what it takes as 1.0.
    """

    Config: ClassVar[type[RemoteWriteConfig]] = RemoteWriteConfig
    traits: ClassVar[SinkTraits] = SinkTraits()

    @classmethod
    async def examine(cls, config: RemoteWriteConfig, context: Context, findings: Findings) -> None:
        """Post a request without samples."""
        shorter = config.model_copy(update={"timeout": findings.within_ms(config.timeout)})
        sink = cls(shorter, context)
        version = "2.0" if config.version == "2.0" else "1.0"
        body = sink.body(version, Delivery([], []))
        try:
            await examine_post(findings, place_of(config.url), sink._post(version, body))
        finally:
            await sink.close()

    def __init__(self, config: RemoteWriteConfig, context: Context) -> None:
        self._config, self._context = config, context
        self._poster = Poster(config, config.timeout / 1000)
        keys = outgoing_keys(context.series, config.external_labels)
        self._bodies: Mapping[str, Bodies] = {"1.0": Bodies1(keys), "2.0": Bodies2(keys, config.metadata)}
        self._version = "1.0" if config.version == "1.0" else "2.0"
        self._settled = config.version != "auto"
        """Whether it is known that the server takes the version."""
        self._told: dict[str, Metadata] = {}
        self._told_since_s = context.clock.monotonic()

    async def send(self, delivery: Delivery) -> None:
        """Post one request; while the version is not settled, a second one."""
        if self._version == "1.0":
            await self._send_1(delivery)
            return
        try:
            answer = await self._post("2.0", self.body("2.0", delivery))
        except HttpRefused as error:
            if error.status == _UNSUPPORTED:
                await self._fall_back(delivery, "unsupported")
            elif error.status == _BAD_REQUEST and SAMPLES_WRITTEN not in error.headers and not self._settled:
                await self._try_1(delivery, error)
            else:
                raise
        else:
            if SAMPLES_WRITTEN not in answer.headers:
                await self._fall_back(delivery, "not_written")
            else:
                self._settled = True
                self._check_written(answer, delivery)

    def body(self, version: str, delivery: Delivery, news: Mapping[str, Metadata] | None = None) -> bytes:
        """Return a request body of a version; `news` is what 1.0 tells of families."""
        return self._bodies[version].body(delivery.batches, news or {})

    async def close(self) -> None:
        """Close the connections."""
        await self._poster.close()

    async def _send_1(self, delivery: Delivery) -> None:
        news = self._news(delivery)
        await self._post("1.0", self.body("1.0", delivery, news))
        self._told |= news
        for batch in delivery.batches:
            batch.layout.derive(self, _Told).since_s = self._told_since_s

    async def _try_1(self, delivery: Delivery, refusal: HttpRefused) -> None:
        """Send as 1.0 what may have been refused for its version, as servers from before 2.0 do."""
        try:
            await self._send_1(delivery)
        except Rejected:
            raise refusal from None  # so it is not the version
        self._use_1("refused")

    async def _fall_back(self, delivery: Delivery, reason: str) -> None:
        if self._config.version == "2.0":
            raise RetryLater(f"{_WHY[reason]} (set version: auto or 1.0)", reason=f"version_{reason}")
        self._use_1(reason)
        await self._send_1(delivery)

    def _use_1(self, reason: str) -> None:
        if self._version == "1.0":  # found by a request beside this one
            return
        self._version, self._settled = "1.0", True
        self._context.telemetry.problem(
            log,
            "metricsmith_remote_write_fallbacks_total",
            f"{self._context.name}: remote write 1.0 from now on: {_WHY[reason]}",
            sink=self._context.name,
            reason=reason,
        )

    def _check_written(self, answer: Answer, delivery: Delivery) -> None:
        written = read_written(answer.headers[SAMPLES_WRITTEN])
        if missing := max(0, len(delivery) - written):
            self._context.telemetry.problem(
                log,
                "metricsmith_remote_write_unwritten_samples_total",
                f"{self._context.name}: the server answered that all is well, and that it wrote {written} of"
                f" {len(delivery)} samples",
                amount=missing,
                sink=self._context.name,
            )

    async def _post(self, version: str, body: bytes) -> Answer:
        content_type, number = _VERSIONS[version]
        headers = revealed(self._config.headers) | {
            "Content-Type": content_type,
            "Content-Encoding": "snappy",
            "X-Prometheus-Remote-Write-Version": number,
            "User-Agent": f"metricsmith/{__version__}",
        }
        try:
            return await deliver(self._poster, self._config.url, body, headers, _HINTS)
        except HttpRefused as error:
            error.late = _LATE.search(error.reason) is not None
            raise

    def _news(self, delivery: Delivery) -> dict[str, Metadata]:
        """Return what is known of families that was not told within the last hour."""
        if not self._config.metadata:
            return {}
        now_s = self._context.clock.monotonic()
        if now_s - self._told_since_s > HOUR_S:
            self._told, self._told_since_s = {}, now_s
        news: dict[str, Metadata] = {}
        for batch in delivery.batches:
            if batch.layout.derive(self, _Told).since_s != self._told_since_s:
                news |= {n: m for n, m in batch.layout.metadata.items() if self._told.get(n) != m}
        return news


class _Told:
    """Whether the metadata of a layout was told within the hour: to compare it each time costs much."""

    def __init__(self, _: Layout) -> None:
        self.since_s = -math.inf


_WHY = {
    "unsupported": "the server answers 415 to version 2.0",
    "not_written": "the server does not say how many samples of version 2.0 it wrote, so that it wrote none",
    "refused": "the server refuses as version 2.0 what it takes as 1.0",
}
