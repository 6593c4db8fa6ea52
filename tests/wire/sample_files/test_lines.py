"""Samples written as lines are read as they were, foreign lines too; others are told with their line."""

from __future__ import annotations

import csv
import io
import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metricsmith.model.batch import Batch, Layout
from metricsmith.model.labels import encode_labels
from metricsmith.model.series import SeriesTable
from metricsmith.wire.sample_files.columns import Columns
from metricsmith.wire.sample_files.dialects import DIALECTS
from metricsmith.wire.sample_files.names import LAST_MS, Form
from metricsmith.wire.sample_files.read_lines import LineReader
from metricsmith.wire.sample_files.write_lines import LineWriter

FORMS = [Form.JSON, Form.CSV]
texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
names = st.one_of(
    texts, st.sampled_from(['a"b', "a,b", "two\nlines", "cr\r", " blank ", "value:", "ü", '",'])
)
samples = st.lists(
    st.tuples(
        st.dictionaries(names.filter(lambda n: n != "__name__"), names, max_size=3),
        names,
        st.one_of(st.integers(0, 5), st.integers(0, LAST_MS)),
        st.one_of(st.none(), st.floats()),
    ),
    min_size=1,
    max_size=20,
)
Sample = tuple[dict[str, str], int, str]


def _seen(value: float | None) -> str:
    return "stale" if value is None else repr(float(value))


def _batch(table: SeriesTable, made: list[tuple[dict[str, str], str, int, float | None]]) -> Batch:
    ids = table.intern_many(encode_labels({**labels, "__name__": name}) for labels, name, _, _ in made)
    values = np.array([0.0 if value is None else value for *_, value in made])
    times = np.array([time for _, _, time, _ in made], np.int64)
    return Batch(Layout(ids), times, values, np.array([value is None for *_, value in made]))


def _wanted(made: list[tuple[dict[str, str], str, int, float | None]]) -> list[Sample]:
    return [({**labels, "__name__": name}, time, _seen(value)) for labels, name, time, value in made]


def _read(columns: Columns, table: SeriesTable) -> list[Sample]:
    stale = np.zeros(len(columns), bool) if columns.stale is None else columns.stale
    rows = zip(columns.series.tolist(), columns.times.tolist(), columns.values.tolist(), stale, strict=True)
    return [
        (table.labels(series), time, _seen(None if gone else value)) for series, time, value, gone in rows
    ]


@pytest.mark.parametrize("form", FORMS)
@given(made=samples)
def test_what_is_written_is_read(form: Form, made: list[Any]) -> None:
    dialect, here, there = DIALECTS[form], SeriesTable(), SeriesTable()
    text = dialect.header + LineWriter(dialect, here).encode(_batch(here, made))
    columns, damage = LineReader(dialect, there).decode(text, 1)
    assert not damage
    assert _read(columns, there) == _wanted(made)
    assert text.count(b"\n") == len(made) + bool(dialect.header)


@given(made=samples)
def test_other_programs_read_json(made: list[Any]) -> None:
    table = SeriesTable()
    text = LineWriter(DIALECTS[Form.JSON], table).encode(_batch(table, made)).decode()
    for line, (labels, _, value) in zip(text.split("\n"), _wanted(made), strict=False):
        found = json.loads(line)
        assert list(found) == ["time", "name", "labels", "value"]
        assert {**found["labels"], "__name__": found["name"]} == labels
        got = found["value"]
        assert _seen(float(got) if got is not None else None) == value


@given(made=samples)
def test_other_programs_read_csv(made: list[Any]) -> None:
    table, dialect = SeriesTable(), DIALECTS[Form.CSV]
    text = (dialect.header + LineWriter(dialect, table).encode(_batch(table, made))).decode()
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    for row, (labels, _, value) in zip(rows, _wanted(made), strict=True):
        assert {"__name__": row["name"], **json.loads(row["labels"])} == labels
        assert _seen(float(row["value"]) if row["value"] else None) == value


