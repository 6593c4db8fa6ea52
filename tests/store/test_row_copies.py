"""Rows of samples are copied as if one by one."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from metricsmith.store.row_copies import copy_rows


@given(
    lengths=st.lists(st.integers(0, 9), max_size=40) | st.integers(0, 4).flatmap(lambda n: st.just([n] * 9)),
    apart=st.integers(0, 2),
    data=st.data(),
)
def test_each_row_comes_to_its_place(lengths: list[int], apart: int, data: st.DataObject) -> None:
    counts = np.array(lengths, np.int64)
    ends = np.cumsum(counts)
    begin = ends - counts + apart * np.arange(len(counts))
    order = np.array(data.draw(st.permutations(range(len(counts)))), np.int64)
    to = np.empty_like(counts)
    to[order] = np.cumsum(counts[order]) - counts[order]
    source = np.arange(1, counts.sum() + apart * len(counts) + 1)
    target, halves = np.zeros(counts.sum(), np.int64), np.zeros(counts.sum())

    copy_rows([(source, target), (source / 2, halves)], begin, to, counts)

    wanted = [source[begin[i] : begin[i] + counts[i]] for i in order.tolist()]
    assert target.tolist() == (np.concatenate(wanted).tolist() if wanted else [])
    assert (halves == target / 2).all()
