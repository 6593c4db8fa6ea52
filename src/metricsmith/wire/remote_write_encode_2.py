"""What remote-write 2.0 has beside samples: symbols, and series that refer to them."""

from __future__ import annotations

from metricsmith.model.labels import split_key
from metricsmith.model.metadata import Metadata
from metricsmith.wire.protobuf import bytes_field, varint
from metricsmith.wire.remote_write_message import type_number

SERIES_TAG_2 = b"\x2a"
SLACK_BYTES = 16 << 10


class Vocabulary:
    """Texts that requests of one sender refer to by number. Each request has all of them.

    The numbers stay as they are from one request to the next, so that what
    refers to them is made once, and a receiver may know the symbols again.

    Source:
        Prometheus remote-write 2.0, `io/prometheus/write/v2/types.proto`, as of rc.4.
    """

    def __init__(self) -> None:
        self._refs: dict[bytes, bytes] = {}
        self._fields: list[bytes] = []
        self._tails: dict[Metadata, bytes] = {}
        self._size = self._first_size = 0
        self._ref(b"")

    def symbols(self) -> bytes:
        """Return the symbols of a request."""
        self._first_size = self._first_size or self._size
        if len(self._fields) > 1:
            self._fields = [b"".join(self._fields)]
        return self._fields[0]

    def outgrown(self, reference_bytes: int) -> bool:
        """Return whether a new one should be begun: much of it may be of no use to a request any more.

        `reference_bytes` are those of the request's references.
        """
        begun = self._first_size
        return bool(begun) and self._size > max(2 * begun, SLACK_BYTES + 2 * reference_bytes)

    def head(self, key: bytes) -> bytes:
        """Return what a series of a request has before its samples."""
        name, pairs = split_key(key)
        labels = sorted([(b"__name__", name), *pairs])
        return bytes_field(1, b"".join([self._ref(text) for pair in labels for text in pair]))

    def tail(self, metadata: Metadata) -> bytes:
        """Return what it has after them."""
        found = self._tails.get(metadata)
        if found is None:
            numbers = [b"\x08" + varint(kind)] if (kind := type_number(metadata.type)) else []
            for tag, text in ((b"\x18", metadata.help), (b"\x20", metadata.unit)):
                numbers += [tag, self._ref(text.encode())] if text else []
            found = self._tails[metadata] = bytes_field(5, b"".join(numbers)) if numbers else b""
        return found

    def _ref(self, text: bytes) -> bytes:
        found = self._refs.get(text)
        if found is None:
            found = self._refs[text] = varint(len(self._refs))
            symbol = bytes_field(4, text)
            self._fields.append(symbol)
            self._size += len(symbol)
        return found
