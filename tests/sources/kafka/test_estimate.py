"""An interval that says 95 % holds the truth about that often, for clustered tombstones too."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metricsmith.sources.kafka.estimate import Windows, estimate

DRAWS = 500


class Log:
    """A log of batches with tombstones in some of them, from which windows are drawn as a scan does it."""

    def __init__(self, sizes: np.ndarray, tombstones: np.ndarray) -> None:
        self.sizes, self.tombstones = sizes, tombstones
        self.first = np.concatenate([[0], np.cumsum(sizes)])
        self.ratio = tombstones.sum() / sizes.sum()

    def draw(self, rng: np.random.Generator, strata: int, each: int = 2) -> Windows:
        edges = np.linspace(0, self.first[-1], strata + 1).astype(np.int64)
        stratum = np.repeat(np.arange(strata), each)
        at = rng.integers(edges[stratum], edges[stratum + 1])
        batch = np.searchsorted(self.first, at, side="right") - 1
        span = self.sizes[batch]
        return Windows(
            self.tombstones[batch] / span, np.ones(len(at)), stratum, np.diff(edges).astype(np.float64)
        )


def runs(share: float, length: int) -> Log:
    """Tombstones in runs of batches, as a nightly clean-up writes them; batches of 50 to 150 records."""
    rng = np.random.default_rng(length)
    sizes = rng.integers(50, 150, 6000)
    in_run = np.repeat(rng.random(len(sizes) // length + 1) < share, length)[: len(sizes)]
    return Log(sizes, np.where(in_run, np.round(sizes * 0.9), np.round(sizes * 0.02)).astype(np.int64))


def single_deletes() -> Log:
    """Deletes come alone, updates in long batches: half of the batches, little of the records."""
    rng = np.random.default_rng(5)
    delete = rng.random(8000) < 0.5
    sizes = np.where(delete, 1, rng.integers(1, 21, 8000))
    return Log(sizes, delete.astype(np.int64))


def spread(share: float) -> Log:
    rng = np.random.default_rng(7)
    sizes = np.full(5000, 100)
    return Log(sizes, rng.binomial(sizes, share))


@pytest.mark.parametrize("strata", [4, 20, 60])
@pytest.mark.parametrize(
    "log",
    [
        runs(0.02, 30),
        runs(0.1, 40),
        runs(0.3, 200),
        runs(0.5, 10),
        single_deletes(),
        spread(0.02),
        spread(0.97),
    ],
    ids=["rare runs", "short runs", "long runs", "many runs", "single deletes", "few", "nearly all"],
)
def test_the_interval_holds_the_truth_in_93_of_100_draws(log: Log, strata: int) -> None:
    rng = np.random.default_rng(strata)
    found = [estimate(log.draw(rng, strata)) for _ in range(DRAWS)]
    held = sum(e is not None and e.low <= log.ratio <= e.high for e in found)
    assert held >= 0.93 * DRAWS, held / DRAWS
    ratios = [e.ratio for e in found if e is not None]
    chance = 4 * np.std(ratios) / DRAWS**0.5
    assert np.mean(ratios) == pytest.approx(log.ratio, abs=chance), "the estimate leans to one side"


def test_more_windows_make_it_surer() -> None:
    log, rng = runs(0.3, 20), np.random.default_rng(1)
    widths = []
    for strata in (5, 20, 80):
        found = [estimate(log.draw(rng, strata)) for _ in range(50)]
        widths.append(np.mean([e.high - e.low for e in found if e is not None]))
    assert widths[0] > 1.5 * widths[1] > 2 * widths[2]


@pytest.mark.parametrize(("share", "low", "high"), [(0.0, 0.0, 0.2), (1.0, 0.8, 1.0)])
def test_windows_that_all_agree_are_not_certain(share: float, low: float, high: float) -> None:
    windows = Windows(np.full(30, share), np.ones(30), np.repeat(np.arange(15), 2), np.full(15, 1000.0))
    found = estimate(windows)
    assert found is not None and found.ratio == share
    assert low <= found.low <= found.high <= high
    assert found.high - found.low > 0.01


def test_nothing_read_has_no_ratio() -> None:
    assert estimate(Windows(np.zeros(4), np.zeros(4), np.array([0, 0, 1, 1]), np.ones(2))) is None


@given(
    st.lists(st.tuples(st.floats(0, 1), st.floats(0, 100), st.integers(0, 5)), min_size=1, max_size=40),
)
def test_an_interval_lies_between_0_and_1_around_the_ratio(rows: list[tuple[float, float, int]]) -> None:
    share, records, stratum = (np.array(column) for column in zip(*rows, strict=True))
    found = estimate(Windows(share * records, records, stratum, np.full(6, 10.0)))
    if found is not None:
        assert 0 <= found.low <= found.ratio <= found.high <= 1
