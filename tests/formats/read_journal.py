"""Reads all batches of a journal as docs/formats/journal.md says, with NumPy and pyarrow and no metricsmith.

`read_journal.py DIRECTORY` writes a pickled list to standard output, of each batch the sequence number and:
keys, stream, metadata, times, values, markers, events.
"""

import json
import pickle
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import pyarrow as pa

HEADER, FRAME = struct.Struct("<8sIQI"), struct.Struct("<4sBBHIIQII")
SERIES, LAYOUT, SAMPLES, SAMPLES_INLINE, EVENTS = 1, 2, 3, 4, 5
HAS_TIMES, HAS_MARKERS = 1, 2


def read_journal(folder):
    """Return what all segments hold, in order."""
    paths = sorted(folder.glob("*.journal"))
    ends = [int(path.stem) for path in paths[1:]] + [1 << 63]
    segments = [(read_segment(path.read_bytes()), end) for path, end in zip(paths, ends, strict=True)]
    return [batch for batches, end in segments for batch in batches if batch[0] < end]


def read_segment(data):
    """Yield the batches of a segment, which defines all that they use."""
    magic, version, _, crc32 = HEADER.unpack_from(data)
    if magic != b"msjournl" or version != 1 or crc32 != zlib.crc32(data[:20]):
        raise SystemExit("not a segment of format version 1")
    keys, layouts, at = [], {}, HEADER.size
    while at < len(data):
        head = data[at : at + FRAME.size]
        mark, kind, compression, _, stored, size, sequence, payload_crc32, head_crc32 = FRAME.unpack(head)
        if mark != b"\xf5mj1" or zlib.crc32(head[:28]) != head_crc32:
            raise SystemExit(f"damaged header at byte {at}")
        payload = data[at + FRAME.size : at + FRAME.size + stored]
        at += FRAME.size + stored
        if zlib.crc32(payload) != payload_crc32:
            raise SystemExit(f"damaged payload before byte {at}")
        if compression:
            payload = pa.decompress(payload, size, codec="lz4_raw", asbytes=True)
        payload = Reader(payload)
        if kind == SERIES:
            first, count = payload.numbers("u4", 2).tolist()
            assert first == len(keys)
            lengths = payload.numbers("u4", count)
            keys += [payload.take(length) for length in lengths.tolist()]
        elif kind == LAYOUT:
            number, layout = read_layout(payload, keys)
            layouts[number] = layout
        elif kind in (SAMPLES, SAMPLES_INLINE):
            yield sequence, *read_samples(payload, kind, keys, layouts)
        elif kind == EVENTS:
            yield sequence, [], None, {}, [], [], [], json.loads(payload.rest())


def read_layout(payload, keys):
    number, count = payload.numbers("u4", 2).tolist()
    stream_bytes = int(payload.numbers("i4", 1)[0])
    metadata_bytes = int(payload.numbers("u4", 1)[0])
    series = [keys[n] for n in payload.differences("u4", count).tolist()]
    stream = None if stream_bytes < 0 else payload.take(stream_bytes).decode()
    metadata = json.loads(payload.take(metadata_bytes) or b"{}")
    return number, (series, stream, metadata)


def read_samples(payload, kind, keys, layouts):
    number, count = payload.numbers("u4", 2).tolist()
    first_ms = int(payload.numbers("i8", 1)[0])
    flags = int(payload.numbers("u4", 1)[0])
    values = payload.planes("f8", count)
    times = np.full(count, first_ms)
    if flags & HAS_TIMES:
        times = payload.differences("i8", count, first_ms)
    stale = np.zeros(count, bool)
    if flags & HAS_MARKERS:
        bits = np.frombuffer(payload.take((count + 7) // 8), np.uint8)
        stale = np.unpackbits(bits)[:count].astype(bool)
    if kind == SAMPLES_INLINE:
        series, stream, metadata = [keys[n] for n in payload.differences("u4", count).tolist()], None, {}
    else:
        series, stream, metadata = layouts[number]
    return series, stream, metadata, times.tolist(), values.tolist(), stale.tolist(), []


class Reader:
    """The bytes of a payload, taken one field after another."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, size):
        self.at += size
        return self.data[self.at - size : self.at]

    def rest(self):
        return self.data[self.at :]

    def numbers(self, kind, count):
        return np.frombuffer(self.take(count * int(kind[1])), f"<{kind}")

    def planes(self, kind, count):
        width = int(kind[1])
        octets = np.frombuffer(self.take(count * width), np.uint8).reshape(width, count)
        return np.ascontiguousarray(octets.T).view(f"<{kind}").ravel()

    def differences(self, kind, count, before=0):
        steps = self.planes(kind, count)
        return (np.cumsum(steps, dtype=steps.dtype) + steps.dtype.type(before)).astype(steps.dtype)


if __name__ == "__main__":
    sys.stdout.buffer.write(pickle.dumps(read_journal(Path(sys.argv[1]))))
