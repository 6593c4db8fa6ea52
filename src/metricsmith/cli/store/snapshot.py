"""`metricsmith store snapshot`: a copy of all that is stored, while the agent runs."""

from __future__ import annotations

import asyncio
import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from metricsmith.cli.client import call
from metricsmith.cli.store.place import Config, Folder, Json, Place, Url, find_place
from metricsmith.cli.store.progress import progress
from metricsmith.errors import StoreError

if TYPE_CHECKING:
    from metricsmith.api.context import Snapshot

EXAMPLES = """Examples:

metricsmith store snapshot -c metricsmith.yaml /backup/2026-11-21

metricsmith store snapshot --path /var/lib/metricsmith /backup/2026-11-21
"""


def snapshot(
    target: Annotated[Path, typer.Argument(metavar="DIR", help="New or empty folder for the snapshot.")],
    path: Folder = None,
    config: Config = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Make a copy of all that is stored, which is a data directory itself.

    Blocks are hard links where DIR is on the same file system, and copies elsewhere. Everything that was
    acknowledged before is in it. A running agent is asked (`server.admin_api: true`).
    """
    from metricsmith.model.settings_types import format_size
    from metricsmith.store.snapshot import move_snapshot, refuse_place

    place = find_place(path, config, url).located()
    place.refuse_others()
    refuse_place(target, place.folder)
    made = take_snapshot(place)
    try:
        with progress(f"copying {made.name}", made.bytes, size=True) as advance:
            copied = move_snapshot(Path(made.path), target, advance)
    except BaseException:
        shutil.rmtree(made.path, ignore_errors=True)
        raise
    made = replace(made, path=str(target.absolute()))
    if as_json:
        typer.echo(json.dumps(asdict(made) | {"copied": copied}))
        return
    how = "copied, as it is on another file system" if copied else "hard links"
    typer.echo(f"{target}: {made.samples} samples in {made.blocks} blocks, {format_size(made.bytes)} ({how})")


def take_snapshot(place: Place) -> Snapshot:
    """Return a new snapshot, which lies under `snapshots/` of the data directory; the caller removes it.

    `place` has a directory: what the agent makes must be seen from here, or nobody removes it.

    Raises:
        Unreachable, ExecutionError: the agent is not there, or refuses.
        StoreError: there is none, or it is not on this machine.
    """
    agent = place.agent()
    return asyncio.run(_offline(place)) if agent is None else _from_agent(agent)


def _from_agent(url: str) -> Snapshot:
    from metricsmith.api.context import Snapshot

    answer, _ = call(url, "/api/v1/admin/tsdb/snapshot", {})
    made = Snapshot(**answer)
    if not (Path(made.path) / "manifest.sqlite").is_file():
        raise StoreError(
            f"the agent at {url} made the snapshot {made.path}, which is not to be seen from here"
            " (run this command on its machine, as its user)"
        )
    return made


async def _offline(place: Place) -> Snapshot:
    from metricsmith.runtime.offline import open_offline

    async with open_offline(place.settings(), place.journal()) as store:
        return await store.snapshot()
