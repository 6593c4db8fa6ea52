"""`metricsmith store delete-series`: samples that nobody shall see any more."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from metricsmith.cli.client import call
from metricsmith.cli.store.chosen import From, Until, read_selectors
from metricsmith.cli.store.place import Config, Folder, Json, Place, Url, find_place
from metricsmith.cli.store.progress import progress
from metricsmith.cli.times import read_range

if TYPE_CHECKING:
    from metricsmith.model.matchers import Matcher

EXAMPLES = """Examples:

metricsmith store delete-series --match '{job="shop"}'

metricsmith store delete-series -c metricsmith.yaml --match 'up' --match 'load' --start -1h
"""


def delete_series(
    match: Annotated[
        list[str],
        typer.Option("--match", "-m", metavar="SELECTOR", help="Series to delete; may be repeated."),
    ],
    start: From = None,
    end: Until = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", metavar="", help="Do not ask.")] = False,
    path: Folder = None,
    config: Config = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Delete samples that were accepted before. There is no way back.

    Queries do not find them any more when this returns; their space is free when the agent has written the
    blocks anew, minutes later. What comes after stays. A running agent is asked (`server.admin_api: true`).
    """
    start_ms, end_ms = read_range(start, end)
    selectors = read_selectors(match)
    place = find_place(path, config, url)
    place.refuse_others()
    agent = place.agent()
    if not yes and not typer.confirm(f"Delete samples of {' and '.join(match)} for good?"):
        raise typer.Abort
    with progress("deleting", None):
        deleted = (
            asyncio.run(_offline(place, selectors, start_ms, end_ms))
            if agent is None
            else _by_agent(agent, match, start_ms, end_ms)
        )
    if as_json:
        typer.echo(json.dumps({"series": deleted}))
        return
    typer.echo(f"deleted samples of {deleted} series" if deleted else "nothing matches: nothing is deleted")


def _by_agent(url: str, match: Sequence[str], start_ms: int, end_ms: int) -> int:
    bounds = [("start", f"{start_ms / 1000:.3f}"), ("end", f"{end_ms / 1000:.3f}")]
    selectors = [("match[]", text) for text in match]
    answer, _ = call(url, "/api/v1/admin/tsdb/delete_series", [*selectors, *bounds])
    return int(answer["series"])


async def _offline(place: Place, selectors: Sequence[Sequence[Matcher]], start_ms: int, end_ms: int) -> int:
    from metricsmith.runtime.offline import open_offline

    async with open_offline(place.settings(), place.journal()) as store:
        return await store.admin.delete_series(selectors, start_ms, end_ms)
