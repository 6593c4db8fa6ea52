"""Windows of a log say what the whole log holds, whatever the lengths of its batches."""

from __future__ import annotations

import numpy as np
import pytest

from metricsmith.sources.kafka.estimate import Estimate, estimate
from metricsmith.sources.kafka.records import BatchCounts
from metricsmith.sources.kafka.sampling import Sample, Window, joined


class Log:
    """A log in which half of the batches are single deletes and the others long ones of updates."""

    def __init__(self, compacted: bool) -> None:
        rng = np.random.default_rng(2)
        delete = rng.random(3000) < np.linspace(0.2, 0.8, 3000)
        span = np.where(delete, 1, rng.integers(2, 60, 3000))
        gap = rng.integers(0, 100, 3000) * compacted
        self.last = np.cumsum(span + gap) - 1
        self.first = self.last - span + 1
        self.records = np.where(delete, 1, np.maximum(1, span // 2 if compacted else span))
        self.tombstones = delete.astype(np.int64)

    def read(self, window: Window) -> BatchCounts:
        chosen = np.flatnonzero((self.last >= window.at) & (self.first < window.stop))
        zeros = np.zeros(len(chosen), np.int64)
        return BatchCounts(
            zeros, self.first[chosen], self.last[chosen], zeros, zeros,
            self.records[chosen], self.tombstones[chosen], zeros, zeros, zeros == 0,
        )  # fmt: skip

    def sample(self, wanted: int, rng: np.random.Generator) -> Sample:
        sample = Sample(0, int(self.last[-1]) + 1, wanted, rng)
        for draw in (Sample.first_windows, Sample.more_windows):
            for window in draw(sample):
                counts = self.read(window)
                sample.add(window, counts, np.arange(len(counts.records)))
        return sample


@pytest.mark.parametrize("compacted", [False, True], ids=["plain", "compacted"])
@pytest.mark.parametrize("wanted", [400, 2000])
def test_samples_are_right_on_average_and_their_intervals_nearly_always(compacted: bool, wanted: int) -> None:
    log, rng = Log(compacted), np.random.default_rng(wanted)
    truth = log.tombstones.sum() / log.records.sum()
    found: list[Estimate] = []
    for _ in range(150):
        # Four partitions, as a topic has them.
        each = estimate(joined([log.sample(wanted, rng) for _ in range(4)]))
        assert each is not None
        found.append(each)
    for values, right in (
        ([each.ratio for each in found], truth),
        ([each.records for each in found], 4 * log.records.sum()),
    ):
        chance = 4 * np.std(values) / len(values) ** 0.5
        assert np.mean(values) == pytest.approx(right, abs=chance)
    assert np.mean([each.low <= truth <= each.high for each in found]) >= 0.93


def test_a_sample_takes_about_what_is_wanted() -> None:
    log = Log(False)
    sample = log.sample(2000, np.random.default_rng(0))
    assert 1000 <= sample.records <= 3000
    assert len(log.sample(10, np.random.default_rng(0)).windows) == 8
