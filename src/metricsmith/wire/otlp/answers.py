"""Answers to OTLP senders: the export response and the error status, in Protobuf and JSON."""

from __future__ import annotations

import orjson

from metricsmith.errors import WireError
from metricsmith.wire.protobuf import BYTES, VARINT, bytes_field, read_fields, read_varint, signed, varint

_SHOWN_BYTES = 300


def export_response(rejected: int, message: str, *, as_json: bool) -> bytes:
    """Return an ExportMetricsServiceResponse; without a partial success when nothing is to be told."""
    if not rejected and not message:
        return b"{}" if as_json else b""
    if as_json:
        partial = {"rejectedDataPoints": str(rejected), "errorMessage": message}
        return orjson.dumps({"partialSuccess": partial})
    count = b"\x08" + varint(rejected) if rejected else b""
    return bytes_field(1, count + bytes_field(2, message.encode()))


def status(code: int, message: str, *, as_json: bool) -> bytes:
    """Return a google.rpc.Status."""
    if as_json:
        return orjson.dumps({"code": code, "message": message})
    return b"\x08" + varint(code) + bytes_field(2, message.encode())


def read_export_response(body: bytes) -> tuple[int, str]:
    """Return how many points an ExportMetricsServiceResponse says were rejected, and its message.

    An answer that cannot be read, such as a page of a proxy, says neither.
    """
    rejected, message = 0, ""
    try:
        for number, kind, start, stop in read_fields(body, 0, len(body)):
            if (number, kind) != (1, BYTES):
                continue
            for inner, inner_kind, at, end in read_fields(body, start, stop):
                if (inner, inner_kind) == (1, VARINT):
                    rejected = max(0, signed(read_varint(body, at, end)[0]))
                elif (inner, inner_kind) == (2, BYTES):
                    message = _text(body[at:end])
    except WireError:
        return 0, ""
    return rejected, message


def read_status(body: bytes) -> str:
    """Return the message of a google.rpc.Status, empty when there is none."""
    try:
        fields = [
            body[a:b]
            for number, kind, a, b in read_fields(body, 0, len(body))
            if (number, kind) == (2, BYTES)
        ]
    except WireError:
        return ""
    return _text(fields[-1]) if fields else ""


def _text(message: bytes) -> str:
    text = message[:_SHOWN_BYTES].decode(errors="replace")
    return "".join(c if c.isprintable() else " " for c in text).strip()
