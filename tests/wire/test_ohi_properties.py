"""Any document of the schema is read as it was written; whatever else comes is refused, never a crash."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from metricsmith.errors import InputError
from metricsmith.wire.ohi.decode import decode
from metricsmith.wire.ohi.document import (
    HOST,
    NUMERIC_KINDS,
    Dataset,
    DistributionValue,
    Document,
    Entity,
    Event,
    Metric,
    MetricKind,
    Request,
    Sample,
    SummaryValue,
)
from metricsmith.wire.ohi.encode import encode
from metricsmith.wire.ohi.reading import MAX_TIME_MS, SECONDS_BELOW, Limits

texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=8)
names = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=8)
numbers = st.floats(allow_nan=False, allow_infinity=False)
attributes = st.dictionaries(texts, st.one_of(texts, numbers, st.booleans()), max_size=4)
times = st.none() | st.integers(SECONDS_BELOW, MAX_TIME_MS)
entities = st.just(HOST) | st.builds(
    Entity, names, names, texts, st.lists(st.tuples(names, texts), max_size=2).map(tuple), attributes
)
samples = st.builds(
    Sample, names, attributes.map(lambda found: {k: v for k, v in found.items() if k != "event_type"})
)
events = st.builds(Event, names, names, times, attributes)
points = st.dictionaries(numbers, numbers, max_size=3).map(lambda found: tuple(sorted(found.items())))
distributions = st.builds(DistributionValue, numbers, numbers, points)


def metrics_of(kind: MetricKind) -> st.SearchStrategy[Metric]:
    if kind in NUMERIC_KINDS:
        values: st.SearchStrategy[object] = numbers
    elif kind is MetricKind.SUMMARY:
        values = st.builds(SummaryValue, numbers, numbers, st.none() | numbers, st.none() | numbers)
    else:
        values = distributions
    intervals = st.none() | st.floats(0.001, 1e9)
    return st.builds(Metric, names, st.just(kind), values, times, intervals, attributes)


def datasets(protocol: int) -> st.SearchStrategy[Dataset]:
    rows = (
        {"metrics": st.lists(st.sampled_from(list(MetricKind)).flatmap(metrics_of), max_size=3).map(tuple)}
        if protocol == 4
        else {"samples": st.lists(samples, max_size=3).map(tuple)}
    )
    return st.builds(
        Dataset,
        entities,
        inventory=st.dictionaries(texts, attributes, max_size=2),
        events=st.lists(events, max_size=2).map(tuple),
        **rows,
    )


def documents_of(protocol: int) -> st.SearchStrategy[Document]:
    exactly_one = protocol == 1
    data = st.lists(datasets(protocol), min_size=exactly_one, max_size=1 if exactly_one else 3).map(tuple)
    return st.builds(Document, st.just(protocol), texts, texts, data)


documents = st.sampled_from([1, 2, 3, 4]).flatmap(documents_of)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)


@given(documents)
def test_any_document_is_read_as_it_was_written(document):
    assert decode(encode(document)) == document


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_or_read(data):
    try:
        found = decode(data)
    except InputError:
        return
    assert found is None or isinstance(found, Document | Request)


@given(st.data(), documents, anything)
def test_a_document_with_anything_put_anywhere_is_refused_or_read(data, document, thing):
    """Each place that can hold something of another shape is a place where a reader can fall over."""
    root = json.loads(encode(document))
    places = list(_places(root))
    holder, key = data.draw(st.sampled_from(places))
    holder[key] = thing
    try:
        decode(json.dumps(root).encode(), Limits(metrics=20, attributes=5, datasets=3))
    except InputError as error:
        assert len(str(error)) < 1000


@given(documents, st.integers(0, 10_000))
def test_a_document_that_breaks_off_is_refused(document, at):
    whole = encode(document).rstrip(b"\n")
    cut = whole[: at % len(whole)]
    try:
        found = decode(cut)
    except InputError:
        return
    raise AssertionError(f"{cut!r} was read as {found}")


def _places(value):
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in list(items):
        yield value, key
        yield from _places(inner)
