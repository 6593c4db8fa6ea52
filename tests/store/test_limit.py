"""A selection that is too large is refused before it is in memory, and no other is."""

from __future__ import annotations

import pytest

from metricsmith.errors import QueryLimitExceeded
from metricsmith.model.matchers import Matcher, MatchOp
from metricsmith.store.block_reader import Block

HOUR = 3_600_000
NOW = 1_700_000_000_000
UP = [Matcher("__name__", MatchOp.EQ, "up")]


@pytest.fixture
def filled(process, lab):
    """Two series `up` and one other, a sample a minute for five hours: old ones in blocks, new in memory."""
    for sequence, minute in enumerate(range(-300, 0)):
        rows = (0, 1, 2)
        stream = None if minute % 7 == 0 else "x"
        process.accept((rows, stream, NOW + minute * 60_000, (1.0, 2.0, 3.0), None), sequence)
        if minute % 60 == 0 and minute < -30:
            process.flush()
    assert process.store.status().blocks > 3
    assert process.store.status().head_samples > 0
    return process


RANGES = [(-6 * HOUR, 0), (-4 * HOUR, -3 * HOUR), (-5 * HOUR + 90_000, -HOUR), (-20 * 60_000, -10 * 60_000)]


@pytest.mark.parametrize("matchers", [[], UP], ids=["all", "up"])
@pytest.mark.parametrize(("start", "end"), RANGES)
def test_the_limit_is_what_the_answer_holds(filled, matchers, start, end):
    limits = NOW + start, NOW + end
    whole = filled.store.select(matchers, *limits)
    count = whole.sample_count()
    assert count > 10
    assert filled.store.select(matchers, *limits, count).sample_count() == count
    for limit in (count - 1, 0):
        with pytest.raises(QueryLimitExceeded, match=f"at most {limit};"):
            filled.store.select(matchers, *limits, limit)


def test_what_is_too_large_is_refused_before_it_is_decoded(filled, monkeypatch):
    decoded = []
    decode = Block.decode
    monkeypatch.setattr(Block, "decode", lambda *args: decoded.append(args) or decode(*args))
    with pytest.raises(QueryLimitExceeded):
        filled.store.select([], NOW - 6 * HOUR, NOW, 500)
    assert decoded == []


def test_a_damaged_block_is_set_aside_also_when_there_is_a_limit(filled):
    damaged = filled.store._blocks._live.all()[1]
    series = damaged.folder / "series.parquet"
    series.write_bytes(series.read_bytes()[:-9] + b"unlike it")
    left = 900 - damaged.meta.samples
    assert filled.store.select([], NOW - 6 * HOUR, NOW, left).sample_count() == left
    assert not damaged.folder.exists()
