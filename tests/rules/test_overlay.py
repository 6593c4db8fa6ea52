"""A rule sees what the rules before it recorded, as if it had been in the store."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metricsmith.errors import QueryLimitExceeded
from metricsmith.model.labels import decode_labels, encode_labels
from metricsmith.model.matchers import Matcher, MatchOp
from metricsmith.model.selection import Selection
from metricsmith.promql.memory import STALE_BITS, MemorySeries
from metricsmith.rules.overlay import Overlay

STALE = float(np.uint64(STALE_BITS).view(np.float64))
KEYS = [encode_labels({"__name__": name, "n": str(n)}) for name in ("up", "x") for n in range(4)]
SAMPLES = st.dictionaries(st.integers(0, 6), st.one_of(st.floats(-9, 9), st.just(STALE)), max_size=5)
STORED = st.dictionaries(st.sampled_from(KEYS), SAMPLES, max_size=8)
MATCHERS = st.sampled_from(
    [
        [Matcher("__name__", MatchOp.EQ, "up")],
        [Matcher("__name__", MatchOp.EQ, "up"), Matcher("n", MatchOp.RE, "[12]")],
        [Matcher("__name__", MatchOp.NE, "up"), Matcher("n", MatchOp.NE, "0")],
        [Matcher("n", MatchOp.EQ, "3")],
        [Matcher("__name__", MatchOp.EQ, "gone")],
    ]
)


def series(samples: dict[bytes, dict[int, float]]) -> MemorySeries:
    rows = ((decode_labels(key), sorted(s), [s[t] for t in sorted(s)]) for key, s in samples.items() if s)
    return MemorySeries(rows)


def samples(found: Selection) -> dict[bytes, list[tuple[int, str]]]:
    """Every sample of a selection; a marker shows as such."""
    shown: dict[bytes, list[tuple[int, str]]] = {}
    for group in found.matrices:
        stale = [False] * len(group.times) if group.stale is None else group.stale.tolist()
        for row, values in zip(group.rows.tolist(), group.values.tolist(), strict=True):
            cells = zip(group.times.tolist(), values, stale, strict=True)
            shown[found.keys[row]] = [(t, "stale" if s else repr(v)) for t, v, s in cells]
    if (group := found.ragged) is not None:
        stale = [False] * len(group.times) if group.stale is None else group.stale.tolist()
        for i, row in enumerate(group.rows.tolist()):
            part = slice(int(group.offsets[i]), int(group.offsets[i + 1]))
            cells = zip(group.times[part].tolist(), group.values[part].tolist(), stale[part], strict=True)
            shown[found.keys[row]] = [(t, "stale" if s else repr(v)) for t, v, s in cells]
    return shown


@given(
    stored=STORED,
    time_ms=st.integers(0, 7),
    written=st.dictionaries(st.sampled_from(KEYS), st.one_of(st.floats(-9, 9), st.none()), max_size=6),
    matchers=MATCHERS,
    start_ms=st.integers(0, 4),
    end_ms=st.integers(4, 7),
)
def test_overlay_is_the_store_with_the_samples_in_it(
    stored: dict[bytes, dict[int, float]],
    time_ms: int,
    written: dict[bytes, float | None],
    matchers: list[Matcher],
    start_ms: int,
    end_ms: int,
) -> None:
    overlay = Overlay(series(stored), time_ms)
    new = [key for key, value in written.items() if value is not None]
    ended = [key for key, value in written.items() if value is None]
    overlay.add(new, np.array([written[key] for key in new], dtype=np.float64), ended)
    both = {key: dict(values) for key, values in stored.items()}
    for key, value in written.items():
        both.setdefault(key, {})[time_ms] = STALE if value is None else value
    for start, end in ((start_ms, end_ms), (0, 7), (start_ms + 1, end_ms), (start_ms, end_ms)):
        found = overlay.select(matchers, start, end)
        assert samples(found) == samples(series(both).select(matchers, start, end))
        assert found.keys == sorted(found.keys)


def test_what_is_added_later_wins() -> None:
    overlay = Overlay(series({}), 5)
    overlay.add(KEYS[:2], np.array([1.0, 2.0]))
    overlay.add(KEYS[:1], np.array([math.inf]), ended=KEYS[1:2])
    found = overlay.select([Matcher("__name__", MatchOp.EQ, "up")], 0, 9)
    assert samples(found) == {KEYS[0]: [(5, "inf")], KEYS[1]: [(5, "stale")]}


class Counted:
    """A store that counts what is asked of it."""

    def __init__(self, store: MemorySeries) -> None:
        self.store, self.asked = store, list[tuple[int, int]]()

    def select(
        self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, limit: int | None = None
    ) -> Selection:
        self.asked.append((start_ms, end_ms))
        return self.store.select(matchers, start_ms, end_ms, limit)


def test_a_metric_is_read_once_for_all_ranges_within_the_look_back() -> None:
    store = Counted(series({KEYS[0]: {600_000: 1.0, 800_000: 2.0}}))
    overlay = Overlay(store, 800_000)
    up = [Matcher("__name__", MatchOp.EQ, "up")]
    for start_ms in (740_001, 500_001, 700_000, 740_001):
        overlay.select(up, start_ms, 800_000)
    assert store.asked == [(500_000, 800_000)]
    assert samples(overlay.select(up, 740_001, 800_000)) == {KEYS[0]: [(800_000, "2.0")]}
    assert samples(overlay.select(up, 600_001, 700_000)) == {}
    with pytest.raises(QueryLimitExceeded):
        overlay.select(up, 500_001, 800_000, limit=1)
    assert len(overlay.select(up, 740_001, 800_000, limit=1).keys) == 1


def test_what_is_too_much_to_remember_is_read_as_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metricsmith.rules.overlay.MAX_WIDE", 1)
    store = Counted(series({KEYS[0]: {600_000: 1.0, 800_000: 2.0}}))
    overlay = Overlay(store, 800_000)
    found = overlay.select([Matcher("__name__", MatchOp.EQ, "up")], 550_000, 800_000)
    assert found.sample_count() == 2
    assert store.asked == [(500_000, 800_000), (550_000, 800_000)]
