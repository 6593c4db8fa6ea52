"""A running agent as the place that samples are read from: its Prometheus API."""

from __future__ import annotations

import urllib.parse
from collections.abc import Sequence
from http import HTTPStatus

from metricsmith.cli.client import Refused, call, fetch, post
from metricsmith.errors import QueryLimitExceeded
from metricsmith.model.labels import NAME_LABEL, encode_labels
from metricsmith.model.matchers import Matcher, MatchOp
from metricsmith.model.metadata import Metadata, MetricType
from metricsmith.model.series import SeriesTable
from metricsmith.store.pieces import RaggedPiece
from metricsmith.store.ragged import EMPTY
from metricsmith.wire.remote_read_answer import decode_read_response
from metricsmith.wire.remote_read_encode import SAMPLES_TYPE, encode_read_request
from metricsmith.wire.remote_write import RemoteWriteDecoder
from metricsmith.wire.sample_files.parquet import runs_of


class AgentHistory:
    """Reads samples by remote read; see `History`. For one thread."""

    def __init__(self, url: str, table: SeriesTable) -> None:
        self._url, self.series_table = url, table
        self._decoder = RemoteWriteDecoder(table)

    def names(self, selectors: Sequence[Sequence[Matcher]], start_ms: int, end_ms: int) -> list[str]:
        """Return the metric names of matching series."""
        bounds = _bounds(start_ms, end_ms)
        found: set[str] = set()
        for matchers in selectors:
            chosen = [("match[]", _selector(matchers))] if matchers else []
            query = urllib.parse.urlencode([*chosen, *bounds.items()])
            found.update(fetch(self._url, f"/api/v1/label/{NAME_LABEL}/values?{query}", {}))
        return ["", *sorted(found)]

    def series(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> list[bytes]:
        """Return the keys of matching series that may have samples in the range."""
        keys = []
        if all(matcher.matches("") for matcher in matchers if matcher.name == NAME_LABEL):
            # The API lists no series by a selector that may match nothing but the absence of labels.
            unnamed = self.samples([*matchers, Matcher(NAME_LABEL, MatchOp.EQ, "")], start_ms, end_ms, 0)
            keys = [self.series_table.key(each) for each in unnamed.series.tolist()]
        named = [*matchers, Matcher(NAME_LABEL, MatchOp.NE, "")]
        parameters = {"match[]": _selector(named), **_bounds(start_ms, end_ms)}
        listed, _ = call(self._url, "/api/v1/series", parameters)
        return keys + [encode_labels(labels) for labels in listed]

    def samples(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, limit: int) -> RaggedPiece:
        """Return the samples of matching series; the agent has a limit of its own."""
        headers = {"Content-Type": SAMPLES_TYPE, "Content-Encoding": "snappy"}
        try:
            request = encode_read_request(matchers, start_ms, end_ms)
            body = post(self._url, "/api/v1/read", request, headers).body
        except Refused as error:
            if error.status == HTTPStatus.UNPROCESSABLE_ENTITY:
                raise QueryLimitExceeded(str(error), "samples") from None
            raise
        batch = decode_read_response(body, self._decoder)
        if not len(batch):
            return EMPTY
        ids, offsets = runs_of(batch.layout.ids)
        return RaggedPiece(ids, offsets, batch.times(), batch.value, batch.stale)

    def metadata(self) -> dict[str, Metadata]:
        """Return what is known of metric families."""
        told = fetch(self._url, "/api/v1/metadata", {})
        return {
            name: Metadata(MetricType(each["type"].replace("untyped", "unknown")), each["unit"], each["help"])
            for name, (each, *_) in told.items()
        }


def _selector(matchers: Sequence[Matcher]) -> str:
    return "{" + ",".join(map(str, matchers)) + "}"


def _bounds(start_ms: int, end_ms: int) -> dict[str, str]:
    return {"start": f"{start_ms / 1000:.3f}", "end": f"{end_ms / 1000:.3f}"}
