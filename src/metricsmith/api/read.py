"""The remote-read 1.0 server: POST /api/v1/read."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import numpy as np
from anyio import to_thread
from starlette.requests import Request
from starlette.responses import Response

from metricsmith.api.body import Bodies
from metricsmith.api.context import ApiContext
from metricsmith.api.jsonout import JsonChunks
from metricsmith.api.params import MAX_TIME_MS, MIN_TIME_MS
from metricsmith.api.queries import Queries
from metricsmith.api.routes import Body, Operation
from metricsmith.model.arrays import F64, I64, Bool
from metricsmith.model.progress import Progress
from metricsmith.model.selection import Selection
from metricsmith.promql.budget import Budget
from metricsmith.promql.series_labels import label_order
from metricsmith.wire.remote_read import (
    MAX_REQUEST_BYTES,
    ReadQuery,
    ReadRequest,
    ResponseType,
    decode_read_request,
)
from metricsmith.wire.remote_read_encode import (
    SAMPLES_TYPE,
    STREAMED_TYPE,
    SeriesPiece,
    encode_frames,
    encode_query_result,
    encode_read_response,
)
from metricsmith.wire.remote_write_encode import value_bits

INLINE_BYTES = 1 << 10
"""Longer requests are decoded in a thread: to compile a long regular expression takes its time."""
PIECE_SAMPLES = 60_000
"""Samples that are encoded at once: their arrays fit the cache, and cancellation is noticed between."""


class RemoteReadApi:
    """Answers remote-read requests, in both response types."""

    def __init__(self, context: ApiContext, queries: Queries, bodies: Bodies) -> None:
        self._context = context
        self._queries = queries
        self._bodies = bodies

    def operations(self) -> list[Operation]:
        """Return the operations of this group."""
        return [
            Operation(
                "/api/v1/read",
                ("POST",),
                self._read,
                "Give samples by Prometheus remote read 1.0: as samples, or as streamed XOR chunks.",
                "Remote read",
                body=Body(SAMPLES_TYPE, {"type": "string", "format": "binary"}),
                answers={
                    200: "ReadResponse (snappy), or frames of ChunkedReadResponse, as the request prefers.",
                    400: "Malformed.",
                    408: "The body does not arrive in time.",
                    413: "The request is too large.",
                    422: "It asks for too many samples or series.",
                    503: "Time-out, too many queries, or not ready.",
                },
                media_type=SAMPLES_TYPE,
            )
        ]

    async def _read(self, request: Request) -> Response:
        async with self._bodies.read(request, MAX_REQUEST_BYTES) as body:
            decode = partial(decode_read_request, body)
            asked = decode() if len(body) <= INLINE_BYTES else await to_thread.run_sync(decode)

        def answer(progress: Progress, timeout_s: float) -> Response:
            budget = self._context.engine.budget(timeout_s, progress)
            if asked.response == ResponseType.STREAMED_XOR_CHUNKS:
                return _Frames(self._frames(asked, budget))
            results = [encode_query_result(self._uncompressed(query, budget)) for query in asked.queries]
            body = encode_read_response(results)
            return Response(body, media_type=SAMPLES_TYPE, headers={"Content-Encoding": "snappy"})

        return await self._queries.run(request, "read", "; ".join(map(str, asked.queries)), answer)

    def _frames(self, asked: ReadRequest, budget: Budget) -> list[bytes]:
        return [
            b"".join(encode_frames(piece, index))
            for index, query in enumerate(asked.queries)
            for piece in self._pieces(query, budget)
        ]

    def _uncompressed(self, query: ReadQuery, budget: Budget) -> Iterator[SeriesPiece]:
        """Yield the same when a sample takes some twenty bytes of the answer, not one or two."""
        for piece in self._pieces(query, budget):
            budget.check_answer(budget.progress.samples)
            yield piece

    def _pieces(self, query: ReadQuery, budget: Budget) -> Iterator[SeriesPiece]:
        """Yield the series of a query in label order, with so many samples at once as are encoded at once."""
        start_ms, end_ms = max(query.start_ms, MIN_TIME_MS), min(query.end_ms, MAX_TIME_MS)
        if start_ms > end_ms:
            return
        budget.check_time()
        progress = budget.progress
        left = budget.max_samples - progress.samples
        found = self._context.store.select(query.matchers, start_ms, end_ms, left)
        progress.samples += found.sample_count()
        progress.series += len(found.keys)
        budget.check_samples(progress.samples)
        budget.check_series(progress.series)
        waiting: list[_Series] = []
        size = 0
        for series in _in_label_order(found):
            waiting.append(series)
            size += len(series.times)
            if size >= PIECE_SAMPLES:
                budget.check_time()
                yield _piece(waiting)
                waiting, size = [], 0
        if waiting:
            yield _piece(waiting)


class _Frames(JsonChunks):
    media_type = STREAMED_TYPE


class _Series(NamedTuple):
    key: bytes
    times: I64
    values: F64
    stale: Bool | None


def _in_label_order(found: Selection) -> Iterator[_Series]:
    """Yield each series; its arrays are views."""
    series: list[_Series | None] = [None] * len(found.keys)
    for group in found.matrices:
        for row, values in zip(group.rows.tolist(), group.values, strict=True):
            series[row] = _Series(found.keys[row], group.times, values, group.stale)
    if (flat := found.ragged) is not None:
        bounds = flat.offsets.tolist()
        for i, row in enumerate(flat.rows.tolist()):
            part = slice(bounds[i], bounds[i + 1])
            stale = None if flat.stale is None else flat.stale[part]
            series[row] = _Series(found.keys[row], flat.times[part], flat.values[part], stale)
    for index in label_order(found.keys):
        if (each := series[index]) is not None and len(each.times):
            yield each


def _piece(series: list[_Series]) -> SeriesPiece:
    return SeriesPiece(
        [each.key for each in series],
        [len(each.times) for each in series],
        np.concatenate([each.times for each in series]),
        np.concatenate([value_bits(each.values, each.stale) for each in series]),
    )
