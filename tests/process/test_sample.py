"""Fewer samples, and what is left out is counted."""

from __future__ import annotations

import numpy as np
import pytest

from metricsmith.model.batch import Batch

STALE = "stale"


def test_every_nth_of_each_series_in_step(lab):
    sample = lab.processor("sample", every=3)
    passed = []
    for turn in range(9):
        values = {"a": turn, "b": turn} if turn < 4 else {"a": turn, "b": turn, "c": turn}
        passed.append(lab.shown(sample.process(lab.batch(turn, values))))
    assert passed == [
        {"a": 0, "b": 0},
        {},
        {},
        {"a": 3, "b": 3},
        {},
        {},
        {"a": 6, "b": 6, "c": 6},
        {},
        {},
    ]
    assert lab.dropped("sampled") == 9 + 9 + 5 - 7


def test_ends_always_pass(lab):
    sample = lab.processor("sample", every=100)
    sample.process(lab.batch(1, {"a": 1, "b": 1}))
    assert lab.shown(sample.process(lab.batch(2, {"a": 2, "b": STALE}))) == {"b": STALE}


def many(lab, count):
    return lab.layout(*(f'size{{i="{i}"}}' for i in range(count)))


def test_a_share_of_the_series_the_same_everywhere(new_lab):
    chosen = []
    for _ in range(2):
        lab = new_lab()
        lab.layout("something", "else")
        sample = lab.processor("sample", share=0.25)
        got = sample.process(Batch(many(lab, 4000), 1000, np.ones(4000)))
        chosen.append(set(lab.shown(got)))
    assert chosen[0] == chosen[1]
    assert len(chosen[0]) == pytest.approx(1000, rel=0.1)


def test_only_what_is_matched_is_sampled(lab):
    sample = lab.processor("sample", every=10, match=["a"])
    sample.process(lab.batch(1, {"a": 1, "b": 1}))
    assert lab.shown(sample.process(lab.batch(2, {"a": 1, "b": 1}))) == {"b": 1}


def test_a_budget_is_kept_and_given_back(lab):
    sample = lab.processor("sample", budget=1000)
    layout = many(lab, 4000)

    def passed(turns):
        total = 0
        for _ in range(turns):
            got = sample.process(Batch(layout, 1000, np.ones(len(layout))))
            total += 0 if got is None else int((~got.stales()).sum())
            lab.clock.advance(1)
        return total / turns

    assert passed(10) == 4000
    assert passed(30) == pytest.approx(1000, rel=0.2)
    layout = many(lab, 500)
    passed(100)
    assert passed(10) == 500


def test_a_series_that_is_left_out_from_now_on_ends(lab):
    sample, layout = lab.processor("sample", budget=100), many(lab, 1000)
    outputs = []
    for _ in range(13):
        outputs.append(sample.process(Batch(layout, 1000, np.ones(1000))))
        lab.clock.advance(1)
    ended = next(batch for batch in outputs if batch is not None and batch.stale is not None)
    assert len(ended) == 1000
    assert int((~ended.stale).sum()) == len(outputs[-1]) == pytest.approx(100, rel=0.4)
    assert np.isnan(ended.value[ended.stale]).all()
