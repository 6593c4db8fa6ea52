"""Plots: gaps stay gaps, the axis is what was asked, every curve is named below."""

from __future__ import annotations

import itertools
import os
import pty
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metricsmith.cli.plot import MARKERS, MAX_CURVES, pieces, print_plot, ticks


def series(name: str, *points: tuple[float, str]) -> dict[str, Any]:
    return {"metric": {"job": name}, "values": [list(point) for point in points]}


def drawn(
    capsys: pytest.CaptureFixture[str], *result: dict[str, Any], step_s: float = 10
) -> tuple[str, list[str]]:
    print_plot("x", list(result), 0, 100, step_s)
    picture, _, legend = capsys.readouterr().out.partition("UTC")
    return picture, legend.split("\n")[2:-1]


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        ([], []),
        ([(0, "1")], [[0]]),
        ([(0, "1"), (10, "2"), (20, "3")], [[0, 10, 20]]),
        ([(0, "1"), (10.001, "2"), (30, "3"), (40, "4")], [[0, 10.001], [30, 40]]),
        ([(0, "1"), (10, "NaN"), (20, "3")], [[0], [20]]),
        ([(0, "+Inf"), (10, "2"), (20, "-Inf")], [[10]]),
    ],
)
def test_line_breaks_where_steps_are_absent(values: list[Any], wanted: list[list[float]]) -> None:
    assert [[t for t, _ in piece] for piece in pieces(values, 10)] == wanted


def test_gap_is_empty_in_the_picture(capsys: pytest.CaptureFixture[str]) -> None:
    flat = [(t, "1") for t in (0, 10, 20, 80, 90, 100)]
    picture, _ = drawn(capsys, series("a", *flat))
    (line,) = (line for line in picture.splitlines() if "*" in line)
    left, gap, right = line.partition(" " * 35)
    assert gap
    assert left.count("*") > 10 < right.count("*")


def test_axis_spans_what_was_asked_and_a_single_point_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    picture, legend = drawn(capsys, series("a", (50, "7")))
    assert picture.count("*") == 1
    (line,) = (line for line in picture.splitlines() if "*" in line)
    assert 0.4 < line.index("*") / len(line) < 0.6
    assert "00:00:00" in picture
    assert "00:01:40" in picture or "00:01:30" in picture
    assert legend == ['* {job="a"}']


def test_curves_differ_without_colour_and_the_largest_are_chosen(capsys: pytest.CaptureFixture[str]) -> None:
    result = [series(f"s{n}", (0, str(10 * n)), (100, str(10 * n))) for n in range(MAX_CURVES + 3)]
    picture, legend = drawn(capsys, *result, step_s=100)
    assert "\x1b" not in picture
    assert legend[:-1] == [f'{mark} {{job="s{10 - n}"}}' for n, mark in enumerate(MARKERS)]
    assert legend[-1].startswith("not shown: 3 more series")
    assert set(MARKERS) <= set(picture)


def test_series_without_labels_is_named_by_the_expression(capsys: pytest.CaptureFixture[str]) -> None:
    print_plot("sum(\n  up)", [{"metric": {}, "values": [[0, "1"]]}], 0, 60, 15)
    assert "* sum( up)" in capsys.readouterr().out


@given(st.integers(0, 2**33), st.floats(1, 2e9), st.integers(2, 12))
def test_ticks_are_round_few_and_inside(start_s: int, range_s: float, most: int) -> None:
    times, texts = ticks(start_s, start_s + range_s, most)
    assert 1 <= len(times) <= most + 1
    assert len(texts) == len(times)
    assert all(start_s <= t <= start_s + range_s for t in times)
    assert len({b - a for a, b in itertools.pairwise(times)}) <= 1


@pytest.mark.parametrize(("no_color", "coloured"), [("", True), ("1", False)])
def test_terminal_gets_colours_unless_it_objects(no_color: str, coloured: bool) -> None:
    program = (
        "from metricsmith.cli.plot import print_plot;"
        "print_plot('x', [{'metric': {'a': 'b'}, 'values': [[0, '1']]}], 0, 60, 15)"
    )
    ours, theirs = pty.openpty()
    environment = os.environ | {"NO_COLOR": no_color, "TERM": "xterm-256color", "COLUMNS": "80"}
    subprocess.run([sys.executable, "-c", program], stdout=theirs, check=True, timeout=60, env=environment)
    os.close(theirs)
    shown = os.read(ours, 100_000).decode()
    os.close(ours)
    assert ("\x1b[" in shown) is coloured
    assert '{a="b"}' in shown
