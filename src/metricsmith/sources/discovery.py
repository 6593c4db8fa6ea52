"""Where target lists come from: the configuration, files, a URL, a cluster. The last good list stays."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Protocol

from yarl import URL

from metricsmith.contracts import Context
from metricsmith.errors import MetricsmithError, WireError
from metricsmith.net.target_files import (
    MAX_LIST_BYTES,
    FileProvider,
    Found,
    Listed,
    Update,
    decode_json,
    discovery_failed,
    parse_groups,
)
from metricsmith.sources.client import HttpClient, gunzip
from metricsmith.sources.endpoint import without_secrets
from metricsmith.sources.kubernetes.provider import KubernetesProvider
from metricsmith.sources.settings import HttpDiscovery, ScrapeConfig

HTTP_TIMEOUT_S = 30.0


class Provider(Protocol):
    """Tells of targets: calls `update` with the whole list, at first and whenever it has changed."""

    kind: str

    async def run(self, update: Update) -> None:
        """Run until cancelled."""
        ...

    def age_s(self) -> float:
        """Return how long ago what it last told was true; 0 while it is current."""
        ...


def providers(config: ScrapeConfig, context: Context) -> list[Provider]:
    """Return the providers that the settings ask for."""
    found: list[Provider] = [StaticProvider(config.targets)]
    if config.file_sd is not None:
        found.append(FileProvider(config.file_sd, context))
    if config.http_sd is not None:
        found.append(HttpProvider(config.http_sd, context))
    if config.kubernetes_sd is not None:
        found.append(KubernetesProvider(config.kubernetes_sd, context))
    return found


class StaticProvider:
    """The targets of the configuration."""

    kind = "static"

    def __init__(self, targets: Iterable[str]) -> None:
        self._found = [Listed(target, {}) for target in targets]

    async def run(self, update: Update) -> None:
        await update(self._found)

    def age_s(self) -> float:
        return 0.0


class HttpProvider:
    """The targets that a URL answers, as Prometheus' http_sd has it."""

    kind = "http_sd"

    def __init__(self, config: HttpDiscovery, context: Context) -> None:
        self._config = config
        self._context = context
        self._answered_s = context.clock.monotonic()
        self._failing = False

    def age_s(self) -> float:
        return self._context.clock.monotonic() - self._answered_s if self._failing else 0.0

    async def run(self, update: Update) -> None:
        refresh_s = self._config.refresh / 1000
        headers = {"Accept": "application/json", "X-Prometheus-Refresh-Interval-Seconds": f"{refresh_s:g}"}
        last: Found | None = None
        async with HttpClient(self._config) as client:
            while True:
                try:
                    found = await self._ask(client, headers, min(HTTP_TIMEOUT_S, refresh_s))
                except MetricsmithError as error:
                    self._failing = True
                    discovery_failed(
                        self._context, self.kind, f"{without_secrets(self._config.url)}: {error}"
                    )
                else:
                    self._failing, self._answered_s = False, self._context.clock.monotonic()
                    if found != last:
                        await update(found)
                        last = found
                await self._context.clock.sleep(refresh_s)

    async def _ask(self, client: HttpClient, headers: Mapping[str, str], timeout_s: float) -> Found:
        answer = await client.get(URL(self._config.url), headers, timeout_s, MAX_LIST_BYTES)
        if not answer.content_type.lower().startswith("application/json"):
            raise WireError(f"got Content-Type {answer.content_type[:100]!r}, wanted application/json")
        labels = {"__meta_url": self._config.url}
        return await asyncio.to_thread(_decode, answer.body, answer.gzip, labels)


def _decode(body: bytes, gzip: bool, labels: Mapping[str, str]) -> Found:
    plain = gunzip(body, MAX_LIST_BYTES) if gzip else body
    return parse_groups(decode_json(plain), labels)
