"""What a sink's own processors make of what it is to get."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from itertools import takewhile

from metricsmith.contracts import Delivery, PartConfig, Preparing, Processor, Ticking
from metricsmith.delivery.refused import Refusals
from metricsmith.model.batch import Batch, empty_batch
from metricsmith.model.series import SeriesTable
from metricsmith.model.series_use import in_use
from metricsmith.model.telemetry import Telemetry

log = logging.getLogger(__name__)


class Prepared:
    """What a sink itself makes of samples, as the last of its processors."""

    Config = PartConfig

    def __init__(self, sink: Preparing) -> None:
        self.process = sink.prepare


class Processing:
    """Processors in a row. What one fails on is set aside: it must not stop what comes after."""

    def __init__(
        self,
        processors: Sequence[Processor],
        series: SeriesTable,
        set_aside: Callable[[Delivery, str], Awaitable[None]],
        whole: bool = False,
    ) -> None:
        """With `whole`, an empty batch stands for one of which nothing is left: no number is missing then."""
        self._processors, self._series = processors, series
        self._set_aside, self._whole = set_aside, whole

    async def of(self, taken: Delivery, now_ms: int) -> Delivery:
        """Return what is left, and what processors give of their own by now, under the last number."""
        if not self._processors:
            return taken
        kept: list[tuple[int, Batch]] = []
        failed = Refusals()
        for sequence, batch in zip(taken.sequences, taken.batches, strict=True):
            if batch.events:  # processors have nothing to do with them
                kept.append((sequence, batch))
                continue
            left = None
            try:
                left = self._through(self._processors, batch)
            except Exception as error:
                log.debug("defect in a processor", exc_info=True)
                reason = f"defect in a processor: {type(error).__name__}: {error}"
                failed.add(Delivery([sequence], [batch]), reason)
            if left is not None or self._whole:
                kept.append((sequence, empty_batch() if left is None else left))
        for refused, reason in failed.gathered():
            await self._set_aside(refused, reason)
        kept += [(taken.sequences[-1], batch) for batch in self._ticked(now_ms)]
        return Delivery([sequence for sequence, _ in kept], [batch for _, batch in kept])

    def prime(self, before: Iterable[Batch]) -> None:
        """Have processors remember what came before: differences go on where they stopped.

        What they count was counted then. One that gives samples with time would
        give them again, so it and those after it begin anew.
        """
        primed = list(takewhile(lambda processor: not isinstance(processor, Ticking), self._processors))
        if not primed:
            return
        with Telemetry.silence():
            for batch in before:
                if batch.events:
                    continue
                try:
                    self._through(primed, batch)
                except Exception:  # it was set aside when it was to be sent
                    log.debug("defect in a processor", exc_info=True)

    def _ticked(self, now_ms: int) -> Iterator[Batch]:
        for place, processor in enumerate(self._processors):
            while isinstance(processor, Ticking) and (batch := processor.tick(now_ms)) is not None:
                left = self._through(self._processors[place + 1 :], batch)
                if left is not None:
                    yield left

    def _through(self, processors: Sequence[Processor], batch: Batch) -> Batch | None:
        left = in_use(self._series, batch)
        for processor in processors:
            result = processor.process(left)
            if result is None:
                return None
            left = in_use(self._series, result)
        return left
