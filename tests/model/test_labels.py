"""Label sets are printed as PromQL that selects them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metricsmith.model.labels import NAME_LABEL, format_labels
from metricsmith.syntax.selector import parse_selector


@pytest.mark.parametrize(
    ("labels", "wanted"),
    [
        ({}, "{}"),
        ({"__name__": "up"}, "up"),
        ({"job": "a"}, '{job="a"}'),
        ({"__name__": "job:up:sum", "job": 'a"b\\c\nd'}, r'job:up:sum{job="a\"b\\c\nd"}'),
        ({"__name__": "my metric.x", "service": "a"}, '{"my metric.x", service="a"}'),
        ({"__name__": "größe"}, '{"größe"}'),
        ({"__name__": "up", "http.method": "GET"}, 'up{"http.method"="GET"}'),
        ({"a:b": "c"}, '{"a:b"="c"}'),
    ],
)
def test_names_that_are_no_identifiers_are_quoted(labels: dict[str, str], wanted: str) -> None:
    assert format_labels(labels) == wanted


text = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)


@given(text.map(lambda name: f"x {name}"), st.dictionaries(text.filter(lambda n: n != NAME_LABEL), text))
def test_printed_series_reads_back_as_its_selector(name: str, labels: dict[str, str]) -> None:
    selector = parse_selector(format_labels({NAME_LABEL: name} | labels))
    assert {m.name: m.value for m in selector.matchers} == {NAME_LABEL: name} | labels
