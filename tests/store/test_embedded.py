"""The store answers as a plain dictionary of samples would, through flushes, restarts and failures."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metricsmith.model.matchers import Matcher, MatchOp
from metricsmith.model.metadata import Metadata, MetricType
from metricsmith.model.selection import Selection
from metricsmith.store.admission import FUTURE_MS
from metricsmith.store_contracts import Store

HOUR = 3_600_000
NOW = 1_700_000_000_000
RETENTION = 48 * HOUR
SERIES = 6


@st.composite
def sent_batches(draw):
    rows = tuple(draw(st.lists(st.integers(0, SERIES - 1), unique=True, min_size=1, max_size=SERIES)))
    stream = draw(st.sampled_from(["x", "y", None]))
    # Few different times, so that samples meet; some of windows long past, some refused.
    time = st.sampled_from(
        [0, 1, 2, 3, -20, -21, -30 * 60, -9 * HOUR // 1000, -47 * HOUR // 1000, -49 * HOUR // 1000, 700]
    )
    one = draw(time) * 1000 + NOW
    at = one if draw(st.booleans()) else tuple(draw(time) * 1000 + NOW for _ in rows)
    values = tuple(draw(st.lists(st.integers(0, 9).map(float), min_size=len(rows), max_size=len(rows))))
    stale = draw(st.none() | st.tuples(*[st.booleans() for _ in rows]))
    return rows, stream, at, values, stale


steps = st.lists(sent_batches() | st.sampled_from(["flush", "restart", "kill"]), max_size=14)
matchers = st.lists(
    st.builds(
        Matcher,
        st.sampled_from(["__name__", "job", "zone"]),
        st.sampled_from(list(MatchOp)),
        st.sampled_from(["", "a", "b", "z", "up", "up|load", ".*", "re.*"]),
    ),
    max_size=2,
)
ranges = st.tuples(
    *[st.sampled_from([-48 * HOUR, -9 * HOUR, -21_000, 0, 2000, FUTURE_MS]).map(NOW.__add__)] * 2
)


@given(steps, matchers, ranges)
def test_answers_as_a_dictionary_would(lab, steps, matchers, limits):
    with TemporaryDirectory() as folder:
        process, model, journal = lab.Process(Path(folder)), {}, []
        steps = [lab.scrape(NOW, 0.0), *steps]  # so that no restart takes the clock for a jump
        for step in steps:
            if step == "flush":
                process.flush()
            elif step == "restart":
                process.store.close()
                process = lab.Process(Path(folder))
                assert process.store.cursor() == len(journal), "everything was flushed"
            elif step == "kill":
                process.store.close(flush=False)
                process = lab.Process(Path(folder))
                for sequence in range(process.store.cursor(), len(journal)):
                    process.store.apply(process.batch(journal[sequence]), sequence)
            else:
                process.accept(step, len(journal))
                journal.append(step)
                lab.apply_to_model(model, step)
            everything = lab.as_dict(process.store.select([], NOW - RETENTION, NOW + FUTURE_MS))
            assert everything == lab.selected_from(model, [], NOW - RETENTION, NOW + FUTURE_MS)
        selection = process.store.select(matchers, *limits)
        assert lab.as_dict(selection) == lab.selected_from(model, matchers, *limits)
        assert selection.keys == sorted(selection.keys)
        assert set(selection.keys) <= set(process.store.series(matchers, *limits))
        process.store.close(flush=False)


def test_is_a_store(process):
    assert isinstance(process.store, Store)


def test_replaying_the_same_batches_changes_nothing(lab, process):
    sent = [lab.scrape(NOW + t, t, (0, 1, 2, 3)[: 2 + t % 3]) for t in (0, 1, 2, 3, 3, 1)]
    for sequence, one in enumerate(sent):
        process.store.apply(process.batch(one), sequence)
    before = process.everything()
    process.flush()
    for sequence, one in enumerate(sent):
        process.store.apply(process.batch(one), sequence)
    assert process.everything() == before


@pytest.mark.parametrize("limits", [(-(1 << 80), 1 << 80), (-(1 << 63), (1 << 63) - 1)])
def test_a_range_may_be_as_large_as_one_likes(lab, process, limits: tuple[int, int]):
    for sequence in (0, 1):
        process.store.apply(process.batch(lab.scrape(NOW + sequence, 1.0, (0,))), sequence)
        process.store.apply(process.batch(((1,), None, NOW + sequence, (1.0,), None)), sequence)
        assert len(lab.as_dict(process.store.select([], *limits))[lab.KEYS[1]]) == sequence + 1
        process.flush()
    assert lab.as_dict(process.store.select([], *limits))[lab.KEYS[0]] == {NOW: 1.0, NOW + 1: 1.0}
    assert process.store.series([], *limits) == sorted(lab.KEYS[:2])


def test_series_and_labels_of_a_time_range(lab, process):
    process.store.apply(process.batch(lab.scrape(NOW - 10 * HOUR, 1.0, (0,))), 0)
    process.flush()
    process.store.apply(process.batch(lab.scrape(NOW, 1.0, (3,))), 1)
    store = process.store
    assert store.series([], NOW - HOUR, NOW) == [lab.KEYS[3]]
    assert store.series([], 0, NOW) == sorted([lab.KEYS[0], lab.KEYS[3]])
    assert store.series([Matcher("zone", MatchOp.EQ, "")], 0, NOW) == [lab.KEYS[0]]
    assert store.label_names([], NOW - HOUR, NOW) == ["__name__", "job", "zone"]
    assert store.label_names([], 0, NOW - HOUR) == ["__name__", "job"]
    assert store.label_values("job", [], 0, NOW) == ["a", "b"]
    assert store.label_values("job", [Matcher("__name__", MatchOp.RE, "req.*")], 0, NOW) == ["b"]


def test_metadata_survives_a_restart(lab, tmp_path: Path):
    first = lab.Process(tmp_path)
    first.store.apply(first.batch(lab.scrape(NOW, 1.0)), 0)
    assert first.store.metadata() == {"up": Metadata(MetricType.GAUGE)}
    first.store.close()
    second = lab.Process(tmp_path)
    assert second.store.metadata() == {"up": Metadata(MetricType.GAUGE)}
    second.store.close()


def test_status_counts_series_and_samples(lab, process):
    process.store.apply(process.batch(lab.scrape(NOW - 1, 1.0, (0, 1))), 0)
    process.flush()
    process.store.apply(process.batch(lab.scrape(NOW, 1.0, (1, 2))), 1)
    status = process.store.status()
    assert (status.series, status.head_samples, status.last_sample_ms) == (3, 2, NOW)
    assert process.telemetry.registry.get_sample_value("metricsmith_store_head_samples") == 2
    assert process.telemetry.registry.get_sample_value("metricsmith_store_active_series") == 2


def test_readers_in_other_threads_see_whole_batches(lab, process):
    """A reader sees a lab.scrape of three series whole or not at all, and never less than before."""
    stop, problems = threading.Event(), []
    matcher = [Matcher("__name__", MatchOp.RE, ".+")]

    def read(select: Callable[..., Selection]) -> None:
        newest = 0
        while not stop.is_set():
            counts = {len(row) for row in lab.as_dict(select(matcher, 0, 1 << 61)).values()}
            if len(counts) > 1 or max(counts, default=0) < newest:
                problems.append(counts)
                return
            newest = max(counts, default=0)

    readers = [threading.Thread(target=read, args=(process.store.select,)) for _ in range(2)]
    for reader in readers:
        reader.start()
    for sequence in range(400):
        process.store.apply(process.batch(lab.scrape(NOW + sequence, 1.0)), sequence)
        if sequence % 100 == 50:
            process.flush()
    stop.set()
    for reader in readers:
        reader.join()
    assert problems == []


def test_a_real_nan_an_infinity_and_a_marker_stay_what_they_are(lab, tmp_path: Path):
    values = (float("nan"), float("inf"), -0.0, 7.0)
    stale = (False, False, False, True)
    process = lab.Process(tmp_path)
    process.store.apply(process.batch(((0, 1, 2, 3), "x", NOW, values, stale)), 0)
    process.store.apply(process.batch(((4, 5), None, NOW, (float("nan"), 7.0), (False, True))), 1)
    for _ in range(2):
        found = {key: row[NOW] for key, row in process.everything().items()}
        assert [found.pop(lab.KEYS[i]) for i in (3, 5)] == [None, None]
        assert [repr(found[lab.KEYS[i]]) for i in (0, 1, 2, 4)] == ["nan", "inf", "-0.0", "nan"]
        process.store.close()
        process = lab.Process(tmp_path)
    process.store.close(flush=False)
