"""What operators can have done to the embedded store of a running agent."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from metricsmith.api.context import Snapshot, StoreAdmin
from metricsmith.model.matchers import Matcher
from metricsmith.runtime.agent import Agent
from metricsmith.store.embedded import EmbeddedStore


def admin_of(agent: Agent) -> StoreAdmin | None:
    """Return what can be done to the agent's store, None where samples are kept elsewhere."""
    return EmbeddedAdmin(agent.store) if isinstance(agent.store, EmbeddedStore) else None


class EmbeddedAdmin:
    """Works on the event loop's thread, which alone may start a flush; what takes long is done in others."""

    def __init__(self, store: EmbeddedStore) -> None:
        self._store = store
        self._snapshots = asyncio.Lock()

    async def snapshot(self, skip_head: bool) -> Snapshot:
        """Flush what has been accepted, then link all blocks into a folder of `snapshots/`."""
        async with self._snapshots:
            if not skip_head:
                await self.flush()
            made = await asyncio.to_thread(self._store.snapshot)
        return Snapshot(made.path.name, str(made.path.absolute()), made.blocks, made.samples, made.bytes)

    async def delete_series(self, selectors: Sequence[Sequence[Matcher]], start_ms: int, end_ms: int) -> int:
        """Flush what has been accepted, then hide matching samples from all queries, for good."""
        await self.flush()
        found = tuple(tuple(matchers) for matchers in selectors)
        return await asyncio.to_thread(self._store.delete_series, found, start_ms, end_ms)

    async def flush(self) -> None:
        """Return when all that is in memory now is in blocks.

        Raises:
            DiskFull, StoreError, OSError: it is not, and stays in memory and in the journal.
        """
        target = self._store.applied
        while self._store.cursor() < target:
            await asyncio.shield(asyncio.wrap_future(self._store.begin_flush()))
