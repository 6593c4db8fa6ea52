"""A plot of a range query in the terminal: gaps stay gaps, every curve can be told from the others."""

from __future__ import annotations

import math
import os
import shutil
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import typer

from metricsmith.cli.table import printable
from metricsmith.model.labels import format_labels

MAX_CURVES = 8
MARKERS = "*+ox#@%="
"""Without colour, curves are told apart by these."""

COLOURS = (39, 208, 34, 196, 141, 220, 45, 201)
"""Numbers of the 256 colours of terminals, readable on black and on white."""

PIPED_WIDTH = 80
MAX_WIDTH = 160
HEIGHT = 20
WIDTH_OF_TICK = 14
TICK_STEPS_S = tuple(
    n * unit
    for unit, counts in (
        (1, (1, 2, 5, 10, 15, 30)),
        (60, (1, 2, 5, 10, 15, 30)),
        (3600, (1, 2, 3, 6, 12)),
        (86_400, (1, 2, 5, 10, 30, 90, 365)),
    )
    for n in counts
)

Point = tuple[float, float]


def print_plot(
    expression: str, result: list[dict[str, Any]], start_s: float, end_s: float, step_s: float
) -> None:
    """Print the curves of a matrix over the asked range, and below them which curve is which series.

    At most MAX_CURVES are drawn, those with the largest last values; how many
    are not is said. Colours only on a terminal, and not when NO_COLOR is set.
    """
    import plotext

    chosen = sorted(result, key=_last, reverse=True)[:MAX_CURVES]
    coloured = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    width = min(shutil.get_terminal_size().columns, MAX_WIDTH) if sys.stdout.isatty() else PIPED_WIDTH
    plotext.clear_figure()
    plotext.theme("clear")
    plotext.plot_size(width, HEIGHT)
    # Backwards: where curves cross, the one that comes first in the legend is on top.
    for number, series in reversed(list(enumerate(chosen))):
        look = {"marker": "braille", "color": COLOURS[number]} if coloured else {"marker": MARKERS[number]}
        for piece in pieces(series["values"], step_s):
            draw = plotext.plot if len(piece) > 1 else plotext.scatter
            draw(*zip(*piece, strict=True), **look)
    if end_s > start_s:
        plotext.xlim(start_s, end_s)
    plotext.xticks(*ticks(start_s, end_s, width // WIDTH_OF_TICK))
    plotext.xlabel("UTC")
    picture = plotext.build()
    typer.echo(picture if coloured else plotext.uncolorize(picture))
    for number, series in enumerate(chosen):
        typer.echo(_legend(number, coloured) + " " + printable(_title(series, expression)))
    if len(result) > MAX_CURVES:
        typer.echo(
            f"not shown: {len(result) - MAX_CURVES} more series; "
            f"these are the {MAX_CURVES} with the largest last values"
        )


def pieces(values: list[list[Any]], step_s: float) -> Iterator[list[Point]]:
    """Yield the runs of points that a line may join: those one step apart, with finite values."""
    piece: list[Point] = []
    for time_s, text in values:
        value = float(text)
        # Half a step more, for times are rounded to milliseconds.
        if piece and (not math.isfinite(value) or time_s - piece[-1][0] > 1.5 * step_s):
            yield piece
            piece = []
        if math.isfinite(value):
            piece.append((time_s, value))
    if piece:
        yield piece


def ticks(start_s: float, end_s: float, most: int) -> tuple[list[float], list[str]]:
    """Return at most `most` round times of the range, and their texts in UTC.

    >>> ticks(0, 240, 6)
    ([0, 60, 120, 180, 240], ['00:00', '00:01', '00:02', '00:03', '00:04'])
    """
    range_s = end_s - start_s
    fitting = (step for step in TICK_STEPS_S if range_s / step < most)
    step_s = next(fitting, TICK_STEPS_S[-1] * math.ceil(range_s / TICK_STEPS_S[-1] / most))
    first = math.ceil(start_s / step_s) * step_s
    times: list[float] = [first + n * step_s for n in range(int((end_s - first) // step_s) + 1)] or [start_s]
    form = "%Y-%m-%d" if step_s >= 86_400 else "%m-%d %H:%M" if range_s > 86_400 else "%H:%M"
    if step_s < 60:
        form = "%H:%M:%S"
    return times, [datetime.fromtimestamp(t, UTC).strftime(form) for t in times]


def _last(series: dict[str, Any]) -> float:
    finite = (float(text) for _, text in reversed(series["values"]) if math.isfinite(float(text)))
    return next(finite, -math.inf)


def _legend(number: int, coloured: bool) -> str:
    return f"\x1b[38;5;{COLOURS[number]}m━━\x1b[0m" if coloured else MARKERS[number]


def _title(series: dict[str, Any], expression: str) -> str:
    return format_labels(series["metric"]) if series["metric"] else " ".join(expression.split())
