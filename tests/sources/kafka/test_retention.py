"""When unread records may be deleted: by age, and by size at the rate of writing."""

from __future__ import annotations

import numpy as np
import pytest

from metricsmith.sources.kafka.lag import UNKNOWN
from metricsmith.sources.kafka.retention import until_deleted, until_outgrown, write_rate

NAN, INF = np.nan, np.inf


def test_retention_deletes_what_is_unread() -> None:
    seconds = np.array([60.0, 7200.0, 0.0, NAN, 60.0])
    left = until_deleted(seconds, np.zeros(5, dtype=np.bool_), np.array([3_600_000] * 4 + [-1]))
    np.testing.assert_array_equal(left, [3540.0, 0.0, NAN, NAN, NAN])


def test_nothing_is_promised_of_a_record_that_may_be_older() -> None:
    left = until_deleted(np.array([60.0, 7200.0]), np.array([True, True]), np.array([3_600_000] * 2))
    np.testing.assert_array_equal(left, [NAN, 0.0])


@pytest.mark.parametrize(
    ("lag", "length", "size", "rate", "limit", "seconds"),
    [
        # 100 bytes a record: 400 of 1,000 bytes lie behind, 600 more at 200 a second.
        pytest.param(4, 10, 1000, 2, 1000, 3, id="will be outgrown"),
        pytest.param(10, 10, 1000, 2, 1000, 0, id="the limit is reached"),
        pytest.param(10, 10, 2000, 2, 1000, 0, id="beyond the limit: segments are deleted whole"),
        pytest.param(4, 10, 1000, 0, 1000, INF, id="nothing is written"),
        pytest.param(10, 10, 2000, 0, 1000, 0, id="nothing is written, beyond the limit"),
        pytest.param(4, 10, 1000, NAN, 1000, NAN, id="rate unknown"),
        pytest.param(4, 10, NAN, 2, 1000, NAN, id="size unknown"),
        pytest.param(4, 10, 1000, 2, -1, NAN, id="no limit"),
        pytest.param(0, 10, 1000, 2, 1000, NAN, id="all is read"),
        pytest.param(0, 0, 0, 2, 1000, NAN, id="an empty log"),
        pytest.param(NAN, 10, 1000, 2, 1000, NAN, id="no commit"),
    ],
)
def test_what_outgrows_its_limit(
    lag: float, length: float, size: float, rate: float, limit: float, seconds: float
) -> None:
    found = until_outgrown(*(np.array([each], dtype=np.float64) for each in (lag, length, size, rate, limit)))
    np.testing.assert_array_equal(found, [seconds])


@pytest.mark.parametrize(
    ("end", "rate"),
    [
        ([0, 60, 240], 2),
        ([10, 10, 10], 0),
        ([900, 0, 60], 1),
        ([UNKNOWN, 5, 65], 1),
        ([0, UNKNOWN, 120], 1),
        ([UNKNOWN, UNKNOWN, 7], NAN),
        ([UNKNOWN] * 3, NAN),
    ],
)
def test_rate_of_writing_since_the_log_was_cut(end: list[int], rate: float) -> None:
    np.testing.assert_array_equal(write_rate(np.array([0, 60_000, 120_000]), np.array([end])), [rate])
