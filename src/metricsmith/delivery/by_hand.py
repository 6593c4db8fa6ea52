"""Sending what a person asked for: once, beside what is under way."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from metricsmith.contracts import Delivery, Sink, TakesAside
from metricsmith.delivery.pieces import Cutter
from metricsmith.errors import DeliveryError, Rejected, TooLarge

LIMIT_S = 60.0


class ByHand:
    """Sends to one sink what is no part of the journal's order."""

    def __init__(
        self,
        kind: str,
        sink: Sink,
        cutter: Cutter,
        attempt: Callable[[Delivery], Awaitable[None]],
        delivered: Callable[[Delivery], None],
    ) -> None:
        """`attempt` sends once and counts what was taken, `delivered` only counts."""
        self._kind, self._sink, self._cutter = kind, sink, cutter
        self._attempt, self._delivered = attempt, delivered

    async def send(self, delivery: Delivery) -> str:
        """Return what the sink says of what it took.

        Raises:
            Rejected: the named series were not taken, or all when none is named.
            DeliveryError: it was not taken.
        """
        aside = self._sink if isinstance(self._sink, TakesAside) else None
        if self._sink.traits.whole and aside is None:
            raise DeliveryError(
                f"cannot be tried this way: a sink of type {self._kind} takes only whole batches of the "
                "journal, in order; look at `metricsmith sink list`"
            )
        try:
            if aside is None:
                await asyncio.wait_for(self._in_pieces(delivery), LIMIT_S)
                return ""
            said = await asyncio.wait_for(aside.send_aside(delivery), LIMIT_S)
            self._delivered(delivery)
            return said
        except DeliveryError:
            raise
        except Exception as error:  # a defect, or no answer in time
            raise DeliveryError(f"{type(error).__name__}: {error}") from error

    async def _in_pieces(self, delivery: Delivery) -> None:
        try:
            await self._attempt(delivery)
        except TooLarge:
            if (halves := self._cutter.halves(delivery)) is None:
                raise
            try:
                for half in halves:
                    await self._in_pieces(half)
            except Rejected as error:  # of a part: the series that it names are not all that are left
                raise Rejected(error.reason) from None
