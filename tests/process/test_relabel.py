"""Relabelling of passing batches: what is kept, merged and counted, and how often rules run."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metricsmith.contracts import Context
from metricsmith.model.batch import Batch, Layout
from metricsmith.model.clock import SystemClock
from metricsmith.model.labels import encode_labels
from metricsmith.model.metadata import Metadata, MetricType
from metricsmith.model.series import SeriesTable
from metricsmith.model.telemetry import Telemetry
from metricsmith.process import relabel as module
from metricsmith.process.relabel import RelabelProcessor


def made_context() -> Context:
    return Context("clean", SeriesTable(), Telemetry(), SystemClock())


@pytest.fixture
def context() -> Context:
    return made_context()


def processor(context, *rules):
    return RelabelProcessor(RelabelProcessor.Config.model_validate({"rules": rules}), context)


def layout(context, *labels, stream="s"):
    return Layout(
        context.series.intern_many(encode_labels({"__name__": "m", **one}) for one in labels), stream
    )


def shown(context, batch):
    return [context.series.labels(i) for i in batch.layout.ids.tolist()]


def dropped(context, reason):
    return context.telemetry.value("metricsmith_samples_dropped_total", component="clean", reason=reason)


DROP_B = {"source_labels": ["x"], "regex": "b", "action": "drop"}
TO_Y = {"regex": "x", "replacement": "y", "action": "labelmap"}
NO_X = {"regex": "x", "action": "labeldrop"}


def test_dropped_and_renamed_series(context):
    batch = Batch(
        layout(context, {"x": "a"}, {"x": "b"}, {"x": "c"}),
        np.array([1, 2, 3]),
        np.array([1.0, 2.0, 3.0]),
        np.array([False, False, True]),
    )
    got = processor(context, DROP_B, TO_Y, NO_X).process(batch)
    assert shown(context, got) == [{"__name__": "m", "y": "a"}, {"__name__": "m", "y": "c"}]
    assert got.value.tolist() == [1, 3]
    assert got.times().tolist() == [1, 3]
    assert got.stales().tolist() == [False, True]
    assert dropped(context, "relabel") == 1
    assert batch.value.tolist() == [1, 2, 3], "the input is not changed"


def test_series_that_become_one_keep_the_later_sample_and_are_counted(context):
    batch = Batch(layout(context, {"x": "a"}, {"x": "b"}), 5, np.array([1.0, 2.0]))
    got = processor(context, NO_X).process(batch)
    assert shown(context, got) == [{"__name__": "m"}]
    assert got.value.tolist() == [2]
    assert dropped(context, "duplicate") == 1


def test_many_samples_of_one_series_pass_where_there_is_no_stream(context):
    batch = Batch(
        layout(context, {"x": "a"}, {"x": "a"}, stream=None), np.array([1, 2]), np.array([1.0, 2.0])
    )
    assert processor(context, NO_X).process(batch).value.tolist() == [1, 2]


def test_a_batch_that_no_rule_touches_passes_as_it_is(context):
    batch = Batch(layout(context, {"x": "a"}), 5, np.array([1.0]))
    assert processor(context, DROP_B).process(batch) is batch


def test_a_batch_of_which_nothing_is_left_is_none(context):
    batch = Batch(layout(context, {"x": "b"}), 5, np.array([1.0]))
    assert processor(context, DROP_B).process(batch) is None


def test_rules_run_once_per_series_whatever_layouts_it_is_in(context, monkeypatch):
    calls = []
    relabel = module.relabel
    monkeypatch.setattr(
        module, "relabel", lambda labels, rules: calls.append(labels) or relabel(labels, rules)
    )
    clean = processor(context, NO_X)
    first, second = layout(context, {"x": "a"}), layout(context, {"x": "a"}, {"z": "b"})
    outputs = [clean.process(Batch(which, 1, np.ones(len(which)))) for which in (first, first, second)]
    assert len(calls) == 2
    assert outputs[0].layout is outputs[1].layout


@given(
    st.lists(
        st.lists(st.tuples(st.integers(0, 40), st.sampled_from("abc")), min_size=1, unique=True), max_size=6
    )
)
def test_batches_agree_with_the_rules_applied_one_by_one(batches):
    context = made_context()
    clean = processor(context, DROP_B, {"source_labels": ["n"], "regex": "(.).*", "target_label": "n"})
    for series in batches:
        made = layout(context, *({"n": str(n), "x": x} for n, x in series))
        got = clean.process(Batch(made, 1, np.arange(len(series), dtype=np.float64)))
        wanted = {(str(n)[0], x): float(i) for i, (n, x) in enumerate(series) if x != "b"}
        if got is None:
            assert not wanted
            continue
        pairs = zip(shown(context, got), got.value.tolist(), strict=True)
        assert {(labels["n"], labels["x"]): value for labels, value in pairs} == wanted


def test_metadata_follows_a_new_name(context):
    rename = {
        "source_labels": ["__name__"],
        "regex": "old_(.*)",
        "replacement": "new_$1",
        "target_label": "__name__",
    }
    known = {"old_hits_total": Metadata(MetricType.COUNTER, "", "Hits.")}
    ids = context.series.intern_many([encode_labels({"__name__": "old_hits_total"})])
    got = processor(context, rename).process(Batch(Layout(ids, "s", known), 0, np.ones(1)))
    assert got.layout.metadata["new_hits_total"] == known["old_hits_total"]
