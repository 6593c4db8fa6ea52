"""Line protocol as we write it: places that lead back to their series, lines that say what was meant."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metricsmith.model.labels import encode_labels
from metricsmith.model.matchers import Matcher, MatchOp
from metricsmith.model.series import SeriesTable
from metricsmith.wire.influxql import condition, identifier, string
from metricsmith.wire.line_protocol import LineDecoder
from metricsmith.wire.line_protocol_places import Place, Places, check_template
from metricsmith.wire.line_protocol_template import LineTemplate, Written, ended_names, written
from metricsmith.wire.line_protocol_text import NoForm

TEMPLATES = [
    "{service}_metrics",
    "{service}",
    "a{service}",
    "{name}",
    "x_{__name__}",
    "all",
    "{a}_{b}",
    "{a}{name}",
]
# Few letters, so that values run into the template's text.
texts = st.text("a_metricsx", min_size=1, max_size=9)
keys = st.builds(
    lambda name, labels: encode_labels({**labels, "__name__": name}),
    texts,
    st.dictionaries(st.sampled_from(["service", "a", "b", "host"]), texts, max_size=3),
)


@pytest.mark.parametrize("template", TEMPLATES)
@given(several=st.lists(keys, min_size=1, max_size=6, unique=True))
def test_a_place_leads_back_to_its_series_alone(template: str, several: list[bytes]) -> None:
    places = Places(template)
    found = [places.of(key) for key in several]
    assert [places.key(each.measurement, each.tags, each.field) for each in found] == several
    assert len(set(found)) == len(several)
    for key, place in zip(several, found, strict=True):
        name = key.partition(b"\xff")[0].decode()
        assert places.metric(place.measurement, place.field) == name.encode()
        only = places.measurements([Matcher("__name__", MatchOp.EQ, name)])
        assert only is None or place.measurement in only


@given(key=keys, template=st.sampled_from(TEMPLATES), value=texts)
def test_no_measurement_is_passed_over(key: bytes, template: str, value: str) -> None:
    places, labels = Places(template), dict(_pairs(key))
    place = places.of(key)
    for name in ("service", "a", "__name__"):
        for matcher in (
            Matcher(name, MatchOp.EQ, labels.get(name, "")),
            Matcher(name, MatchOp.NE, value),
            Matcher(name, MatchOp.RE, ".*"),
        ):
            if matcher.matches(labels.get(name, "")):
                only = places.measurements([matcher])
                assert only is None or place.measurement in only
                assert places.may_match(place.measurement, [matcher])


def _pairs(key: bytes) -> list[tuple[str, str]]:
    name, *rest = key.split(b"\xff")
    return [
        ("__name__", name.decode()),
        *((p.split(b"\xfe")[0].decode(), p.split(b"\xfe")[1].decode()) for p in rest),
    ]


@pytest.mark.parametrize("template", ["", "{a", "a}", "{}", "x" * 201, "a\nb"])
def test_templates_that_are_none(template: str) -> None:
    with pytest.raises(ValueError, match="wanted a measurement such as"):
        check_template(template)


def test_places_of_others_are_not_ours() -> None:
    places = Places("{service}_metrics")
    assert places.key(b"cpu", (), b"usage") is None
    assert places.key(b"_metrics", (), b"usage") is None
    assert places.key(b"a_metrics", [(b"__name__", b"x")], b"usage") is None
    assert Places("{name}").key(b"cpu", (), b"usage") is None
    assert Places("all").key(b"any", (), b"usage") is None
    assert Places("{a}_{b}").key(b"x_y", [(b"a", b"x"), (b"b", b"z")], b"usage") is None


FEW = [
    Written(b"m,t=a", b"x", b"x"),
    Written(b"m,t=b", b"x", b"x"),
    Written(b"m,t=a", b"y\\ z", b"y z"),
    Written(b"n", b"x", b"x"),
]
numbers = st.floats(allow_nan=False, allow_infinity=False)


@given(values=st.lists(numbers, min_size=4, max_size=4), time=st.integers(-(10**12), 10**12))
def test_a_layout_is_read_as_it_was(values: list[float], time: int) -> None:
    body = LineTemplate(FEW).fill(np.array(values), time)
    assert body.count(b"\n") == 3
    names = ["m_x t=a", "m_x t=b", "m_y z t=a", "n_x"]
    assert _read(body) == sorted((name, time, value) for name, value in zip(names, values, strict=True))


@given(rows=st.lists(st.tuples(st.integers(0, 3), st.integers(-9, 9), numbers), max_size=20))
def test_samples_with_times_of_their_own_are_read_as_they_were(rows: list[tuple[int, int, float]]) -> None:
    places = np.array([at for at, *_ in rows], dtype=np.int64)
    times = np.array([time for _, time, _ in rows], dtype=np.int64)
    body = LineTemplate(FEW).fill_each(places, places, np.array([v for *_, v in rows]), times)
    names = ["m_x t=a", "m_x t=b", "m_y z t=a", "n_x"]
    last = {(names[at], time): value for at, time, value in rows}
    assert _read(body) == sorted((name, time, value) for (name, time), value in last.items())
    lines = {line.rpartition(b" ")[2] + line.partition(b" ")[0] for line in body.splitlines()}
    assert len(lines) == len(body.splitlines())  # what can share a line does


def _read(body: bytes) -> list[tuple[str, int, float]]:
    table = SeriesTable()
    found = LineDecoder(table).decode(body, now_ms=0, precision="ms")
    assert found.bad_lines == 0
    batch = found.batch
    rows = []
    for each, time, value in zip(
        batch.layout.ids.tolist(), batch.times().tolist(), batch.value.tolist(), strict=True
    ):
        labels = table.labels(each)
        rows.append(
            (" ".join([labels.pop("__name__"), *(f"{k}={v}" for k, v in labels.items())]), time, value)
        )
    return sorted(rows)


def test_marks_list_what_ended() -> None:
    body = LineTemplate(FEW).marks(b"ended", np.array([0, 2, 3]), np.array([7, 7, 8]))
    assert body == b'm,t=a ended="[\\"x\\",\\"y z\\"]" 7\nn ended="[\\"x\\"]" 8\n'
    assert ended_names('["x","y z"]') == [b"x", b"y z"]
    assert [ended_names(other) for other in ("", "7", "[7]", None, "{")] == [[]] * 5


def test_what_has_no_form() -> None:
    with pytest.raises(NoForm, match="no name"):
        written(Place(b"m", (), b""))
    with pytest.raises(NoForm, match="control characters"):
        written(Place(b"m", ((b"a\tb", b"c"),), b"x"))
    assert written(Place(b"m ,=", ((b"a b", b"c=d\\e"),), b"x,y")).head == b"m\\ \\,=,a\\ b=c\\=d\\e"


@pytest.mark.parametrize("text", ["a\x00b", "\x00"])
def test_a_nul_cannot_be_asked_for(text: str) -> None:
    for write in (identifier, string):
        with pytest.raises(ValueError, match="NUL"):
            write(text)
    for op in (MatchOp.EQ, MatchOp.NE):
        assert condition(Matcher("a", op, text)) is None


@given(
    name=st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
    value=st.text(st.characters(exclude_categories=["Cs"])),
    op=st.sampled_from([MatchOp.EQ, MatchOp.NE]),
)
def test_a_condition_ends_where_it_should(name: str, value: str, op: MatchOp) -> None:
    found = condition(Matcher(name, op, value))
    if found is None:
        assert name.startswith("_") or "\x00" in name + value
        return
    rest = _past(_past(found, '"').removeprefix(f"::tag {op.value} "), "'")
    assert rest == ""


def _past(text: str, quote: str) -> str:
    """Return what follows a quoted text, as InfluxQL reads it."""
    assert text[0] == quote
    at = 1
    while text[at] != quote:
        assert text[at] != "\n"
        at += 2 if text[at] == "\\" else 1
    return text[at + 1 :]
