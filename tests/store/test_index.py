"""The index finds exactly the series that a matcher-by-matcher look at every label set finds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metricsmith.model.labels import encode_labels
from metricsmith.model.matchers import Matcher, MatchOp
from metricsmith.model.series import SeriesTable
from metricsmith.store.index import FEW_VALUES, SeriesIndex
from metricsmith.store.patterns import literal_prefix, literal_values

NAMES = ["__name__", "job", "code", "missing"]
VALUES = ["a", "ab", "a.b", "b", "c\n", "ö", "a|b"]
PATTERNS = [
    "",
    ".*",
    ".+",
    "a",
    "a|b",
    "a|",
    "(a|ab)",
    "(?:b)",
    "a.*",
    "a.+",
    "a\\.b",
    "[ab]+",
    "^a$",
    "ö|.b",
    "(?i)A",
]
label_sets = st.dictionaries(st.sampled_from(NAMES[:3]), st.sampled_from(VALUES), max_size=3)
matchers = st.builds(
    Matcher, st.sampled_from(NAMES), st.sampled_from([MatchOp.EQ, MatchOp.NE]), st.sampled_from(["", *VALUES])
) | st.builds(
    Matcher, st.sampled_from(NAMES), st.sampled_from([MatchOp.RE, MatchOp.NRE]), st.sampled_from(PATTERNS)
)


def brute_force(table: SeriesTable, wanted: list[Matcher]) -> list[int]:
    sets = [table.labels(i) for i in range(len(table))]
    return [i for i, labels in enumerate(sets) if all(m.matches(labels.get(m.name, "")) for m in wanted)]


@given(st.lists(label_sets, max_size=12), st.lists(label_sets, max_size=6), st.lists(matchers, max_size=4))
def test_finds_what_looking_at_every_series_finds(early, late, wanted):
    table = SeriesTable()
    index = SeriesIndex(table)
    for sets in (early, late):
        table.intern_many(encode_labels(labels) for labels in sets)
        found = index.match(wanted)
        assert found.tolist() == brute_force(table, wanted)
        have = [table.labels(i) for i in found.tolist()]
        assert index.label_names(found) == sorted({name for labels in have for name in labels})
        for name in NAMES:
            values = sorted({labels[name] for labels in have if name in labels})
            assert index.label_values(name, found) == values


@pytest.fixture(scope="module")
def many() -> SeriesTable:
    table = SeriesTable()
    table.intern_many(
        encode_labels({"__name__": f"m{i % 7}", "instance": f"host-{i}", **({"zone": "z"} if i % 5 else {})})
        for i in range(5000)
    )
    return table


@pytest.mark.parametrize(
    "wanted",
    [
        [("instance", "=", "host-4321")],
        [("__name__", "=", "m3"), ("instance", "=~", "host-4.*")],
        [("instance", "=~", "host-4.+")],
        [("instance", "!~", "host-.*[05]")],
        [("instance", "!=", "host-7"), ("zone", "=", "")],
        [("instance", "=~", "host-1|host-2|nobody")],
        [("zone", "!=", ""), ("__name__", "=~", "m[12]"), ("instance", "=~", ".*99")],
        [("instance", "=~", "|".join(f"host-{i}" for i in range(0, 5000, 3)))],
        [("instance", "=~", "host-(1|2)\\d+"), ("__name__", "!=", "m1")],
        [("absent", "=", ""), ("__name__", "=", "m0")],
        [("absent", "!=", "")],
        [],
    ],
)
def test_many_values_are_found_as_few_are(many, wanted):
    assert len(many) > 10 * FEW_VALUES
    index = SeriesIndex(many)
    conditions = [Matcher(name, MatchOp(op), value) for name, op, value in wanted]
    assert index.match(conditions).tolist() == brute_force(many, conditions)


def test_series_interned_after_a_search_are_found_by_the_next(many):
    table = SeriesTable()
    index = SeriesIndex(table)
    condition = [Matcher("instance", MatchOp.RE, "host-.*5")]
    for start in range(0, 5000, 500):
        table.intern_many(many.keys(start, start + 500))
        assert len(index.match(condition)) == (start + 500) // 10


def test_results_are_sorted_ids(many):
    found = SeriesIndex(many).match([Matcher("instance", MatchOp.RE, "host-30|host-4|host-1")])
    assert found.dtype == np.uint32
    assert found.tolist() == [1, 4, 30]


@pytest.mark.parametrize(
    ("pattern", "values"),
    [
        ("GET", ("GET",)),
        ("GET|PUT", ("GET", "PUT")),
        ("(GET|PUT)", ("GET", "PUT")),
        ("(?:a\\.b)", ("a.b",)),
        ("a\\|b", ("a|b",)),
        ("", ("",)),
        ("a|", ("a", "")),
        ("a.b", None),
        ("a\\d", None),
        ("(a)|(b)", None),
        ("(a", None),
        ("a\\", None),
    ],
)
def test_alternations_of_literals_need_no_engine(pattern, values):
    assert literal_values(pattern) == values


@pytest.mark.parametrize(
    ("pattern", "prefix"),
    [
        ("a.*", ("a", False)),
        ("a\\..+", ("a.", True)),
        (".*", ("", False)),
        ("a|b.*", None),
        ("a\\.*", None),
        ("a", None),
    ],
)
def test_prefixes_need_no_engine(pattern, prefix):
    assert literal_prefix(pattern) == prefix
