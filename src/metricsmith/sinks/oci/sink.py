"""The `oci` sink: custom metrics in OCI Monitoring, through Oracle's SDK."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import socket
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import ClassVar

from metricsmith.contracts import Context, Delivery, SinkTraits
from metricsmith.errors import DeliveryError, Rejected, RetryLater
from metricsmith.model.findings import Findings
from metricsmith.net.threads import in_thread
from metricsmith.sinks.oci.calls import CallWriter
from metricsmith.sinks.oci.client import Failed, MonitoringPost
from metricsmith.sinks.oci.rate import rate_of
from metricsmith.sinks.oci.settings import MAX_CONNECTIONS, OciConfig
from metricsmith.sinks.oci.streams import Stream, Streams

log = logging.getLogger(__name__)

MAX_AGE_MS = 2 * 3_600_000
MAX_ANSWERED = 10_000
"""Calls of deliveries that are to be sent again, of which it is remembered that they were answered."""
_SHOWN_REASONS = 3


class OciSink:
    """Sends a delivery in as few calls as the service allows: points of a stream go together.

    What the service would refuse is found before and refused; the rest goes.
    """

    Config: ClassVar[type[OciConfig]] = OciConfig
    traits: ClassVar[SinkTraits] = SinkTraits(max_age_ms=MAX_AGE_MS)

    @classmethod
    async def examine(cls, config: OciConfig, context: Context, findings: Findings) -> None:
        """Read the credentials, and see whether the service is there."""
        from metricsmith.sinks.oci.examination import examine

        await examine(config, context.name, findings)

    def __init__(self, config: OciConfig, context: Context) -> None:
        self._context = context
        without_labels = {"instance": config.instance or socket.gethostname(), "job": "metricsmith"}
        self._streams = Streams(context.series, without_labels)
        self._writer = CallWriter(
            self._streams, config.namespace, config.compartment_id, config.resource_group
        )
        account = config.auth, config.config_file, config.profile
        self._rate = rate_of(account, context.clock, config.calls_per_second)
        self._post = MonitoringPost(config)
        self._deadline_s = (config.connect_timeout + 2 * config.timeout) / 1000
        self._slots = asyncio.Semaphore(config.worker_count or MAX_CONNECTIONS)
        self._answered: dict[bytes, Sequence[Failed]] = {}

    async def send(self, delivery: Delivery) -> None:
        """Post the samples that the service has a form for; refuse those that it would refuse."""
        calls = self._writer.write(delivery, self._context.clock.now_ms())
        refused = {**calls.refused, **self._series_of(await self._posted(calls.bodies), calls.series)}
        self._count(calls.unsent)
        if refused:
            raise Rejected(_reasons(refused.values()), sorted(refused))

    async def close(self) -> None:
        """Close the connections; a call that is under way ends with its time-out, or with the process."""
        self._post.close()

    async def _posted(self, bodies: Sequence[bytes]) -> list[Failed]:
        """Post calls, some at once; return what the service refused of them.

        A call that was answered is not made again when the delivery is sent
        again because of another.
        """
        keys = [hashlib.blake2b(body, digest_size=16).digest() for body in bodies]
        trouble: list[DeliveryError] = []

        async def post(key: bytes, body: bytes) -> None:
            async with self._slots:
                if trouble or key in self._answered:
                    return
                try:
                    self._answered[key] = await self._answer(body)
                except DeliveryError as error:
                    trouble.append(error)

        ended = await asyncio.gather(*map(post, keys, bodies), return_exceptions=True)
        for defect in filter(None, ended):
            raise defect
        if trouble:
            while len(self._answered) > MAX_ANSWERED:
                del self._answered[next(iter(self._answered))]
            # What may be mended first: the samples are split only for what is left then.
            raise next((each for each in trouble if isinstance(each, RetryLater)), trouble[0])
        return [failed for key in keys for failed in self._answered.pop(key)]

    async def _answer(self, body: bytes) -> Sequence[Failed]:
        await self._rate.take()
        try:
            # The SDK's own time-outs begin anew with every byte.
            async with asyncio.timeout(self._deadline_s):
                return await in_thread("oci", partial(self._post.post, body))
        except TimeoutError:
            raise RetryLater(f"no answer within {self._deadline_s:g}s", reason="timeout") from None

    def _series_of(self, failed: Sequence[Failed], sent: Iterable[int]) -> Mapping[int, str]:
        """Return why the service refused some of the series that were sent.

        Raises:
            Rejected: the service names what was not sent like that; the engine finds out which are meant.
        """
        if not failed:
            return {}
        streams: dict[Stream, int] = {self._streams.stream(series): series for series in sent}
        found = {streams.get((each.name, each.dimensions)): each.message for each in failed}
        if None in found:
            raise Rejected(_reasons(each.message for each in failed))
        return {series: message for series, message in found.items() if series is not None}

    def _count(self, unsent: Mapping[str, int]) -> None:
        name = self._context.name
        for reason, samples in unsent.items():
            if samples:
                self._context.telemetry.problem(
                    log,
                    "metricsmith_sink_unsent_samples_total",
                    f"{name}: {samples} samples say nothing to the service: {reason}",
                    amount=samples,
                    level=logging.DEBUG,
                    sink=name,
                    reason=reason,
                )


def _reasons(reasons: Iterable[str]) -> str:
    distinct = list(dict.fromkeys(reasons))
    more = f"; and {len(distinct) - _SHOWN_REASONS} more" if len(distinct) > _SHOWN_REASONS else ""
    return "; ".join(distinct[:_SHOWN_REASONS]) + more
