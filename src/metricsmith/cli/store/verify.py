"""`metricsmith store verify`: read all that is stored and say what is wrong with it."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from metricsmith.cli.exits import Exit
from metricsmith.cli.store.place import Config, Folder, Json, Url, find_folder
from metricsmith.cli.store.progress import progress
from metricsmith.cli.table import PIPED_WIDTH, printable

if TYPE_CHECKING:
    from metricsmith.model.faults import Fault
    from metricsmith.runtime.verify import Verification

EXAMPLES = """Examples:

metricsmith store verify -c metricsmith.yaml

metricsmith store verify --path /backup/2026-11-21 --json

metricsmith store verify --path /var/lib/metricsmith --rebuild
"""

Rebuild = Annotated[
    bool,
    typer.Option("--rebuild", metavar="", help="First make the manifest anew, from the blocks alone."),
]


def verify(
    path: Folder = None,
    config: Config = None,
    url: Url = None,
    rebuild: Rebuild = False,
    as_json: Json = False,
) -> None:
    """Read everything in a data directory and say what is wrong; exit code 1 when something is.

    Blocks are read whole: checksums, order, times, series against samples. With the agent stopped, so are the
    journal, the manifest and the state of rules; of a directory in use, blocks alone. Nothing is changed
    without --rebuild, for which the agent must be stopped. Without --path and -c, the data directory is
    ./data, else that of the agent at --url.
    """
    from metricsmith.runtime import verify as whole
    from metricsmith.store.verify import kept_from_others

    folder = find_folder(path, config, url).needed_folder()
    rebuilt = whole.rebuild(folder) if rebuild else None
    with kept_from_others(folder) as user:
        verification = whole.Verification(folder, bool(user))
        with progress("reading", verification.bytes, size=True) as advance:
            faults = list(verification.run(advance))
    harm = [fault for fault in faults if not fault.harmless]
    if as_json:
        document = {
            "path": str(folder.absolute()),
            "ok": not harm,
            "in_use_by": user or None,
            "rebuilt": None if rebuilt is None else asdict(rebuilt),
            "blocks": verification.blocks,
            "samples": verification.samples,
            "bytes": verification.bytes,
            "faults": [asdict(fault) for fault in faults],
        }
        typer.echo(json.dumps(document, indent=2))
    else:
        if rebuilt is not None:
            typer.echo(f"{folder}: manifest made anew of {rebuilt.blocks} blocks, {rebuilt.samples} samples")
            if rebuilt.same_number:
                typer.echo(f"{rebuilt.same_number} blocks are left out: others have their numbers")
            if rebuilt.cursor == 0:
                typer.echo("the next start replays the whole journal: deleted samples in it come back")
        if faults:
            _print(faults)
        if user:
            typer.echo(f"process {user} uses {folder}: journal and state can be read when it is stopped")
        typer.echo(_summary(folder, verification, len(harm)))
    if harm:
        raise typer.Exit(Exit.FAILURE)


def _summary(folder: Path, verification: Verification, harm: int) -> str:
    from metricsmith.model.settings_types import format_size

    result = f"{harm} faults" if harm else "all is well"
    read = f"{verification.samples} samples in {verification.blocks} blocks"
    return f"{folder}: {result}; {read}, {format_size(verification.bytes)} read"


def _print(faults: Sequence[Fault]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(width=None if sys.stdout.isatty() else PIPED_WIDTH, markup=False, highlight=False)
    table = Table(box=None, pad_edge=False)
    for column in ("file", "part", "what is wrong", "what to do"):
        table.add_column(column, overflow="fold")
    for fault in faults:
        table.add_row(*map(printable, (fault.file, fault.part, fault.what, fault.advice)))
    console.print(table)
