"""Reading all samples of a selection asks the store for each of them once, however many metrics there are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from metricsmith.errors import QueryLimitExceeded
from metricsmith.model.labels import NAME_LABEL, decode_labels, encode_labels
from metricsmith.model.matchers import Matcher, MatchOp
from metricsmith.model.series import SeriesTable
from metricsmith.runtime import history
from metricsmith.runtime.history import HistoryReader
from metricsmith.store.pieces import RaggedPiece


class Counting:
    """Series with a sample at each of the first times; counts the samples that it is asked for."""

    def __init__(self, lengths: dict[bytes, int]) -> None:
        self.table, self.lengths, self.given, self.refused = SeriesTable(), lengths, 0, 0

    def names(self, selectors: Sequence[Sequence[Matcher]], start_ms: int, end_ms: int) -> list[str]:
        found = {key for each in selectors for key in self.series(each, start_ms, end_ms)}
        return sorted({decode_labels(key).get(NAME_LABEL, "") for key in found})

    def series(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> list[bytes]:
        def matches(labels: dict[str, str]) -> bool:
            return all(m.matches(labels.get(m.name, "")) for m in matchers)

        return [key for key in self.lengths if matches(decode_labels(key))]

    def samples(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, limit: int) -> RaggedPiece:
        keys = self.series(matchers, start_ms, end_ms)
        times = [np.arange(max(0, start_ms), min(self.lengths[key], end_ms + 1)) for key in keys]
        if sum(map(len, times)) > limit:
            self.refused += 1
            raise QueryLimitExceeded("too many", "samples")
        flat = np.concatenate([*times, np.empty(0, np.int64)])
        self.given += len(flat)
        offsets = np.cumsum([0, *map(len, times)])
        return RaggedPiece(self.table.intern_many(keys), offsets, flat, np.ones(len(flat)), None)


def read(kept: Counting, selectors: list[list[Matcher]]) -> int:
    """Return how many samples came."""
    reader = HistoryReader(kept, kept.table, 0, 1 << 20)
    return sum(len(batch) for _, batch in reader.batches(selectors))


JOB = [Matcher("job", MatchOp.EQ, "a")]


@pytest.mark.parametrize("selectors", [[[]], [JOB, [Matcher("job", MatchOp.NE, "b")]]])
def test_each_sample_is_asked_for_once(selectors: list[list[Matcher]]) -> None:
    names = ["", *(f"m{n:03}" for n in range(4 * history.NAMES_AT_ONCE))]
    kept = Counting({encode_labels({NAME_LABEL: n, "job": "a"} if n else {"job": "a"}): 7 for n in names})
    assert read(kept, selectors) == kept.given == 7 * len(names)


def test_a_long_series_is_not_read_in_the_pace_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "MOST_SAMPLES", 500)
    labels = [{NAME_LABEL: "up", "job": "a"}, *({NAME_LABEL: "up", "n": str(n)} for n in range(20))]
    kept = Counting({encode_labels(each): 900 for each in labels})
    selectors = [JOB, [Matcher(NAME_LABEL, MatchOp.EQ, "up"), *JOB]]
    assert read(kept, selectors) == kept.given == 900
    assert kept.refused == 1
