"""What export writes, import reads back, bit for bit, whatever the values, times and labels."""

from __future__ import annotations

import math
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metricsmith.model.batch import Batch, Layout
from metricsmith.model.labels import encode_labels, metric_name
from metricsmith.model.series import SeriesTable
from metricsmith.runtime.import_files import ImportFile
from metricsmith.runtime.import_files import format_of as read_format
from metricsmith.wire.sample_files.columns import Damage
from metricsmith.wire.sample_files.formats import ExportFormat, compression_of, format_named
from metricsmith.wire.sample_files.writers import open_writer

Run = Callable[..., subprocess.CompletedProcess[str]]
Content = list[tuple[dict[str, str], dict[int, float | None]]]
FILES = ["all.parquet", "all.csv", "all.jsonl", "all.csv.gz", "all.jsonl.zst"]
NOW = 1_795_000_000_000
ODD: Content = [
    ({"__name__": "up"}, {NOW: 1.0, NOW + 1: 0.1 + 0.2, NOW + 2: None}),
    ({"__name__": "up", "job": "a"}, {NOW: math.nan, NOW + 15_000: math.inf, NOW + 30_000: -math.inf}),
    ({"__name__": "up_total", "job": "a"}, {NOW: -0.0, NOW + 1: 5e-324, NOW + 2: 1.7976931348623157e308}),
    ({"__name__": "température", "città": 'Zürich, "am\nSee" \\ 湖'}, {0: 3.0, NOW + 7_200_000: 1e22}),
    ({"job": "has no name"}, {NOW: 4.0}),
]

_texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
_plain = st.from_regex(r"[a-z_][a-z0-9_]{0,6}", fullmatch=True)
_labels = st.dictionaries(st.one_of(_plain, _texts).filter(lambda n: n != "__name__"), _texts, max_size=3)
_values = st.one_of(st.none(), st.floats(width=64), st.sampled_from([math.nan, math.inf, -0.0]))
_samples = st.dictionaries(st.integers(0, 4 * NOW // 3), _values, min_size=1, max_size=6)


@st.composite
def contents(draw: st.DrawFn) -> Content:
    found: dict[tuple[tuple[str, str], ...], tuple[dict[str, str], dict[int, float | None]]] = {}
    for _ in range(draw(st.integers(1, 5))):
        labels = {"__name__": draw(st.one_of(_plain, _texts))} | draw(_labels)
        found[tuple(sorted(labels.items()))] = labels, draw(_samples)
    return list(found.values())


def _round_trip(here: Run, folder: Path, file: str) -> Any:
    exported = here("store", "export", "--path", str(folder / "from"), "--out", str(folder / file))
    assert exported.returncode == 0, exported
    into = folder / f"into-{file}"
    into.mkdir()
    imported = here("store", "import", "--path", str(into), str(folder / file))
    assert imported.returncode == 0, imported
    return into


@pytest.mark.parametrize("file", FILES)
def test_files_hold_everything(
    here: Run, fill: Callable[..., None], content_of: Callable[[Path], Any], tmp_path: Path, file: str
) -> None:
    fill(tmp_path / "from", ODD)
    into = _round_trip(here, tmp_path, file)
    assert content_of(into) == content_of(tmp_path / "from")
    again = here("store", "import", "--path", str(into), str(tmp_path / file))
    assert again.returncode == 0
    assert content_of(into) == content_of(tmp_path / "from"), "to import again changes nothing"


@pytest.mark.parametrize("file", ["x.parquet", "x.csv", "x.jsonl", "x.csv.zst"])
@settings(max_examples=25)
@given(content=contents())
def test_any_content_comes_back(file: str, content: Content) -> None:
    wanted = {tuple(sorted(labels.items())): _bits(samples) for labels, samples in content}
    assert _written_and_read(file, content) == wanted


@settings(max_examples=25)
@given(content=contents())
def test_openmetrics_leaves_out_markers_alone(content: Content) -> None:
    wanted = {
        tuple(sorted(labels.items())): bits
        for labels, samples in content
        if (bits := {time: value for time, value in _bits(samples).items() if value is not None})
    }
    assert _written_and_read("x.om", content) == wanted


def _written_and_read(file: str, content: Content) -> dict[Any, Any]:
    """Return what is read of a file of all that is given, as export writes and import reads it."""
    table = SeriesTable()
    keyed = sorted((encode_labels(labels), samples) for labels, samples in content)
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / file
        with path.open("wb") as out:
            writer = open_writer(
                format_named(path) or ExportFormat.JSONL, out, table, {}, compression_of(path)
            )
            for key, samples in sorted(keyed, key=lambda each: (metric_name(each[0]), each[0])):
                times = sorted(samples)
                values = [samples[time] for time in times]
                layout = Layout(np.full(len(times), table.intern(key), np.uint32))
                stale = np.array([value is None for value in values])
                numbers = np.array([np.nan if value is None else value for value in values], float)
                writer.write(Batch(layout, np.array(times, np.int64), numbers, stale))
            writer.finish()
        return _read(path)


def _read(path: Path) -> dict[Any, Any]:
    def tell(_: Path, damage: Damage) -> None:
        raise AssertionError(damage)

    table, found = SeriesTable(), {}
    for part in ImportFile(path, read_format(path), tell).parts(table):
        columns = part.columns
        stale = np.zeros(len(columns), bool) if columns.stale is None else columns.stale
        rows = zip(columns.series.tolist(), columns.times.tolist(), columns.values, stale, strict=True)
        for series, time, value, marker in rows:
            labels = tuple(sorted(table.labels(series).items()))
            found.setdefault(labels, {})[time] = _bits({0: None if marker else value})[0]
    return found


def _bits(samples: dict[int, Any]) -> dict[int, bytes | None]:
    return {
        time: None if value is None else b"NaN" if value != value else np.float64(value).tobytes()
        for time, value in samples.items()
    }
