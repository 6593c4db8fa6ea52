"""`metricsmith store export`: stored samples as a file."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

import typer

from metricsmith.cli.store.chosen import From, Until, read_selectors
from metricsmith.cli.store.place import Config, Folder, Place, Url, find_place
from metricsmith.cli.store.progress import progress
from metricsmith.cli.times import read_range
from metricsmith.wire.sample_files.formats import ExportFormat, compression_of, format_named

if TYPE_CHECKING:
    from metricsmith.model.matchers import Matcher
    from metricsmith.wire.sample_files.writers import SampleWriter

EXAMPLES = """Examples:

metricsmith store export --match 'up' --start -7d --out up.parquet

metricsmith store export -c metricsmith.yaml --format openmetrics --out history.om

metricsmith store export --path /backup/2026-11-21 --match '{job="shop"}' --format csv | head
"""


def export(
    match: Annotated[
        list[str] | None,
        typer.Option(
            "--match", "-m", metavar="SELECTOR", help="Series to export; may be repeated.", show_default="all"
        ),
    ] = None,
    start: From = None,
    end: Until = None,
    format: Annotated[
        ExportFormat | None, typer.Option("--format", "-f", help="Default: as --out ends, else jsonl.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE", help="Where to; .gz and .zst compress text.")
    ] = None,
    path: Folder = None,
    config: Config = None,
    url: Url = None,
    as_json: Annotated[
        bool, typer.Option("--json", metavar="", help="Print what was exported as JSON, with --out.")
    ] = False,
) -> None:
    """Write stored samples to a file, or to standard output.

    They come series by series, sorted by metric name. `store import` reads each format back: parquet, csv and
    jsonl hold everything, openmetrics has no staleness markers.
    """
    start_ms, end_ms = read_range(start, end)
    selectors = read_selectors(match or (), may_match_all=True)
    chosen = format or (format_named(out) if out else None) or ExportFormat.JSONL
    if out is None and chosen is ExportFormat.PARQUET and sys.stdout.isatty():
        raise typer.BadParameter("parquet is not for terminals, wanted --out FILE")
    place = find_place(path, config, url)
    place.refuse_others()
    done = asyncio.run(_export(place, selectors or [()], (start_ms, end_ms), chosen, out))
    if as_json and out is not None:
        typer.echo(json.dumps(done))
        return
    left_out = "".join(f"; left out: {count} {reason}" for reason, count in done["left_out"].items())
    target = out or "standard output"
    typer.echo(f"{target}: {done['samples']} samples of {done['series']} series{left_out}", err=out is None)
    if not done["series"]:
        typer.echo(
            "nothing matches; `metricsmith store stats` shows names and times of what is there", err=True
        )


async def _export(
    place: Place,
    selectors: Sequence[Sequence[Matcher]],
    bounds: tuple[int, int],
    format: ExportFormat,
    out: Path | None,
) -> dict[str, Any]:
    from metricsmith.cli.store.agent import AgentHistory
    from metricsmith.model.series import SeriesTable
    from metricsmith.runtime.offline import open_offline

    agent = place.agent()
    if agent is not None:
        return await _write(AgentHistory(agent, SeriesTable()), selectors, bounds, format, out)
    async with open_offline(place.settings(), place.journal()) as store:
        return await _write(store, selectors, bounds, format, out)


async def _write(
    history: Any,
    selectors: Sequence[Sequence[Matcher]],
    bounds: tuple[int, int],
    format: ExportFormat,
    out: Path | None,
) -> dict[str, Any]:
    from metricsmith.runtime.history import HistoryReader
    from metricsmith.wire.sample_files.writers import open_writer

    table = history.series_table
    reader = HistoryReader(history, table, *bounds)
    samples, shown = 0, 0.0
    with opened(out) as file, progress("exporting", 1.0) as advance:
        writer: SampleWriter = open_writer(format, file, table, history.metadata(), compression_of(out))
        for part, batch in reader.batches(selectors):
            writer.write(batch)
            samples += len(batch)
            advance(part - shown)
            shown = part
            await asyncio.sleep(0)  # where Ctrl-C ends it
        writer.finish()
    left_out = writer.left_out
    return {"samples": samples - sum(left_out.values()), "series": reader.series, "left_out": left_out}


@contextmanager
def opened(out: Path | None) -> Iterator[BinaryIO]:
    """Give a file to write to, which appears under its name when it is complete; or standard output.

    What is there and no file (a pipe, a device) cannot be replaced by one: it is written to as it is.
    """
    if out is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    if out.exists() and not out.is_file():
        with _named(out, out), out.open("wb") as stream:
            yield stream
        return
    aside = out.with_name(f"{out.name}.partial")
    with _named(out, aside):
        try:
            with aside.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            aside.replace(out)
        finally:
            aside.unlink(missing_ok=True)


@contextmanager
def _named(out: Path, written: Path) -> Iterator[None]:
    """Have errors of what is written name the file that was asked for: writing itself names none."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename in (None, str(written)):
            error.filename = str(out)
        raise
