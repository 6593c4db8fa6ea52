"""Query answers as a table of series and values, and in an order that people expect."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Mapping
from typing import Any

from metricsmith.errors import QueryError
from metricsmith.model.labels import format_labels

BOUNDS = ("le", "quantile")
"""Labels whose values are numbers: `le="10"` comes after `le="2"`."""

PIPED_WIDTH = 10_000
GAP = 2
LEAST_PROSE = 20


def print_table(rows: list[tuple[str, ...]], columns: tuple[str, ...], prose: bool = False) -> None:
    """Print rows as a table that fits the terminal; all but the first column are right-aligned.

    What is in cells does nothing to the terminal. With `prose`, the last column is left-aligned and cut
    where the line ends.
    """
    from rich.console import Console
    from rich.table import Table

    console = Console(width=None if sys.stdout.isatty() else PIPED_WIDTH, markup=False, highlight=False)
    table = Table(box=None, pad_edge=False)
    if prose:
        rows = [(*row[:-1], " ".join(row[-1].split())) for row in rows]
    columns, rows = _printable(columns), [_printable(row) for row in rows]
    for number, column in enumerate(columns[:-1] if prose else columns):
        table.add_column(column, justify="right" if number else "left", overflow="fold")
    if prose:
        room = console.width - _width_before_last([columns, *rows])
        width = max(LEAST_PROSE, room)
        table.add_column(columns[-1], overflow="ellipsis", no_wrap=True, max_width=width)
    for row in rows:
        table.add_row(*row)
    console.print(table)


def printable(text: str) -> str:
    """Return a text that does nothing to a terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _printable(row: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(map(printable, row))


def _width_before_last(rows: list[tuple[str, ...]]) -> int:
    from rich.cells import cell_len

    return sum(max(map(cell_len, column)) + GAP for column in zip(*(row[:-1] for row in rows), strict=True))


def in_order(expression: str, vector: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the series of an instant vector by text, unless the expression itself orders them."""
    return vector if _orders(expression) else sorted(vector, key=lambda series: sort_key(series["metric"]))


def sort_key(labels: Mapping[str, str]) -> tuple[str, list[float]]:
    """Return what series are sorted by: their text, then the bounds of buckets and quantiles as numbers.

    >>> sort_key({"__name__": "x_bucket", "job": "shop", "le": "+Inf"})
    ('x_bucket{job="shop"}', [inf])
    """
    bounds = []
    for name in BOUNDS:
        with contextlib.suppress(KeyError, ValueError):
            bounds.append(float(labels[name]))
    return format_labels({n: v for n, v in labels.items() if n not in BOUNDS}), bounds


def _orders(expression: str) -> bool:
    from metricsmith.promql.ast import Aggregation, Call, Paren
    from metricsmith.promql.parser import parse

    try:
        root = parse(expression)
    except QueryError:
        return False
    while isinstance(root, Paren):
        root = root.expr
    match root:
        case Call():
            return root.function.startswith("sort")
        case Aggregation():
            return root.op in ("topk", "bottomk")
    return False