@pytest.mark.parametrize(
    ("form", "line", "wanted"),
    [
        (Form.JSON, '{"value": 1, "name":"a", "time":"2025-11-21T18:00:00Z"}', ({}, 1.0)),
        (Form.JSON, '{"name":"a","time":"2025-11-21T19:00:00+01:00","labels":{"b":"c"},"value":"-Inf"}',
         ({"b": "c"}, -math.inf)),
        (Form.JSON, '{"time":"2025-11-21T18:00:00.000Z","value":1,"labels":{},"name":"a","n":7}', ({}, 1.0)),
        (Form.JSON, '{"time":"2025-11-21T18:00:00.000Z","name":"a","labels":{},"value":1e400}', None),
        (Form.JSON, '{"time":"2025-11-21T18:00:00.000Z","name":"a","labels":{"b":1},"value":1}', None),
        (Form.JSON, '{"time":"2025-13-21T18:00:00.000Z","name":"a","labels":{},"value":1}', None),
        (Form.JSON, '{"time":"2025-11-21T18:00:00.000Z","name":"a","labels":{},"value":true}', None),
        (Form.JSON, '{"time":"2025-11-21T18:00:00.000Z","name":"a","lab', None),
        (Form.JSON, '{"time":"2025-11-21T18:00:00.000Z","name":"a","labels":{}}', None),
        (Form.JSON, "7", None),
        (Form.CSV, "2025-11-21 18:00:00,a,,1", ({}, 1.0)),
        (Form.CSV, '"2025-11-21T18:00:00.000Z","a","{""b"":""c""}",Inf', ({"b": "c"}, math.inf)),
        (Form.CSV, "1795063140000,a,{},1", None),
        (Form.CSV, "20251121T180000Z,a,{},1", None),
        (Form.CSV, "2025-11-21,a,{},1", None),
        (Form.CSV, "2025-11-21T18:00:00.000Z,a,{},0x10", None),
        (Form.CSV, "2025-11-21T18:00:00.000Z,a,{},1,2", None),
        (Form.CSV, "2025-11-21T18:00:00.000Z,a,[],1", None),
        (Form.CSV, '2025-11-21T18:00:00.000Z,"a,{},1', None),
    ],
)  # fmt: skip
def test_lines_of_others(form: Form, line: str, wanted: tuple[dict[str, str], float] | None) -> None:
    """Between two lines of ours, which are read in any case."""
    table, dialect = SeriesTable(), DIALECTS[form]
    ours = LineWriter(dialect, table).encode(_batch(table, [({"x": "y"}, "ours", 1, 2.0)]))
    columns, damage = LineReader(dialect, table).decode(ours + line.encode() + b"\n" + ours, 41)
    found = _read(columns, table)
    assert [labels["__name__"] for labels, *_ in found] == ["ours", *(["a"] if wanted else []), "ours"]
    if wanted is None:
        assert [each.place for each in damage] == ["line 42"]
    else:
        labels, value = wanted
        assert found[1] == ({**labels, "__name__": "a"}, 1_763_748_000_000, repr(value))
        assert not damage


def test_a_spreadsheet_has_saved_it() -> None:
    text = '\ufefftime,name,labels,value\r\n2025-11-21T18:00:00.000Z,a,"{""b"":""c""}",1.5\r\n'
    table = SeriesTable()
    columns, damage = LineReader(DIALECTS[Form.CSV], table).decode(text.encode(), 1)
    assert (_read(columns, table), damage) == (
        [({"__name__": "a", "b": "c"}, 1_763_748_000_000, _seen(1.5))], []
    )  # fmt: skip


def test_one_bad_number_among_many_costs_its_line_only() -> None:
    table, dialect = SeriesTable(), DIALECTS[Form.CSV]
    made = [({"i": str(i)}, "m", 1000 * i, float(i)) for i in range(50)]
    lines = LineWriter(dialect, table).encode(_batch(table, made)).split(b"\n")
    lines[20] = lines[20].rpartition(b",")[0] + b",1_0"
    columns, damage = LineReader(dialect, table).decode(b"\n".join(lines), 1)
    assert [each.place for each in damage] == ["line 21"]
    assert columns.values.tolist() == [float(i) for i in range(50) if i != 20]
