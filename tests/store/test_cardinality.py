"""What is told of the origin of series is what counting every label set gives."""

from __future__ import annotations

from collections import Counter, defaultdict

from hypothesis import given
from hypothesis import strategies as st

from metricsmith.model.labels import encode_labels
from metricsmith.model.series import SeriesTable
from metricsmith.store.index import SeriesIndex

label_sets = st.dictionaries(
    st.sampled_from(["__name__", "job", "zone"]), st.sampled_from(["a", "ab", "ö", "c=d"]), max_size=3
)


def largest(counts, limit):
    return sorted(counts.items(), key=lambda each: (-each[1], each[0]))[:limit]


@given(st.lists(label_sets, max_size=12), st.data(), st.integers(1, 5))
def test_counts_are_those_of_the_label_sets(sets, data, limit):
    table = SeriesTable()
    index = SeriesIndex(table)
    table.intern_many(encode_labels(labels) for labels in sets)
    ids = index.match([])
    chosen = ids[[data.draw(st.booleans()) for _ in ids]]
    found = index.cardinality(chosen, limit)

    pairs, values = Counter(), defaultdict(set)
    for labels in (table.labels(i) for i in chosen.tolist()):
        pairs.update(labels.items())
        for name, value in labels.items():
            values[name].add(value)
    assert (found.series, found.label_pairs) == (len(chosen), len(pairs))
    names = {value: n for (name, value), n in pairs.items() if name == "__name__"}
    assert found.series_by_metric == largest(names, limit)
    assert found.values_by_label == largest({name: len(v) for name, v in values.items()}, limit)
    lengths = {name: sum(len(value.encode()) for value in v) for name, v in values.items()}
    assert found.bytes_by_label == largest(lengths, limit)
    by_text = {f"{name}={value}": n for (name, value), n in pairs.items()}
    assert found.series_by_pair == largest(by_text, limit)


def test_only_series_with_recent_samples_count(lab, process):
    assert process.store.cardinality(10).series == 0
    process.accept(lab.scrape(1_700_000_000_000, 0.0, (0, 1)), 0)
    process.accept(lab.scrape(1_700_000_001_000, 0.0, (0, 1)), 1)
    found = process.store.cardinality(10)
    assert (found.series, found.first_ms, found.last_ms) == (2, 1_700_000_000_000, 1_700_000_001_000)
    process.flush()
    found = process.store.cardinality(10)
    assert (found.series, found.series_by_metric, found.first_ms) == (0, [], None)
