"""The way that a kubeconfig file names; the file is read again when it changes."""

from __future__ import annotations

import asyncio
from pathlib import Path

from pydantic import SecretStr
from yarl import URL

from metricsmith.model.clock import Clock
from metricsmith.sources.kubernetes.access import TlsMaker, Way, bearer
from metricsmith.sources.kubernetes.kubeconfig import Entry, read_kubeconfig
from metricsmith.sources.kubernetes.plugin import Given, PluginCredentials


class KubeconfigAccess:
    """One context of a file."""

    def __init__(self, path: Path, context: str, clock: Clock) -> None:
        self._path, self._context = path, context
        self._plugin = PluginCredentials(clock)
        self._tls = TlsMaker()

    async def way(self) -> Way:
        entry = await asyncio.to_thread(read_kubeconfig, self._path, self._context)
        plugin = entry.user.plugin
        given = None if plugin is None else await self._plugin.current(entry, plugin)
        return await asyncio.to_thread(self._way, entry, given)

    def _way(self, entry: Entry, given: Given | None) -> Way:
        headers, (cert, key) = entry.headers(), entry.certificate()
        if given is not None:
            if given.token is not None:
                headers = bearer(given.token.get_secret_value())
            if given.cert is not None and given.key is not None:
                cert, key = _bytes(given.cert), _bytes(given.key)
        cluster = entry.cluster
        tls = self._tls.context(entry.authority(), cert, key, cluster.insecure)
        return Way(URL(cluster.server), headers, tls, cluster.server_name or None, entry.namespace)

    def refused(self) -> None:
        """Have the plugin, if there is one, give new credentials."""
        self._plugin.refused()


def _bytes(secret: SecretStr) -> bytes:
    return secret.get_secret_value().encode()
