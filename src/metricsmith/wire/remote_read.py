"""Remote read 1.0 requests: what a Prometheus asks for, decoded within limits."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from metricsmith.errors import LimitExceeded, WireError
from metricsmith.model.matchers import Matcher, MatchOp
from metricsmith.wire.protobuf import BYTES, VARINT, read_fields, read_varint, signed
from metricsmith.wire.remote_write import decompress

MAX_REQUEST_BYTES = 1 << 20
"""Largest request, before and after decompression: matchers are all that it holds."""
MAX_QUERIES = 100
MAX_MATCHERS = 1000
"""Over all queries of a request."""

OPS = (MatchOp.EQ, MatchOp.NE, MatchOp.RE, MatchOp.NRE)


class ResponseType(IntEnum):
    """In which form samples are answered."""

    SAMPLES = 0
    STREAMED_XOR_CHUNKS = 1


@dataclass(frozen=True, slots=True)
class ReadQuery:
    """A selector and a closed range of time."""

    matchers: tuple[Matcher, ...]
    start_ms: int
    end_ms: int

    def __str__(self) -> str:
        return f"{{{', '.join(map(str, self.matchers))}}} from {self.start_ms} to {self.end_ms}"


@dataclass(frozen=True, slots=True)
class ReadRequest:
    """Queries, and the form in which the client wants all of them answered."""

    queries: tuple[ReadQuery, ...]
    response: ResponseType


def decode_read_request(body: bytes) -> ReadRequest:
    """Return what a request body (snappy block format, protobuf) asks for.

    Hints are not read: a store may use them to answer less than the range, and
    a client must not rely on that it does.

    Raises:
        LimitExceeded: more bytes, queries or matchers than allowed.
        WireError: malformed, a wrong regular expression, or no response type that we have.
    Source:
        Prometheus `prompb/remote.proto`; response types are taken in the client's order.
    """
    data = decompress(body, MAX_REQUEST_BYTES)
    queries: list[ReadQuery] = []
    accepted: list[int] = []
    matchers = 0
    for number, kind, start, stop in read_fields(data, 0, len(data)):
        if number == 1:
            _expect(kind, BYTES, "queries")
            if len(queries) == MAX_QUERIES:
                raise LimitExceeded(f"remote read: got more than {MAX_QUERIES} queries in a request")
            queries.append(_query(data, start, stop, MAX_MATCHERS - matchers))
            matchers += len(queries[-1].matchers)
        elif number == 2:
            accepted += _numbers(data, kind, start, stop)
    return ReadRequest(tuple(queries), _negotiated(accepted))


def _negotiated(accepted: list[int]) -> ResponseType:
    if not accepted:
        return ResponseType.SAMPLES
    for number in accepted:
        if number in (ResponseType.SAMPLES, ResponseType.STREAMED_XOR_CHUNKS):
            return ResponseType(number)
    raise WireError(f"remote read: got response types {accepted[:5]}, wanted 0 (samples) or 1 (XOR chunks)")


def _numbers(data: bytes, kind: int, start: int, stop: int) -> list[int]:
    """Return the values of a repeated enumeration, packed or one by one."""
    if kind == VARINT:
        return [read_varint(data, start, stop)[0]]
    _expect(kind, BYTES, "accepted_response_types")
    found = []
    while start < stop:
        number, start = read_varint(data, start, stop)
        found.append(number)
    return found


def _query(data: bytes, at: int, end: int, most_matchers: int) -> ReadQuery:
    times = {1: 0, 2: 0}
    matchers: list[Matcher] = []
    for number, kind, start, stop in read_fields(data, at, end):
        if number in times:
            _expect(kind, VARINT, "time")
            times[number] = signed(read_varint(data, start, stop)[0])
        elif number == 3:
            _expect(kind, BYTES, "matchers")
            if len(matchers) == most_matchers:
                raise LimitExceeded(f"remote read: got more than {MAX_MATCHERS} matchers in a request")
            matchers.append(_matcher(data, start, stop))
    return ReadQuery(tuple(matchers), times[1], times[2])


def _matcher(data: bytes, at: int, end: int) -> Matcher:
    op = 0
    texts = {2: "", 3: ""}
    for number, kind, start, stop in read_fields(data, at, end):
        if number == 1:
            _expect(kind, VARINT, "matcher type")
            op = read_varint(data, start, stop)[0]
        elif number in texts:
            _expect(kind, BYTES, "matcher text")
            try:
                texts[number] = data[start:stop].decode()
            except UnicodeDecodeError:
                shown = data[start : start + 40]
                raise WireError(f"remote read: got matcher text {shown!r}, wanted UTF-8") from None
    if op >= len(OPS):
        raise WireError(f"remote read: got matcher type {op}, wanted 0 to {len(OPS) - 1}")
    try:
        return Matcher(texts[2], OPS[op], texts[3])
    except ValueError as error:
        raise WireError(f"remote read: matcher of {texts[2][:100]!r}: {error}") from None


def _expect(kind: int, wanted: int, what: str) -> None:
    if kind != wanted:
        raise WireError(f"remote read: got wire type {kind} for {what}, wanted {wanted}")
