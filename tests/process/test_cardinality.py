"""Limits on series and label values: what has a place keeps it, the rest is folded and told."""

from __future__ import annotations

import logging

from hypothesis import given
from hypothesis import strategies as st

STALE = "stale"
FOLDED = "__overflow__"


def hits(values):
    return {f'hits_total{{path="{path}"}}': value for path, value in values.items()}


def test_values_beyond_the_limit_are_folded_and_known_ones_go_on(lab, caplog):
    guard = lab.processor("cardinality_guard", values_per_label=2)
    assert lab.shown(guard.process(lab.batch(1, hits({"a": 1, "b": 2})))) == hits({"a": 1, "b": 2})
    with caplog.at_level(logging.WARNING):
        got = lab.shown(guard.process(lab.batch(2, hits({"a": 2, "b": 3, "c": 10, "d": 20}))))
    assert got == hits({"a": 2, "b": 3, FOLDED: 30})
    assert len([r for r in caplog.records if "hits_total has as many values of path" in r.message]) == 1
    folded = lab.telemetry.value("metricsmith_series_folded_total", component="p", reason="values")
    assert folded == 2
    assert lab.telemetry.value("metricsmith_samples_folded_total", component="p") == 2


def test_a_folded_counter_never_falls_when_others_come_and_go(lab):
    guard = lab.processor("cardinality_guard", values_per_label=1)
    results = []
    for time_s, values in enumerate(
        [{"a": 1, "b": 10, "c": 100}, {"a": 1, "b": 11, "c": STALE}, {"a": 1, "b": 2}, {"a": 1, "e": 50}]
    ):
        results.append(
            lab.shown(guard.process(lab.batch(time_s, hits(values))))[f'hits_total{{path="{FOLDED}"}}']
        )
    assert results == [110, 111, 113, 163]


def test_gauges_become_the_largest_and_unknown_types_the_sum(lab):
    guard = lab.processor("cardinality_guard", values_per_label=1)
    values = {f'{name}{{x="{x}"}}': v for name in ("size", "what") for x, v in (("a", 1), ("b", 2), ("c", 3))}
    assert lab.shown(guard.process(lab.batch(1, values))) == {
        'size{x="a"}': 1,
        'what{x="a"}': 1,
        f'size{{x="{FOLDED}"}}': 3,
        f'what{{x="{FOLDED}"}}': 5,
    }


def test_histograms_fold_bucket_by_bucket_and_whole(lab):
    guard = lab.processor("cardinality_guard", series_per_metric=2)
    parts = ('lat_bucket{{x="{}",le="1"}}', 'lat_bucket{{x="{}",le="+Inf"}}', 'lat_count{{x="{}"}}')
    values = {part.format(x): float(i + 1) for x in "abcd" for i, part in enumerate(parts)}
    got = lab.shown(guard.process(lab.batch(1, values)))
    for x in "ab":
        assert got[f'lat_bucket{{le="1", x="{x}"}}'] == 1
    assert [got[f'lat_bucket{{le="{le}", x="{FOLDED}"}}'] for le in ("1", "+Inf")] == [2, 4]
    assert got[f'lat_count{{x="{FOLDED}"}}'] == 6
    assert len(got) == 9


def test_all_labels_are_folded_when_a_metric_is_full_but_those_that_are_exempt(lab):
    guard = lab.processor("cardinality_guard", series_per_metric=1)
    values = {'size{job="j",x="a",y="b"}': 1, 'size{job="j",x="c",y="d"}': 2}
    assert list(lab.shown(guard.process(lab.batch(1, values)))) == [
        'size{job="j", x="a", y="b"}',
        f'size{{job="j", x="{FOLDED}", y="{FOLDED}"}}',
    ]


def test_single_labels_have_limits_of_their_own(lab):
    guard = lab.processor("cardinality_guard", labels={"user": 1})
    values = {'size{user="a",x="1"}': 1, 'size{user="b",x="2"}': 2}
    assert list(lab.shown(guard.process(lab.batch(1, values)))) == [
        'size{user="a", x="1"}',
        f'size{{user="{FOLDED}", x="2"}}',
    ]


def test_a_place_is_given_to_another_when_it_was_not_used_for_a_time(lab):
    guard = lab.processor("cardinality_guard", values_per_label=1, expiry="1m")
    guard.process(lab.batch(1, hits({"a": 1})))
    assert list(lab.shown(guard.process(lab.batch(2, hits({"b": 1}))))) == [f'hits_total{{path="{FOLDED}"}}']
    for turn in range(3):
        lab.clock.advance(61)
        guard.process(lab.batch(100 + turn, {"other": 1}))
    assert len(guard._admitted) == 1
    assert list(lab.shown(guard.process(lab.batch(300, hits({"b": 1}))))) == ['hits_total{path="b"}']


def test_the_overflow_ends_when_all_that_are_in_it_have(lab):
    guard = lab.processor("cardinality_guard", values_per_label=1)
    guard.process(lab.batch(1, hits({"a": 1, "b": 1, "c": 1})))
    got = lab.shown(guard.process(lab.batch(2, hits({"a": 2, "b": STALE, "c": STALE}))))
    assert got == hits({"a": 2, FOLDED: STALE})


PATHS = st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from("uvwx")), min_size=1, unique=True)


@given(st.lists(PATHS, min_size=1, max_size=6), st.integers(1, 4), st.integers(1, 8))
def test_no_limit_is_ever_passed_and_nothing_is_lost(new_lab, batches, values, series):
    lab = new_lab()
    guard = lab.processor("cardinality_guard", values_per_label=values, series_per_metric=series)
    seen = set()
    for time_s, pairs in enumerate(batches):
        batch = lab.batch(time_s, {f'what{{p="{p}",q="{q}"}}': 1 for p, q in pairs})
        got = guard.process(batch)
        assert got.value.sum() == len(pairs)
        seen |= {tuple(lab.table.labels(i)[n] for n in "pq") for i in got.layout.ids.tolist()}
    for place in (0, 1):
        assert len({pair[place] for pair in seen} - {FOLDED}) <= values
    assert len(seen - {(FOLDED, FOLDED)}) <= series
