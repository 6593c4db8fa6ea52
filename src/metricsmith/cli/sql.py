"""`metricsmith sql`: a SELECT over all that is stored."""

from __future__ import annotations

import csv
import json
import math
import shutil
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import date, datetime
from enum import StrEnum
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from metricsmith.cli.store.place import Config, Folder, Place, Url, find_folder
from metricsmith.cli.times import positive_seconds
from metricsmith.model.settings_types import parse_size

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_ROWS = 10_000
EXAMPLES = """Examples:

metricsmith sql "SELECT name, count(*) FROM samples GROUP BY name ORDER BY 2 DESC LIMIT 10"

metricsmith sql "SELECT time, labels['instance'], value FROM samples WHERE name = 'up'" --format csv

metricsmith sql -c metricsmith.yaml --fresh "SELECT max(time) FROM samples"
"""


class RowFormat(StrEnum):
    """How rows are printed."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"
    JSONL = "jsonl"


def sql(
    query: Annotated[str, typer.Argument(metavar="SELECT", help="One SELECT over `samples` and `series`.")],
    path: Folder = None,
    config: Config = None,
    url: Url = None,
    format: Annotated[
        RowFormat, typer.Option("--format", "-f", help="How rows are printed.")
    ] = RowFormat.TABLE,
    max_rows: Annotated[
        int, typer.Option(metavar="N", min=0, help="Print only the first so many rows, 0 for all.")
    ] = MAX_ROWS,
    timeout: Annotated[str, typer.Option(metavar="DURATION", help="Longest time of the query.")] = "2m",
    memory: Annotated[str, typer.Option(metavar="SIZE", help="Most memory of the query.")] = "1GB",
    check: Annotated[
        bool, typer.Option("--check", metavar="", help="First hold all blocks against their checksums.")
    ] = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", metavar="", help="Have samples that are still in memory written first.")
    ] = False,
) -> None:
    """Ask the history in SQL, through DuckDB (the package's extra `sql`).

    Views: samples(time, name, labels, value), series(name, labels, type, unit, help, first_time, last_time);
    times are UTC, labels a map: labels['job'].

    What is in blocks is seen, of a running agent and of a stopped one: samples of the last minutes, up to two
    hours, are still in its memory. With --fresh a running agent makes a snapshot for the query
    (`server.admin_api: true`). Without --path and -c, the data directory is ./data, else that of the agent at
    --url.
    """
    from metricsmith.runtime.sql import SqlLimits, open_sql

    limits = SqlLimits(_size(memory), positive_seconds(timeout, "--timeout"))
    place = find_folder(path, config, url)
    with (
        _folder(place, fresh) as folder,
        open_sql(folder, limits, check) as session,
        session.query(query) as (titles, rows),
    ):
        first = list(islice(rows, 1))
        more = _print(format, titles, chain(first, rows), max_rows)
    if not first and not fresh and place.in_use():
        typer.echo("no rows; what is still in the memory of the agent is seen with --fresh", err=True)
    if more:
        typer.echo(f"the first {max_rows} rows of more; --max-rows 0 shows all", err=True)


def _print(format: RowFormat, titles: list[str], rows: Iterator[Sequence[Any]], most: int) -> bool:
    """Print the first rows; return whether there are more."""
    chosen = islice(rows, most) if most else rows
    match format:
        case RowFormat.TABLE:
            from metricsmith.cli.table import print_table

            print_table([tuple(map(_cell, row)) for row in chosen], tuple(titles))
        case RowFormat.CSV:
            writer = csv.writer(sys.stdout, lineterminator="\n")
            writer.writerow(titles)
            writer.writerows([_text(value) for value in row] for row in chosen)
        case RowFormat.JSONL:
            for row in chosen:
                typer.echo(json.dumps(dict(zip(titles, map(_json, row), strict=True)), ensure_ascii=False))
        case _:
            found = [dict(zip(titles, map(_json, row), strict=True)) for row in chosen]
            typer.echo(json.dumps(found, ensure_ascii=False))
    return bool(most) and next(rows, None) is not None


def _folder(place: Place, fresh: bool) -> AbstractContextManager[Path]:
    return _fresh(place) if fresh else _as_it_is(place)


@contextmanager
def _as_it_is(place: Place) -> Iterator[Path]:
    yield place.needed_folder()


@contextmanager
def _fresh(place: Place) -> Iterator[Path]:
    from metricsmith.cli.store.snapshot import take_snapshot

    made = Path(take_snapshot(place).path)
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _cell(value: Any) -> str:
    """Return a value as people read it."""
    match value:
        case None:
            return "NULL"
        case datetime():
            return value.isoformat(" ", "auto" if value.microsecond % 1000 else "milliseconds")
        case dict():
            return "{" + ", ".join(f"{k}={v}" for k, v in value.items()) + "}"
        case float() if value.is_integer() and abs(value) < 1e15:
            return str(int(value))
    return str(value)


def _text(value: Any) -> str:
    """Return a value as programs read it in CSV: what has parts is JSON."""
    plain = _json(value)
    if isinstance(plain, dict | list):
        return json.dumps(plain, ensure_ascii=False)
    return "" if plain is None else str(plain)


def _json(value: Any) -> Any:
    match value:
        case datetime():
            return value.isoformat(timespec="milliseconds") + ("" if value.tzinfo else "Z")
        case float() if math.isnan(value):
            return "NaN"
        case float() if math.isinf(value):
            return "Infinity" if value > 0 else "-Infinity"
        case dict():
            return {str(k): _json(v) for k, v in value.items()}
        case list() | tuple():
            return [_json(each) for each in value]
        case None | bool() | int() | float() | str():
            return value
        case date():
            return value.isoformat()
    return str(value)


def _size(text: str) -> int:
    try:
        return parse_size(text)
    except ValueError as error:
        raise typer.BadParameter(f"--memory: {error}") from None
