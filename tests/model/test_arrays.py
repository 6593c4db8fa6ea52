"""Ids are found as sets find them."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from metricsmith.model.arrays import are_in, look_up

ids = st.sets(st.integers(0, 200), max_size=60).map(lambda found: np.array(sorted(found), np.uint32))


@given(known=ids, wanted=ids)
def test_wanted_ids_are_found_where_they_are(known, wanted):
    """Of few wanted ones and of many."""
    inside = [i in set(known.tolist()) for i in wanted.tolist()]
    at, found = look_up(known, wanted)
    assert found.tolist() == are_in(wanted, known).tolist() == inside
    assert known[at[found]].tolist() == wanted[found].tolist()
    few = wanted[: len(known) // 16]
    assert are_in(few[::-1], known).tolist() == inside[: len(few)][::-1]
