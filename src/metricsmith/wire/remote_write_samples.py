"""Samples of a remote-write message, parsed as arrays: step k reads the k-th sample of every series."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metricsmith.model.arrays import I64, U8, Bool
from metricsmith.wire.remote_write_message import check_count

U64 = NDArray[np.uint64]

PAD_BYTES = 16
"""Zero bytes wanted behind a message, so that eight bytes can be read anywhere in it."""

_SAMPLE, _VALUE, _TIME = 0x12, 0x09, 0x10
_VALUE_BYTES = 9
_FEW_SERIES = 16
_LONG_BYTES = 64 * 18
_CONTINUED = np.array([0, *(sum(0x80 << 8 * i for i in range(m - 1)) for m in range(1, 9))], dtype=np.uint64)
_USED = np.array([(1 << 8 * m) - 1 for m in range(9)], dtype=np.uint64)


@dataclass(frozen=True, slots=True)
class SampleBlock:
    """Samples of all series of a message, one series after another.

    Shapes:
        times, value_bits: (P,). counts: (S,) samples per series.
        odd: series whose samples could not be read here; their count is 0.
    """

    times: I64
    value_bits: U64
    counts: I64
    odd: I64

    def with_odd(self, samples: Mapping[int, tuple[Sequence[int], Sequence[int]]]) -> SampleBlock:
        """Return the block with (times, value bits) of the odd series put in their places."""
        if not samples:
            return self
        counts = self.counts.copy()
        for series, (times, _) in samples.items():
            counts[series] = len(times)
        offsets = np.cumsum(counts) - counts
        is_odd = np.zeros(len(counts), dtype=np.bool_)
        is_odd[list(samples)] = True
        regular = np.repeat(~is_odd, counts)
        all_times, all_bits = np.empty(len(regular), np.int64), np.empty(len(regular), np.uint64)
        all_times[regular], all_bits[regular] = self.times, self.value_bits
        for series, (times, bits) in samples.items():
            place = slice(offsets[series], offsets[series] + counts[series])
            all_times[place] = np.array(times, dtype=np.int64)
            all_bits[place] = np.array(bits, dtype=np.uint64)
        return SampleBlock(all_times, all_bits, counts, self.odd[:0])


def read_samples(data: bytes, start: I64, end: I64, max_samples: int) -> SampleBlock:
    """Return the samples in the byte ranges of all series.

    A range that holds anything but plain samples makes its series odd: it is
    for the reader that goes field by field.

    Shapes:
        start, end: (S,) offsets into `data`, which ends with PAD_BYTES zeros.
    Raises:
        LimitExceeded: there are more than `max_samples`.
    """
    buffer = np.frombuffer(data, np.uint8)
    series, step, at, length, odd = _find_samples(buffer, start, end, max_samples)
    times, bits, good = _parse(data, buffer, at, length)
    odd[series[~good]] = True
    good = ~odd[series]
    if not good.all():
        series, step, times, bits = series[good], step[good], times[good], bits[good]
    counts = np.bincount(series, minlength=len(start)).astype(np.int64)
    if len(series) == len(start) and not odd.any():  # one sample each, in order already
        return SampleBlock(times, bits, counts, np.empty(0, np.int64))
    place = (np.cumsum(counts) - counts)[series] + step
    ordered_times, ordered_bits = np.empty_like(times), np.empty_like(bits)
    ordered_times[place], ordered_bits[place] = times, bits
    return SampleBlock(ordered_times, ordered_bits, counts, np.flatnonzero(odd))


def _find_samples(buffer: U8, start: I64, end: I64, max_samples: int) -> tuple[I64, I64, I64, I64, Bool]:
    # Series, number within it, offset and length of each sample message; which series are odd.
    odd = np.zeros(len(start), dtype=np.bool_)
    found: list[tuple[I64, I64, I64, I64]] = []
    is_long = end - start > _LONG_BYTES
    active = np.flatnonzero(~is_long)
    at, stop = start[active], end[active]
    k = total = 0
    while len(active) >= _FEW_SERIES:
        length = buffer[at + 1].astype(np.int64)
        after = at + 2 + length
        bad = (buffer[at] != _SAMPLE) | (length >= 0x80) | (after > stop)
        if bad.any():
            odd[active[bad]] = True
            good = ~bad
            active, at, stop, length, after = active[good], at[good], stop[good], length[good], after[good]
        found.append((active, np.full(len(active), k), at, length))
        total += len(active)
        check_count(total, max_samples)
        more = after < stop
        if more.all():
            at = after
        else:
            active, at, stop = active[more], after[more], stop[more]
        k += 1
    few = [(i, k, a, s) for i, a, s in zip(active.tolist(), at.tolist(), stop.tolist(), strict=True)]
    few += [(i, 0, int(start[i]), int(end[i])) for i in np.flatnonzero(is_long).tolist()]
    for i, first, begin, stop_at in few:
        even = _evenly_spaced(buffer, i, first, begin, stop_at)
        if even is None:
            odd[i] = True
        else:
            found.append(even)
            total += len(even[0])
            check_count(total, max_samples)
    if not found:
        none = np.empty(0, np.int64)
        return none, none, none, none, odd
    series, step, place, length = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return series, step, place, length, odd


def _evenly_spaced(
    buffer: U8, series: int, first: int, start: int, end: int
) -> tuple[I64, I64, I64, I64] | None:
    # The samples of one series from its sample `first` on, when all are of one length.
    length = int(buffer[start + 1])
    stride = 2 + length
    if length >= 0x80 or (end - start) % stride:
        return None
    rows = buffer[start:end].reshape(-1, stride)
    if not ((rows[:, 0] == _SAMPLE) & (rows[:, 1] == length)).all():
        return None
    step = np.arange(len(rows))
    return np.full(len(rows), series), first + step, start + stride * step, np.full(len(rows), length)


def _parse(data: bytes, buffer: U8, at: I64, length: I64) -> tuple[I64, U64, Bool]:
    """Return times, value bits, and which samples were of the usual form: value, then time, zeros left out.

    Shapes:
        at, length: (P,) of sample messages, tag included in `at`, not in `length`.
        returns: three of (P,)
    """
    words = np.ndarray((len(data) - 7,), dtype="<u8", buffer=data, strides=(1,))
    has_value = (buffer[at + 2] == _VALUE) & (length >= _VALUE_BYTES)
    bits = words[at + 3]
    time_tag = at + 2 + _VALUE_BYTES
    time_bytes = length - (_VALUE_BYTES + 1)
    if not has_value.all():
        bits[~has_value] = 0
        time_tag[~has_value] -= _VALUE_BYTES
        time_bytes[~has_value] += _VALUE_BYTES
    good = (buffer[time_tag] == _TIME) & (time_bytes >= 1) & (time_bytes <= 8)
    no_time = time_bytes == -1
    width = np.where(good, time_bytes, 0)
    raw = words[time_tag + 1] & _USED[width]
    good &= raw & np.uint64(0x8080808080808080) == _CONTINUED[width]
    return _join_sevens(raw).view(np.int64), bits, good | no_time


def _join_sevens(raw: U64) -> U64:
    """Return the numbers in varints of up to eight bytes: seven bits of each byte, lowest first.

    >>> _join_sevens(np.array([0x02ac], dtype=np.uint64)).tolist()
    [300]
    """
    one, two, four = np.uint64(1), np.uint64(2), np.uint64(4)
    x = (raw & np.uint64(0x007F007F007F007F)) | ((raw & np.uint64(0x7F007F007F007F00)) >> one)
    x = (x & np.uint64(0x00003FFF00003FFF)) | ((x & np.uint64(0x3FFF00003FFF0000)) >> two)
    return (x & np.uint64(0x0FFFFFFF)) | ((x & np.uint64(0x0FFFFFFF00000000)) >> four)
