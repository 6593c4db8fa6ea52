"""When retention may delete what a group has not read yet: by age, and by size at the present rate."""

from __future__ import annotations

import numpy as np

from metricsmith.model.arrays import F64, I64, Bool
from metricsmith.sources.kafka.lag import since_fall


def write_rate(time_ms: I64, end: I64) -> F64:
    """Return how many records a second were written, over all readings since the log was last cut.

    Shapes:
        time_ms: (N,) ascending; end: (P, N) UNKNOWN where not read.
        returns: (P,) NaN without two readings apart in time.
    """
    usable = since_fall(end)
    if not usable.any():
        return np.full(len(end), np.nan)
    row, width = np.arange(len(end)), end.shape[1]
    first = np.argmax(usable, axis=1)
    last = width - 1 - np.argmax(usable[:, ::-1], axis=1)
    seconds = (time_ms[last] - time_ms[first]) / 1000.0
    known = usable.any(axis=1) & (seconds > 0)
    grown = (end[row, last] - end[row, first]).astype(np.float64)
    rate: F64 = np.divide(grown, seconds, out=np.full(len(end), np.nan), where=known)
    return rate


def until_deleted(seconds: F64, at_least: Bool, retention_ms: I64) -> F64:
    """Return seconds until retention by time may delete the next record to read; 0 when it may already.

    Kafka deletes whole segments, so the record lives at least this long. Nothing can be
    promised of a record that may be older than is known, unless it is too old in any case.

    Shapes:
        seconds: (S,) behind; 0 and NaN have nothing unread or unknown.
        at_least: (S,) where that is only a lower bound.
        retention_ms: (S,) negative keeps for ever.
        returns: (S,) NaN where nothing is unread, unknown, or kept for ever.
    """
    left = np.maximum(0.0, retention_ms / 1000.0 - seconds)
    return np.where((seconds > 0) & (retention_ms >= 0) & (~at_least | (left == 0)), left, np.nan)


def until_outgrown(lag: F64, length: F64, size_bytes: F64, rate: F64, retention_bytes: F64) -> F64:
    """Return seconds until retention by size may delete the next record to read, at the present rate.

    The bytes behind it are its share of the log, as if records were of one size; it may
    go once they alone reach the limit. An estimate, not a promise: who writes may speed up.

    Shapes:
        all: (S,) lag and length of the log in records, rate in records a second; NaN unknown,
        a negative limit keeps for ever.
        returns: (S,) +Inf when nothing is written, NaN where unknown, kept for ever or all is read.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        each = size_bytes / length
        left = np.maximum(0.0, retention_bytes - lag * each) / (rate * each)
        left = np.where(rate == 0, np.where(lag * each < retention_bytes, np.inf, 0.0), left)
    wanted = (lag > 0) & (length > 0) & (size_bytes > 0) & (retention_bytes >= 0)
    return np.where(wanted, left, np.nan)
