"""Snappy blocks in pieces: what is compressed apart can stand together, and memory is used again."""

from __future__ import annotations

from collections.abc import Iterable

import cramjam

from metricsmith.wire.protobuf import varint


class Packer:
    """Compresses pieces of blocks. For one thread at a time."""

    def __init__(self) -> None:
        self._out = bytearray()

    def pack(self, plain: bytes | memoryview) -> tuple[int, bytes]:
        """Return how long a piece is, and its elements.

        Source:
            Snappy's format description: a block is its length, then elements that refer to what is
            before them. Those of a piece do not reach before its begin.
        """
        size = len(plain)
        if not size:
            return 0, b""
        most = 32 + size + size // 6
        if len(self._out) < most:
            self._out = bytearray(most)
        end = cramjam.snappy.compress_raw_into(plain, self._out)
        return size, bytes(memoryview(self._out)[len(varint(size)) : end])


def block(pieces: Iterable[tuple[int, bytes]]) -> bytes:
    """Return the block of pieces that were packed.

    >>> bytes(cramjam.snappy.decompress_raw(block(map(Packer().pack, (b"aaaaaaaa", b"", b"b")))))
    b'aaaaaaaab'
    """
    found = list(pieces)
    return varint(sum(size for size, _ in found)) + b"".join(elements for _, elements in found)
