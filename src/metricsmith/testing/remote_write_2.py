"""Remote-write 2.0 requests for tests and benchmarks, encoded by Google's protobuf and not by us."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

import cramjam
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

CONTENT_TYPE = "application/x-protobuf;proto=io.prometheus.write.v2.Request"
HEADERS = {
    "Content-Encoding": "snappy",
    "Content-Type": CONTENT_TYPE,
    "X-Prometheus-Remote-Write-Version": "2.0.0",
}
_PACKAGE = "io.prometheus.write.v2"
_SCHEMA: dict[str, list[tuple[str, int, str, bool]]] = {
    "Request": [("symbols", 4, "string", True), ("timeseries", 5, "TimeSeries", True)],
    "TimeSeries": [
        ("labels_refs", 1, "uint32", True),
        ("samples", 2, "Sample", True),
        ("histograms", 3, "Histogram", True),
        ("exemplars", 4, "Exemplar", True),
        ("metadata", 5, "Metadata", False),
        ("created_timestamp", 6, "int64", False),
    ],
    "Sample": [
        ("value", 1, "double", False),
        ("timestamp", 2, "int64", False),
        ("start_timestamp", 3, "int64", False),
    ],
    "Histogram": [("count_int", 1, "uint64", False), ("sum", 3, "double", False)],
    "Exemplar": [
        ("labels_refs", 1, "uint32", True),
        ("value", 2, "double", False),
        ("timestamp", 3, "int64", False),
    ],
    "Metadata": [
        ("type", 1, "uint32", False),
        ("help_ref", 3, "uint32", False),
        ("unit_ref", 4, "uint32", False),
    ],
}
"""Name, number, type and repetition of each field, as the specification has them."""


@cache
def request_class() -> Any:
    """Return the class of the message `io.prometheus.write.v2.Request`."""
    field_kind = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="write_v2.proto", package=_PACKAGE, syntax="proto3")
    for message, fields in _SCHEMA.items():
        described = file.message_type.add(name=message)
        for name, number, type, repeated in fields:
            added = described.field.add(name=name, number=number)
            added.label = field_kind.LABEL_REPEATED if repeated else field_kind.LABEL_OPTIONAL
            if type in _SCHEMA:
                added.type, added.type_name = field_kind.TYPE_MESSAGE, f".{_PACKAGE}.{type}"
            else:
                added.type = field_kind.Type.Value(f"TYPE_{type.upper()}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.Request"))


class Symbols:
    """Texts of a request, each once; the first is empty."""

    def __init__(self) -> None:
        self.texts = [""]
        self._numbers = {"": 0}

    def refs(self, labels: Mapping[str, str]) -> list[int]:
        """Return references to sorted labels."""
        return [self.ref(text) for pair in sorted(labels.items()) for text in pair]

    def ref(self, text: str) -> int:
        """Return the reference to a text."""
        number = self._numbers.setdefault(text, len(self.texts))
        if number == len(self.texts):
            self.texts.append(text)
        return number


def request(
    series: Iterable[tuple[Mapping[str, str], Sequence[tuple[int, float]]]], type: int = 0, help: str = ""
) -> Any:
    """Return a request of series, each with labels and samples (time in ms, value); all have one metadata."""
    message, symbols = request_class()(), Symbols()
    for labels, samples in series:
        added = message.timeseries.add(labels_refs=symbols.refs(labels))
        for time_ms, value in samples:
            added.samples.add(timestamp=time_ms, value=value)
        if type or help:
            added.metadata.type, added.metadata.help_ref = type, symbols.ref(help)
    message.symbols.extend(symbols.texts)
    return message


def body(message: Any) -> bytes:
    """Return what is posted."""
    return bytes(cramjam.snappy.compress_raw(message.SerializeToString()))
