"""`metricsmith store import`: files of samples into a stopped data directory or a running agent."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer

from metricsmith.cli.exits import Exit
from metricsmith.cli.store.place import Config, Folder, Json, Place, Url, find_place
from metricsmith.cli.store.progress import progress
from metricsmith.cli.table import print_table, printable
from metricsmith.errors import MetricsmithError

if TYPE_CHECKING:
    from metricsmith.runtime.import_files import ImportFile
    from metricsmith.runtime.importing import Imported, Target
    from metricsmith.wire.sample_files.columns import Damage

STANDARD_INPUT = Path("-")
_COMPRESSED = ((b"\x1f\x8b", ".gz"), (b"\x28\xb5\x2f\xfd", ".zst"))
"""How compressed data begins."""
SHOWN = 20
"""Lines that cannot be read are shown up to so many, and counted."""
EXAMPLES = """Examples:

metricsmith store import history.om --label site=berlin

metricsmith store import -c metricsmith.yaml /backup/2026-11-21

metricsmith store import --path ./data --dry-run *.parquet export.csv.gz

ssh other metricsmith store export --path data | metricsmith store import --path ./data --format jsonl -
"""


def import_(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE...", help="Files, blocks or snapshots; - is standard input."),
    ],
    format: Annotated[
        str | None,
        typer.Option(
            "--format",
            "-f",
            metavar="FORMAT",
            help="openmetrics, prometheus, parquet, csv, jsonl, block, directory; default: as it looks.",
        ),
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option(
            "--label", "-l", metavar="NAME=VALUE", help="Put a label on every series; may be repeated."
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", metavar="", help="Read and count only.")] = False,
    path: Folder = None,
    config: Config = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Take samples with timestamps from files, blocks and snapshots.

    Files: what `store export` writes, Prometheus text, OpenMetrics, the lines of `promtool tsdb dump`.

    Any time within the retention is accepted. To import the same again changes nothing. Exit code 1 when
    lines could not be read or samples were refused; what was right is in.
    """
    labels = dict(map(_label, label or ()))
    problems: list[str] = []
    counted = 0

    def tell(file: Path, damage: Damage) -> None:
        nonlocal counted
        counted += 1
        if len(problems) < SHOWN:
            problems.append(": ".join(filter(None, (str(file), damage.place, damage.problem))))
            typer.echo(f"error: {printable(problems[-1])}", err=True)

    place = find_place(path, config, url)
    place.refuse_others(new=True)
    began = time.monotonic()
    with _as_files(files, format) as there:
        chosen = _chosen(there, format, tell)
        done = asyncio.run(_import(place, chosen, labels, dry_run))
    summary: dict[str, Any] = {
        "files": len(files),
        "series": len(done.series),
        "samples_read": done.read,
        "samples_accepted": 0 if dry_run else done.accepted,
        "too_old": done.too_old,
        "too_far_ahead": done.too_far_ahead,
        "refused_by_agent": done.refused,
        "unreadable": counted,
        "first_ms": done.first_ms,
        "last_ms": done.last_ms,
        "seconds": round(time.monotonic() - began, 3),
        "dry_run": dry_run,
    }
    if as_json:
        typer.echo(json.dumps(summary | {"problems": problems}))
    else:
        _print(summary, counted - len(problems))
    if done.refused:
        typer.echo(
            f"error: the agent did not take {done.refused} samples, mostly of new series beyond limits.series"
            " or limits.series_per_source; its log and metricsmith_samples_dropped_total say why",
            err=True,
        )
    if counted or done.too_old or done.too_far_ahead or done.refused:
        raise typer.Exit(Exit.FAILURE)


@contextmanager
def _as_files(files: list[Path], format: str | None) -> Iterator[list[Path]]:
    """Give the files, standard input as one of them: some formats are read from the end."""
    for path in files:
        if path != STANDARD_INPUT and not path.exists():
            raise typer.BadParameter(f"path '{path}' does not exist")
    if STANDARD_INPUT not in files:
        yield files
        return
    if format is None:
        raise typer.BadParameter("got - for standard input, whose name does not say what it is: set --format")
    with TemporaryDirectory(prefix="metricsmith-") as folder:
        first = sys.stdin.buffer.read(4)
        ending = next((ending for magic, ending in _COMPRESSED if first.startswith(magic)), "")
        copy = Path(folder) / f"standard-input{ending}"
        with copy.open("wb") as file:
            file.write(first)
            shutil.copyfileobj(sys.stdin.buffer, file, 1 << 20)
        yield [copy if path == STANDARD_INPUT else path for path in files]


def _chosen(files: list[Path], format: str | None, tell: Callable[[Path, Damage], None]) -> list[ImportFile]:
    from metricsmith.runtime.import_files import ImportFile, ImportFormat, format_of

    try:
        return [ImportFile(f, ImportFormat(format) if format else format_of(f), tell) for f in files]
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


async def _import(place: Place, files: list[ImportFile], labels: dict[str, str], dry_run: bool) -> Imported:
    from metricsmith.cli.store.agent_target import AgentTarget
    from metricsmith.model.series import SeriesTable
    from metricsmith.runtime.offline import open_offline

    table = SeriesTable()
    if dry_run:
        return await _take(None, files, labels, table)
    agent = place.agent()
    if agent is not None:
        return await _take(AgentTarget(agent, table), files, labels, table)
    async with open_offline(place.settings(), place.journal(), table=table) as store:
        return await _take(store, files, labels, table)


async def _take(
    target: Target | None, files: list[ImportFile], labels: dict[str, str], table: Any
) -> Imported:
    from metricsmith.runtime.importing import Importer

    importer = Importer(target, table, labels)
    with progress("importing", sum(file.size for file in files), size=True) as advance:
        for file in files:
            try:
                for part in file.parts(table):
                    await importer.take(part)
                    advance(part.bytes)
            except OSError as error:
                raise MetricsmithError(f"{file.path}: {error.strerror or error}") from error
    return importer.done


def _label(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise typer.BadParameter(f'--label: got "{text}", wanted NAME=VALUE such as site=berlin')
    return name, value


def _print(summary: dict[str, Any], not_shown: int) -> None:
    from metricsmith.wire.messages import format_timestamp

    if not_shown > 0:
        typer.echo(f"and {not_shown} more that could not be read", err=True)
    rows: list[tuple[str, ...]] = [
        ("files", str(summary["files"])),
        ("series", str(summary["series"])),
        ("samples read", str(summary["samples_read"])),
        ("samples accepted", "0 (dry run)" if summary["dry_run"] else str(summary["samples_accepted"])),
        ("refused, older than the retention", str(summary["too_old"])),
        ("refused, too far ahead", str(summary["too_far_ahead"])),
        ("refused by the agent", str(summary["refused_by_agent"])),
        ("could not be read", str(summary["unreadable"])),
    ]
    if summary["first_ms"] is not None:
        rows.append(("first sample", format_timestamp(summary["first_ms"])))
        rows.append(("last sample", format_timestamp(summary["last_ms"])))
    rows.append(("seconds", f"{summary['seconds']:.1f}"))
    print_table(rows, ("import", ""))
