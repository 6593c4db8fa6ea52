"""Windows of a log say what the whole log holds, whatever the lengths of its batches."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metricsmith.sources.kafka.admin import Partition
from metricsmith.sources.kafka.estimate import Estimate, estimate
from metricsmith.sources.kafka.records import BatchCounts
from metricsmith.sources.kafka.sampling import Sample, Window, joined
from metricsmith.sources.kafka.scan import Log as KafkaLog
from metricsmith.sources.kafka.tombstone_counts import sampled_counts


class Log:
    """A log in which half of the batches are single deletes and the others long ones of updates."""

    def __init__(self, compacted: bool) -> None:
        rng = np.random.default_rng(2)
        delete = rng.random(3000) < np.linspace(0.2, 0.8, 3000)
        span = np.where(delete, 1, rng.integers(2, 60, 3000))
        gap = rng.integers(0, 100, 3000) * compacted
        records = np.where(delete, 1, np.maximum(1, span // 2 if compacted else span))
        self.hold(span, gap, records, delete.astype(np.int64))

    def hold(self, span: np.ndarray, gap: np.ndarray, records: np.ndarray, tombstones: np.ndarray) -> None:
        self.last = np.cumsum(span + gap) - 1
        self.first = self.last - span + 1
        self.records, self.tombstones = records, tombstones

    def read(self, window: Window) -> BatchCounts:
        begin, end = np.searchsorted(self.last, window.at), np.searchsorted(self.first, window.stop)
        chosen, zeros = slice(begin, end), np.zeros(max(0, end - begin), np.int64)
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
                sample.meet(window.at, window.stop)
        return sample


class LargeBatches(Log):
    """A log of few batches: windows meet the same ones again and again."""

    def __init__(self, batches: int) -> None:
        rng = np.random.default_rng(batches)
        span = rng.integers(2000, 10_000, batches)
        self.hold(span, span * 0, span, np.round(span * rng.uniform(0.1, 0.6, batches)).astype(np.int64))


@pytest.mark.parametrize("compacted", [False, True], ids=["plain", "compacted"])
@pytest.mark.parametrize(("wanted", "partitions"), [(400, 3), (2000, 1)])
def test_samples_are_right_on_average_and_their_intervals_nearly_always(
    compacted: bool, wanted: int, partitions: int
) -> None:
    log, rng = Log(compacted), np.random.default_rng(wanted)
    truth = log.tombstones.sum() / log.records.sum()
    found: list[Estimate] = []
    for _ in range(500):
        each = estimate(joined([log.sample(wanted, rng) for _ in range(partitions)]))
        assert each is not None
        found.append(each)
    for values, right in (
        ([each.ratio for each in found], truth),
        ([each.records for each in found], partitions * log.records.sum()),
    ):
        chance = 4 * np.std(values) / len(values) ** 0.5
        assert np.mean(values) == pytest.approx(right, abs=chance)
    assert np.mean([each.low <= truth <= each.high for each in found]) >= 0.93


@pytest.mark.parametrize("batches", [1, 2, 4, 8, 30])
def test_a_batch_that_several_windows_meet_is_counted_once(batches: int) -> None:
    log, rng = LargeBatches(batches), np.random.default_rng(batches)
    end, truth = int(log.last[-1]) + 1, 100 * log.tombstones.sum() / log.records.sum()
    partition = Partition("t", "id", 0, 1, (1,), 1, 0)
    complete = held = 0
    for _ in range(500):
        sample = log.sample(1000, rng)
        whole, _ = sampled_counts([KafkaLog(partition, 0, end)], [sample], 5)
        assert whole.records <= end and whole.coverage == pytest.approx(whole.records / end, abs=0.02)
        assert whole.interval_low is not None and whole.interval_high is not None
        held += whole.interval_low - 1e-9 <= truth <= whole.interval_high + 1e-9
        if whole.coverage == 1:
            complete += 1
            assert whole.records == end and whole.tombstones == log.tombstones.sum()
            assert whole.interval_low == whole.interval_high == whole.ratio_percent == pytest.approx(truth)
    assert held >= 0.93 * 500
    assert (complete > 0) == (batches <= 8), complete


def test_batches_that_cannot_be_read_are_not_covered() -> None:
    log = LargeBatches(1)
    sample = Sample(0, int(log.last[-1]) + 1, 1000, np.random.default_rng(0))
    [window, *_] = sample.first_windows()
    sample.add(window, replace(log.read(window), readable=np.zeros(1, np.bool_)), np.arange(1))
    assert sample.covered == 0 and not sample.complete


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(1, 20)), max_size=30))
def test_offsets_that_were_looked_at_twice_count_once(ranges: list[tuple[int, int]]) -> None:
    sample = Sample(5, 70, 1, np.random.default_rng(0))
    for first, length in ranges:
        sample.meet(first, first + length)
    met = {offset for first, length in ranges for offset in range(first, first + length)}
    assert sample.covered == len(met & set(range(5, 70)))


@pytest.mark.parametrize(
    ("log", "wanted", "width"), [(LargeBatches(300), 200_000, 16), (Log(False), 6400, 100)]
)
def test_more_is_read_in_more_windows_where_batches_are_long_and_in_wider_ones_else(
    log: Log, wanted: int, width: int
) -> None:
    sample = log.sample(wanted, np.random.default_rng(0))
    first, more = sample.windows[:8], sample.windows[8:]
    assert {window.width for window in first} == {16}
    assert len(more) >= 8 and {window.width for window in more} == {width}


def test_a_sample_takes_about_what_is_wanted() -> None:
    log = Log(False)
    sample = log.sample(2000, np.random.default_rng(0))
    assert 1000 <= sample.records <= 3000
    assert len(log.sample(10, np.random.default_rng(0)).windows) == 8
