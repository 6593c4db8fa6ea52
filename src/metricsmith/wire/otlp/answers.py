"""Answers to OTLP senders: the export response and the error status, in Protobuf and JSON."""

from __future__ import annotations

import orjson

from metricsmith.wire.protobuf import bytes_field, varint


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
