"""Pieces of a delivery hold its samples, each once, in its order."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from metricsmith.contracts import Delivery
from metricsmith.delivery.pieces import Cutter, newer, of_series
from metricsmith.model.batch import Batch, Layout


@st.composite
def _deliveries(draw: st.DrawFn) -> Delivery:
    batches = []
    for number in range(draw(st.integers(1, 5))):
        ids = draw(st.lists(st.integers(0, 30), min_size=1, max_size=20, unique=True))
        times = np.arange(len(ids)) + 100 * number
        stale = np.array([i % 3 == 0 for i in ids]) if draw(st.booleans()) else None
        time_ms = times if draw(st.booleans()) else 100 * number
        values = np.arange(len(ids), dtype=np.float64) + number / 10
        batches.append(Batch(Layout(np.array(ids, dtype=np.uint32), f"s{number}"), time_ms, values, stale))
    return Delivery(list(range(7, 7 + len(batches))), batches)


def _samples(delivery: Delivery) -> list[tuple[object, ...]]:
    return [
        (sequence, *sample)
        for sequence, batch in zip(delivery.sequences, delivery.batches, strict=True)
        for sample in zip(
            batch.layout.ids.tolist(),
            batch.times().tolist(),
            batch.value.tolist(),
            batch.stales().tolist(),
            strict=True,
        )
    ]


@given(_deliveries(), st.integers(1, 4), st.integers(1, 25))
def test_shards_share_no_series_and_pieces_are_small_and_in_order(
    delivery: Delivery, count: int, most: int
) -> None:
    cutter = Cutter()
    shards = cutter.shards(delivery, count)
    ids = [{sample[1] for sample in _samples(shard)} for shard in shards]
    assert sum(map(len, ids)) == len(set().union(*ids))
    together: Counter[tuple[object, ...]] = Counter()
    for shard in shards:
        pieces = list(cutter.sized(shard, most))
        assert all(0 < len(piece) <= most for piece in pieces)
        in_order = [sample for piece in pieces for sample in _samples(piece)]
        assert in_order == _samples(shard)
        assert in_order == [sample for sample in _samples(delivery) if sample in in_order]
        together.update(in_order)
    assert together == Counter(_samples(delivery))


@given(_deliveries(), st.sets(st.integers(0, 30)), st.integers(0, 500))
def test_halves_series_and_age_part_a_delivery(delivery: Delivery, series: set[int], oldest_ms: int) -> None:
    samples = _samples(delivery)
    found = Cutter().halves(delivery)
    assert (found is None) == (len(delivery) < 2)
    if found is not None:
        first, second = found
        assert len(first) and len(second)
        assert _samples(first) + _samples(second) == samples
    for among in (True, False):
        part = of_series(delivery, sorted(series), among)
        assert _samples(part) == [s for s in samples if (s[1] in series) == among]
    assert _samples(newer(delivery, oldest_ms)) == [s for s in samples if s[2] >= oldest_ms]


@given(_deliveries(), st.integers(1, 4), st.integers(1, 25))
def test_a_group_of_series_is_never_cut_apart(delivery: Delivery, count: int, most: int) -> None:
    def group(sample: tuple[object, ...]) -> tuple[object, int]:
        return sample[0], int(str(sample[1])) // 3

    cutter = Cutter(lambda layout: layout.ids.astype(np.int64) // 3)
    pieces = [piece for shard in cutter.shards(delivery, count) for piece in cutter.sized(shard, most)]
    halves = [half for piece in pieces for half in cutter.halves(piece) or (piece,)]
    for cut in (pieces, halves):
        assert Counter(s for piece in cut for s in _samples(piece)) == Counter(_samples(delivery))
        found = [{group(sample) for sample in _samples(piece)} for piece in cut]
        assert sum(map(len, found)) == len(set().union(*found))
        for piece, groups in zip(cut, found, strict=True):
            assert len(piece) <= most or len(groups) == 1
            assert len(groups) == 1 or cutter.halves(piece) is not None


def test_a_layout_that_comes_again_is_cut_once() -> None:
    cutter, layout = Cutter(), Layout(np.arange(10, dtype=np.uint32), "s")
    batches = [Batch(layout, t, np.zeros(10)) for t in (1, 2)]
    first, second = (list(cutter.sized(shard, 3)) for shard in cutter.shards(Delivery([0, 1], batches), 2))
    assert [len(p) for p in first] == [3, 2, 3, 2]
    assert first[0].batches[0].layout is first[2].batches[0].layout
    assert second[1].batches[0].layout is second[3].batches[0].layout
