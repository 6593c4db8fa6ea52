"""What a sample says of a topic of which some partitions could not be read."""

from __future__ import annotations

import numpy as np
import pytest

from metricsmith.sources.kafka.admin import Partition
from metricsmith.sources.kafka.sampling import Sample
from metricsmith.sources.kafka.scan import Log
from metricsmith.sources.kafka.tombstone_counts import sampled_counts

RNG = np.random.default_rng(1)


def log(number: int, end: int) -> Log:
    return Log(Partition("t", "id", number, 1, (1,), 1, 0), 0 if end >= 0 else -1, end)


def read_whole(records: int, tombstones: int) -> Sample:
    sample = Sample(0, records, 1000, RNG)
    [window] = sample.first_windows()
    window.records, window.tombstones, window.read = records, tombstones, records
    sample.records, sample.tombstones = records, tombstones
    sample.meet(0, records)
    return sample


@pytest.mark.parametrize(
    ("other", "ratio", "coverage", "bounds"),
    [
        pytest.param(read_whole(100, 100), 60, 1, (60, 60), id="all read"),
        pytest.param(Sample(0, 100, 1000, RNG), 20, 0.5, (10, 60), id="one of known length not read"),
        pytest.param(None, 20, 0.5, (None, None), id="nothing known of one"),
        pytest.param(Sample(0, 0, 1000, RNG), 20, 1, (20, 20), id="one is empty"),
    ],
)
def test_what_is_not_known_of_a_partition_is_in_the_interval(
    other: Sample | None, ratio: float, coverage: float, bounds: tuple[float | None, float | None]
) -> None:
    logs = [log(0, 100), log(1, -1 if other is None else other.end)]
    whole, first, second = sampled_counts(logs, [read_whole(100, 20), other], 5)
    assert whole.ratio_percent == pytest.approx(ratio) and whole.coverage == pytest.approx(coverage)
    assert (whole.interval_low, whole.interval_high) == (bounds if None in bounds else pytest.approx(bounds))
    assert first.ratio_percent == first.interval_low == first.interval_high == 20
    if not (other is not None and (other.windows or other.end == 0)):
        assert second.ratio_percent is second.interval_low is second.interval_high is None
