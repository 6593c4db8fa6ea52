"""/federate: the last sample of each selected series, for another Prometheus to scrape."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

import numpy as np
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from metricsmith.api.body import Bodies
from metricsmith.api.context import ApiContext
from metricsmith.api.errors import ApiError
from metricsmith.api.params import read_params
from metricsmith.api.prometheus import ERRORS, GROUP
from metricsmith.api.queries import Queries
from metricsmith.api.routes import Operation, Parameter
from metricsmith.api.selectors import read_selectors
from metricsmith.model.arrays import F64, I64
from metricsmith.model.labels import PAIR, VALUE
from metricsmith.model.matchers import Matcher
from metricsmith.model.progress import Progress
from metricsmith.model.selection import MatrixGroup, RaggedGroup, Selection
from metricsmith.promql.budget import Budget
from metricsmith.wire.exposition import Wanted, negotiate
from metricsmith.wire.exposition.writer import write_exposition

log = logging.getLogger(__name__)

_INSTANCE = PAIR + b"instance" + VALUE

Sample = tuple[int, float]
"""Time in milliseconds and value."""


class FederateApi:
    """Shows what there is now to others that scrape."""

    def __init__(self, context: ApiContext, queries: Queries, bodies: Bodies) -> None:
        self._context = context
        self._queries = queries
        self._bodies = bodies

    def operations(self) -> list[Operation]:
        """Return the operations of this group."""
        match = Parameter("match[]", "Series selector; nothing is selected without one.", repeated=True)
        return [
            Operation(
                "/federate",
                ("GET",),
                self._federate,
                "The last sample of each selected series, with its time.",
                GROUP,
                (match,),
                answers={
                    200: "Prometheus text 0.0.4, or OpenMetrics 1.0 where `Accept` prefers it.",
                    **ERRORS,
                },
                media_type="text/plain",
                error=_text_error,
            )
        ]

    async def _federate(self, request: Request) -> Response:
        params = await read_params(request, self._bodies)
        wanted = negotiate(request.headers.get("accept"))
        text = " ".join(params.all("match[]"))

        def answer(progress: Progress, timeout_s: float) -> bytes:
            chosen = read_selectors(params, may_match_all=True)
            return self._document(chosen, wanted, self._context.engine.budget(timeout_s, progress))

        body = await self._queries.run(request, "federate", text, answer)
        return Response(body, headers={"content-type": wanted.content_type})

    def _document(self, chosen: Sequence[Sequence[Matcher]], wanted: Wanted, budget: Budget) -> bytes:
        samples: dict[bytes, Sample] = {}
        for matchers in chosen:
            samples.update(self._last(matchers, budget))
        named = sorted(key for key in samples if key and not key.startswith(PAIR))
        keys = [_with_instance(key) for key in named]
        times = np.array([samples[key][0] for key in named], np.int64)
        values = np.array([samples[key][1] for key in named], np.float64)
        # Without metadata, as Prometheus: a type could ask for another name, and names must stay.
        document = write_exposition(keys, values, {}, wanted.format, times, utf8_names=wanted.utf8_names)
        self._note_dropped("no_name", len(samples) - len(keys))
        self._note_dropped("same_labels", document.left_out)
        return document.body

    def _last(self, matchers: Sequence[Matcher], budget: Budget) -> Iterator[tuple[bytes, Sample]]:
        budget.check_time()
        progress, end_ms = budget.progress, self._context.clock.now_ms()
        start_ms, left = end_ms - self._context.limits.lookback_ms + 1, budget.max_samples - progress.samples
        found = self._context.store.select(matchers, start_ms, end_ms, left)
        progress.samples += found.sample_count()
        progress.series += len(found.keys)
        budget.check_series(progress.series)
        return last_samples(found)

    def _note_dropped(self, reason: str, series: int) -> None:
        if series:
            self._context.telemetry.problem(
                log,
                "metricsmith_samples_dropped_total",
                f"/federate leaves out {series} series: {reason.replace('_', ' ')}",
                amount=series,
                component="federate",
                reason=reason,
            )


def last_samples(found: Selection) -> Iterator[tuple[bytes, Sample]]:
    """Give the key and the last sample of each series that has not ended."""
    for rows, times, values in _groups(found):
        for row, time_ms, value in zip(rows.tolist(), times.tolist(), values.tolist(), strict=True):
            yield found.keys[row], (time_ms, value)


def _groups(found: Selection) -> Iterator[tuple[I64, I64, F64]]:
    for matrix in found.matrices:
        if not _ended(matrix):
            last = np.full(len(matrix.rows), matrix.times[-1], np.int64)
            yield matrix.rows, last, matrix.values[:, -1]
    if found.ragged is not None:
        yield _last_of(found.ragged)


def _ended(matrix: MatrixGroup) -> bool:
    return len(matrix.times) == 0 or (matrix.stale is not None and bool(matrix.stale[-1]))


def _last_of(ragged: RaggedGroup) -> tuple[I64, I64, F64]:
    last = ragged.offsets[1:] - 1
    kept = ragged.offsets[1:] > ragged.offsets[:-1]
    if ragged.stale is not None:
        kept &= ~ragged.stale[last]
    last = last[kept]
    return ragged.rows[kept], ragged.times[last], ragged.values[last]


def _with_instance(key: bytes) -> bytes:
    """Return a key with an instance label, an empty one if need be.

    Else a Prometheus that scrapes this with `honor_labels` would put ours in its place.
    """
    return key if _INSTANCE in key else key + _INSTANCE


def _text_error(error: ApiError) -> Response:
    return PlainTextResponse(f"{error}\n", error.status, headers=error.headers)
