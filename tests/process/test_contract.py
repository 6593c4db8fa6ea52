"""What is true for every processor, whatever it does; a new one must say here how it is configured."""

from __future__ import annotations

import numpy as np
import pytest

from metricsmith import registry
from metricsmith.contracts import Ticking
from metricsmith.model.batch import Batch, Layout

ALL = ['{__name__=~".+"}']
CONFIGS = {
    "relabel": [{"rules": [{"source_labels": ["x"], "regex": "b", "action": "drop"}]}],
    "filter": [{"drop": ['{x="b"}']}, {"keep": ['{__name__=~"hits.*|lat.*"}']}],
    "rename": [{"metrics": {"hits_(.*)": "strikes_$1"}, "labels": {"x": "y"}}],
    "average": [
        {},
        {"quantiles": [0.5, 0.9], "keep_buckets": True},
        {"mode": "lifetime", "quantiles": [0.5]},
    ],
    "rate": [{}, {"keep": True}, {"match": ALL}],
    "delta": [{}],
    "aggregate": [
        {"match": ALL, "by": []},
        {"match": ["size"], "without": ["x"], "function": "avg", "keep": True},
        {"match": ALL, "by": ["x"], "interval": "15s", "function": "max"},
    ],
    "sample": [{"every": 2}, {"share": 0.5}, {"budget": 1e9}],
    "cardinality_guard": [{}, {"values_per_label": 1}, {"series_per_metric": 1}],
}
EVERY = [(name, config) for name, configs in CONFIGS.items() for config in configs]
SERIES = [
    *(f'hits_total{{x="{x}"}}' for x in "abc"),
    *(f'size{{x="{x}"}}' for x in "abc"),
    *(f'lat_bucket{{x="{x}",le="{le}"}}' for x in "ab" for le in ("1", "2", "+Inf")),
    *(f'{name}_{part}{{x="{x}"}}' for name in ("lat", "dur") for part in ("sum", "count") for x in "ab"),
    'dur{x="a",quantile="0.5"}',
    'lat_created{x="a"}',
]
every_processor = pytest.mark.parametrize(("name", "config"), EVERY, ids=lambda v: str(v)[:60])


def growing(count: int, step: int) -> np.ndarray:
    return np.arange(count, dtype=np.float64) * step + step


def checked(processor, batch):
    """Process a batch whose arrays cannot be written to, and look at what every answer must be like."""
    arrays = [batch.value, *(a for a in (batch.time_ms, batch.stale) if isinstance(a, np.ndarray))]
    before = [array.copy() for array in arrays]
    for array in arrays:
        array.flags.writeable = False
    result = processor.process(batch)
    for array, was in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(array, was)
    if result is not None:
        assert len(result.value) == len(result.layout) == len(result.times()) == len(result.stales())
        assert result.value.dtype == np.float64 and result.times().dtype == np.int64
        if result.layout.stream is not None:
            assert result.layout.stream == batch.layout.stream
            assert len(np.unique(result.layout.ids)) == len(result.layout)
    return result


def test_every_processor_is_tested_here():
    assert CONFIGS.keys() == registry.BUILT_IN["processors"].keys()


@every_processor
def test_a_layout_that_comes_again_costs_nothing_per_series_and_keeps_its_output(lab, name, config):
    processor, layout = lab.processor(name, **config), lab.layout(*SERIES)
    outputs = []
    for step in range(1, 9):
        looks = lab.table.looks
        outputs.append(checked(processor, Batch(layout, step * 15_000, growing(len(layout), step))))
        if step > 3:
            assert lab.table.looks == looks
    found = [output.layout for output in outputs[4:] if output is not None]
    assert all(one is found[0] for one in found)


@every_processor
def test_what_passes_keeps_its_order(lab, name, config):
    processor, layout = lab.processor(name, **config), lab.layout(*SERIES)
    for step in (1, 2, 3):
        result = checked(processor, Batch(layout, step * 15_000, growing(len(layout), step)))
        if result is not None:
            places = [layout.ids.tolist().index(i) for i in result.layout.ids.tolist() if i in layout.ids]
            assert places == sorted(places)


