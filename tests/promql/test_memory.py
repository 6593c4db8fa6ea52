"""Series that grow while queries are asked hold what a fixed set of the same samples holds."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from metricsmith.errors import QueryLimitExceeded
from metricsmith.model.labels import decode_labels, encode_labels
from metricsmith.model.matchers import Matcher, MatchOp
from metricsmith.model.selection import Selection
from metricsmith.promql.memory import STALE, GrowingSeries, MemorySeries

KEYS = [encode_labels({"__name__": name, "i": i}) for name in "ab" for i in "12"]
MATCHERS = [
    [Matcher("__name__", MatchOp.EQ, "a")],
    [Matcher("__name__", MatchOp.EQ, "b"), Matcher("i", MatchOp.NE, "1")],
    [Matcher("__name__", MatchOp.RE, "a|b"), Matcher("j", MatchOp.EQ, "")],
    [Matcher("i", MatchOp.EQ, "2")],
    [Matcher("__name__", MatchOp.EQ, "c")],
]
Samples = list[tuple[int, float, bool]]


@given(
    st.lists(st.tuples(st.sampled_from(KEYS), st.integers(0, 20), st.floats(-9, 9), st.booleans())),
    st.sampled_from(MATCHERS),
    st.integers(-1, 21),
    st.integers(-1, 21),
)
def test_growing_and_fixed_series_are_alike(
    samples: list[tuple[bytes, int, float, bool]], matchers: list[Matcher], start: int, end: int
) -> None:
    growing = GrowingSeries()
    for key, time_ms, value, stale in samples:
        growing.append(key, time_ms, value, stale)
    fixed = MemorySeries(
        (decode_labels(key), [time_ms], [STALE if stale else value]) for key, time_ms, value, stale in samples
    )
    found = growing.select(matchers, start, end)
    assert flat(found) == flat(fixed.select(matchers, start, end))
    count = found.sample_count()
    if count:
        growing.select(matchers, start, end, count)
        try:
            growing.select(matchers, start, end, count - 1)
        except QueryLimitExceeded:
            return
        raise AssertionError("more samples than the limit")


def flat(selection: Selection) -> dict[bytes, Samples]:
    assert selection.keys == sorted(selection.keys)
    found: dict[bytes, Samples] = {}
    for group in selection.matrices:
        stale = [False] * len(group.times) if group.stale is None else group.stale.tolist()
        for row, values in zip(group.rows.tolist(), group.values.tolist(), strict=True):
            found[selection.keys[row]] = triples(group.times.tolist(), values, stale)
    if (ragged := selection.ragged) is not None:
        stale = [False] * len(ragged.times) if ragged.stale is None else ragged.stale.tolist()
        offsets = ragged.offsets.tolist()
        for index, row in enumerate(ragged.rows.tolist()):
            part = slice(offsets[index], offsets[index + 1])
            times, values = ragged.times[part].tolist(), ragged.values[part].tolist()
            found[selection.keys[row]] = triples(times, values, stale[part])
    return found


def triples(times: list[int], values: list[float], stale: list[bool]) -> Samples:
    return [(t, 0.0 if s else v, s) for t, v, s in zip(times, values, stale, strict=True)]
