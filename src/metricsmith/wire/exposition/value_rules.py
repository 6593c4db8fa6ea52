"""The rules of OpenMetrics 1.0 on values, as one byte of flags per sample."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntFlag

import numpy as np

from metricsmith.model.arrays import F64, I64, U8, Bool


class Broken(Exception):
    """A rule is broken at a sample (by index) or, when `line` is set, at a line."""

    def __init__(self, message: str, sample: int = -1, line: int = 0) -> None:
        self.message = message
        self.sample = sample
        self.line = line
        super().__init__(message)


class Flag(IntFlag):
    """What a sample's value must be, or may have."""

    NOT_NAN = 1
    NOT_NEGATIVE = 2
    WHOLE = 4
    ZERO_OR_ONE = 8
    ONE = 16
    EXEMPLAR = 32
    BUCKET = 64
    RISING = 128  # at least the bucket before it


class ValueRules:
    """The rules on the values of one structure, as indices of the samples that each is about.

    Shapes:
        flags: P bytes.
        equal: pairs of samples that must have the same value.
        later: samples whose timestamp must not be before that of the sample above.
    """

    def __init__(
        self, flags: bytes | bytearray, equal: Sequence[tuple[int, int]], later: Sequence[int]
    ) -> None:
        bits = np.frombuffer(flags, dtype=np.uint8)
        self._not_nan = _having(bits, Flag.NOT_NAN)
        self._not_negative = _having(bits, Flag.NOT_NEGATIVE)
        self._whole = _having(bits, Flag.WHOLE)
        self._zero_or_one = _having(bits, Flag.ZERO_OR_ONE)
        self._one = _having(bits, Flag.ONE)
        self._rising = _having(bits, Flag.RISING)
        buckets = _having(bits, Flag.BUCKET)
        self._before_rising = buckets[np.searchsorted(buckets, self._rising) - 1]
        self._equal = np.array(equal, dtype=np.int64).reshape(-1, 2)
        self._later = np.array(later, dtype=np.int64)
        self._may_have_exemplar = (bits & Flag.EXEMPLAR) != 0

    def check(self, values: F64, seconds: F64) -> None:
        """Hold a scrape's values against the rules.

        Shapes:
            values: (P,)
            seconds: (P,) timestamps, or (0,) when there are none.
        Raises:
            Broken: the first rule that is.
        """
        _refuse(self._not_nan, np.isnan(values[self._not_nan]), "got NaN, wanted a count or sum")
        _refuse(self._not_negative, values[self._not_negative] < 0, "got a negative count or sum")
        whole = values[self._whole]
        _refuse(self._whole, ~np.isfinite(whole) | (np.floor(whole) != whole), "wanted a whole number")
        flags = values[self._zero_or_one]
        _refuse(self._zero_or_one, (flags != 0) & (flags != 1), "wanted 0 or 1 in a stateset")
        _refuse(self._one, values[self._one] != 1, "wanted 1 in an info")
        falls = values[self._rising] < values[self._before_rising]
        _refuse(self._rising, falls, "got a bucket smaller than the one before it")
        count, bucket = self._equal[:, 0], self._equal[:, 1]
        _refuse(count, values[count] != values[bucket], "got a count that differs from its +Inf bucket")
        if len(seconds):
            back = seconds[self._later] < seconds[self._later - 1]
            _refuse(self._later, back, "got a timestamp before the one above it")

    def check_exemplars(self, samples: I64) -> None:
        """Refuse exemplars of samples that may not have one.

        Raises:
            Broken: the first such sample.
        """
        refused = ~self._may_have_exemplar[samples]
        _refuse(samples, refused, "got an exemplar, wanted it on buckets and counters only")


def _having(bits: U8, flag: Flag) -> I64:
    return np.flatnonzero(bits & flag)


def _refuse(samples: I64, broken: Bool, message: str) -> None:
    if broken.any():
        raise Broken(message, sample=int(samples[int(np.argmax(broken))]))