@every_processor
def test_when_all_series_end_all_that_came_of_them_ends(lab, name, config):
    processor, layout = lab.processor(name, **config), lab.layout(*SERIES)
    live = set()
    batches = [Batch(layout, step * 15_000, growing(len(layout), step)) for step in (1, 2, 3, 4)]
    # A source that failed says that its series ended, and nothing of their types.
    ended = Layout(layout.ids.copy(), "s")
    batches.append(Batch(ended, 75_000, np.full(len(ended), np.nan), np.ones(len(ended), np.bool_)))
    for batch in batches:
        results = [checked(processor, batch)]
        if isinstance(processor, Ticking):
            results.append(processor.tick(batch.time_ms + 5_000))
        for result in (r for r in results if r is not None):
            live |= set(result.layout.ids[~result.stales()].tolist())
            live -= set(result.layout.ids[result.stales()].tolist())
        if batch is not batches[-1] and batch is not batches[0]:
            assert live
    assert not live


@every_processor
def test_empty_batches_and_single_series(lab, name, config):
    processor = lab.processor(name, **config)
    checked(processor, Batch(lab.layout(), 1000, np.empty(0)))
    checked(processor, Batch(lab.layout(stream=None), np.empty(0, dtype=np.int64), np.empty(0)))
    for series in SERIES:
        for step in (1, 2):
            checked(processor, Batch(lab.layout(series), step * 1000, np.ones(1)))


@every_processor
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e308, -0.0])
def test_odd_values_disturb_nothing(lab, name, config, value):
    processor, layout = lab.processor(name, **config), lab.layout(*SERIES)
    for step in (1, 2, 3):
        checked(processor, Batch(layout, step * 15_000, np.full(len(layout), value)))
        mixed = np.where(np.arange(len(layout)) % 2, value, float(step))
        checked(processor, Batch(layout, step * 15_000 + 5_000, mixed))


@every_processor
def test_a_time_for_each_sample_means_the_same_as_one_for_all(new_lab, name, config):
    answers = []
    for with_array in (False, True):
        lab = new_lab()
        processor, layout = lab.processor(name, **config), lab.layout(*SERIES)
        found = []
        for step in (1, 2, 3):
            time_ms = step * 15_000
            times = np.full(len(layout), time_ms) if with_array else time_ms
            found.append(checked(processor, Batch(layout, times, growing(len(layout), step))))
        answers.append([lab.shown(batch) for batch in found])
        times = [set(batch.times().tolist()) for batch in found if batch is not None]
        assert all(len(one) == 1 for one in times)
    assert answers[0] == answers[1]


@every_processor
def test_samples_of_no_stream_come_out_as_those_of_one_however_many_there_are(new_lab, name, config):
    """Three scrapes in one batch of no stream say what three batches say, up to markers."""
    streamed, loose = new_lab(), new_lab()
    one, other = streamed.processor(name, **config), loose.processor(name, **config)
    steps = (1, 2, 3)
    wanted = set()
    for step in steps:
        layout = streamed.layout(*SERIES)
        result = checked(one, Batch(layout, step * 15_000, growing(len(layout), step)))
        wanted |= points(streamed, result)
    layout = loose.layout(*(series for series in SERIES for _ in steps), stream=None)
    times = np.tile(np.array(steps) * 15_000, len(SERIES))
    values = np.stack([growing(len(SERIES), step) for step in steps], axis=1).ravel()
    assert points(loose, checked(other, Batch(layout, times, values))) == wanted


def points(lab, batch):
    if batch is None:
        return set()
    columns = batch.layout.ids, batch.times(), batch.value, batch.stales()
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return {(lab.table.key(series), time, value) for series, time, value, stale in rows if not stale}


@every_processor
def test_series_that_come_later_are_taken_in(lab, name, config):
    processor = lab.processor(name, **config)
    for count in (3, len(SERIES), 5):
        for step in (1, 2, 3):
            time_ms = (count * 10 + step) * 1000
            checked(processor, Batch(lab.layout(*SERIES[:count]), time_ms, growing(count, step)))


@every_processor
def test_processors_share_nothing(new_lab, name, config):
    """A second one, fed the same in between, changes nothing: sinks have some of their own."""
    lab = new_lab()
    one, other = lab.processor(name, **config), lab.processor(name, **config)
    layout = lab.layout(*SERIES)
    for step in (1, 2, 3):
        batch = Batch(layout, step * 15_000, growing(len(layout), step))
        assert lab.shown(checked(one, batch)) == lab.shown(checked(other, batch))
