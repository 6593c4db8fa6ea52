"""The protobuf wire format: varints, tags, and fields of a message in any order."""

from __future__ import annotations

from collections.abc import Iterator

from metricsmith.errors import WireError

VARINT, FIXED64, BYTES, GROUP, GROUP_END, FIXED32 = 0, 1, 2, 3, 4, 5
_MAX_VARINT_BYTES = 10
_MAX_GROUP_DEPTH = 32
_U64 = (1 << 64) - 1
_SHORT = [bytes([value]) for value in range(128)]


def read_varint(data: bytes, at: int, end: int) -> tuple[int, int]:
    """Return an unsigned 64-bit varint and the offset behind it; bits beyond 64 are dropped.

    Raises:
        WireError: it does not end before `end` or within ten bytes.
    """
    value = shift = 0
    for at in range(at, min(end, at + _MAX_VARINT_BYTES)):  # noqa: B020 - `at` advances
        byte = data[at]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & _U64, at + 1
        shift += 7
    raise WireError(f"protobuf: got no end of a varint before byte {at + 1}, wanted at most ten bytes")


def read_length(data: bytes, at: int, end: int) -> tuple[int, int]:
    """Return start and end of length-delimited content that lies before `end`.

    Raises:
        WireError: it does not.
    """
    length, start = read_varint(data, at, end)
    if length > end - start:
        raise WireError(f"protobuf: got a field of {length} bytes at byte {at}, where {end - start} are left")
    return start, start + length


def read_fields(data: bytes, at: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield (field number, wire type, start, end) of each field in [at, end); groups are skipped.

    The range is that of the content: of a varint, its bytes.

    Raises:
        WireError: the bytes are not a message.
    """
    while at < end:
        tag, start = read_varint(data, at, end)
        if not 8 <= tag < 1 << 32:
            raise WireError(f"protobuf: got tag {tag} at byte {at}, wanted field 1 to {2**29 - 1}")
        kind = tag & 7
        if kind == GROUP:
            at = _skip_group(data, start, end)
            continue
        start, at = _content(data, kind, start, end)
        yield tag >> 3, kind, start, at


def expect(kind: int, wanted: int, message: str, number: int) -> None:
    """Raise WireError when a field has another wire type than its schema says."""
    if kind != wanted:
        raise WireError(f"got wire type {kind} for field {number} of {message}, wanted {wanted}")


def _content(data: bytes, kind: int, at: int, end: int) -> tuple[int, int]:
    match kind:
        case 0:
            return at, read_varint(data, at, end)[1]
        case 2:
            return read_length(data, at, end)
        case 1 | 5:
            stop = at + (8 if kind == FIXED64 else 4)
            if stop > end:
                raise WireError(f"protobuf: got a number cut off at byte {end}, wanted it to end at {stop}")
            return at, stop
    raise WireError(f"protobuf: got wire type {kind} before byte {at}, wanted 0, 1, 2, 3 or 5")


def _skip_group(data: bytes, at: int, end: int) -> int:
    depth = 1
    while at < end:
        tag, at = read_varint(data, at, end)
        kind = tag & 7
        depth += (kind == GROUP) - (kind == GROUP_END)
        if depth == 0:
            return at
        if depth > _MAX_GROUP_DEPTH:
            break
        if kind not in (GROUP, GROUP_END):
            at = _content(data, kind, at, end)[1]
    raise WireError(f"protobuf: got a group that does not end before byte {at}, or is nested too deep")


def varint(value: int) -> bytes:
    """Return an integer of at most 64 bits as a varint; negative ones as two's complement.

    >>> varint(300).hex()
    'ac02'
    """
    if 0 <= value < 128:
        return _SHORT[value]
    value &= _U64
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def bytes_field(number: int, content: bytes) -> bytes:
    """Return a length-delimited field."""
    return varint(number << 3 | BYTES) + varint(len(content)) + content


def signed(value: int) -> int:
    """Return a varint read as int64."""
    return value - (1 << 64) if value >= 1 << 63 else value
