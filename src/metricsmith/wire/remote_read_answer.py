"""Answers to remote read, as samples, to batches."""

from __future__ import annotations

from metricsmith.errors import WireError
from metricsmith.model.batch import Batch, empty_batch
from metricsmith.wire.protobuf import BYTES, read_fields
from metricsmith.wire.remote_write import RemoteWriteDecoder, decompress

MAX_BYTES = 1 << 30
MAX_SAMPLES = 100_000_000


def decode_read_response(body: bytes, decoder: RemoteWriteDecoder) -> Batch:
    """Return the samples of an answer to one query, series by series.

    Its series have the form of those of remote write, whose decoder remembers labels.

    Raises:
        LimitExceeded: larger than any request of ours asks for.
        WireError: malformed.
    """
    data = decompress(body, MAX_BYTES)
    results = [
        (start, stop)
        for number, kind, start, stop in read_fields(data, 0, len(data))
        if number == 1 and kind == BYTES
    ]
    if len(results) > 1:
        raise WireError(f"remote read: got answers to {len(results)} queries, wanted one")
    if not results:
        return empty_batch()
    start, stop = results[0]
    return decoder.decode_plain(data[start:stop], MAX_SAMPLES).batch
