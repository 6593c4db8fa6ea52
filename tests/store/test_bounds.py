"""The memory of recent samples and of queries is bounded by settings, whatever is sent and asked."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from pydantic import ValidationError

from metricsmith.errors import QueryLimitExceeded
from metricsmith.model.batch import Batch, Layout
from metricsmith.model.labels import encode_labels
from metricsmith.model.matchers import Matcher, MatchOp
from metricsmith.store.settings import EmbeddedConfig

NOW = 1_700_000_000_000
HEAD_BYTES = 1 << 20
SERIES, BATCHES, SAMPLE_BYTES = 2_000, 2_500, 8
TIMES = 400
MORE_BYTES = 20 << 20
"""What a flush and a merge may take besides: half of what is sent."""


@pytest.fixture
def traced() -> Iterator[Callable[[], int]]:
    """Tell the most bytes that were allocated at once since the last call."""
    tracemalloc.start()

    def peak() -> int:
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.reset_peak()
        return most

    yield peak
    tracemalloc.stop()


@pytest.mark.parametrize("stream", ["x", None], ids=["scrapes", "loose samples"])
def test_what_is_sent_faster_than_it_is_written_waits(lab, tmp_path, traced, stream):
    process = lab.Process(tmp_path, head_bytes=HEAD_BYTES)
    keys = [encode_labels({"__name__": "x", "n": str(n)}) for n in range(SERIES)]
    layout = Layout(process.table.intern_many(keys), stream)
    one = SERIES * 3 * SAMPLE_BYTES
    values = np.random.default_rng(1).random(SERIES)
    before = tracemalloc.get_traced_memory()[0]
    traced()
    for sequence in range(BATCHES):
        process.store.apply(Batch(layout, NOW + sequence * 1000, values + sequence), sequence)
        assert process.store._heads.bytes <= 3 * HEAD_BYTES + one
    assert BATCHES * SERIES * SAMPLE_BYTES > 30 * HEAD_BYTES
    assert traced() - before < 3 * HEAD_BYTES + MORE_BYTES
    process.store.close()
    assert process.store.status().blocks > 0


def test_a_query_beyond_its_limit_never_holds_more(lab, tmp_path, traced):
    process = lab.Process(tmp_path)
    keys = [encode_labels({"__name__": "x", "n": str(n)}) for n in range(SERIES)]
    layout = Layout(process.table.intern_many(keys), "x")
    for sequence in range(TIMES):
        process.store.apply(Batch(layout, NOW - (TIMES - sequence) * 1000, np.ones(SERIES)), sequence)
    process.flush()
    every = [Matcher("__name__", MatchOp.EQ, "x")]
    before, most = tracemalloc.get_traced_memory()[0], 10_000
    traced()
    with pytest.raises(QueryLimitExceeded, match="10000"):
        process.store.select(every, NOW - 10**7, NOW, most)
    refused = traced() - before
    assert process.store.select(every, NOW - 10**7, NOW).sample_count() == TIMES * SERIES
    assert refused < 20 * most * SAMPLE_BYTES < traced() - before
    process.store.close()


@pytest.mark.parametrize(("retention_size", "fits"), [("9GB", True), ("10GB", False), ("11GB", False)])
def test_old_blocks_go_before_new_samples_are_refused(retention_size, fits):
    given = {"path": "data", "retention_size": retention_size, "max_disk": "10GB"}
    if fits:
        assert EmbeddedConfig.model_validate(given).retention_size
    else:
        with pytest.raises(ValidationError, match="wanted a smaller retention_size"):
            EmbeddedConfig.model_validate(given)
