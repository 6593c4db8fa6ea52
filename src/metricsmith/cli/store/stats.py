"""`metricsmith store stats`: what the history is made of."""

from __future__ import annotations

import json
import stat
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from metricsmith.cli.client import Unreachable, fetch
from metricsmith.cli.store.place import Config, Folder, Json, Place, Url, find_folder
from metricsmith.cli.store.progress import progress
from metricsmith.cli.table import print_table
from metricsmith.errors import ExecutionError, StoreError
from metricsmith.model.duration import format_duration
from metricsmith.model.settings_types import format_size

if TYPE_CHECKING:
    from metricsmith.store.stats import HistoryStats

EXAMPLES = """Examples:

metricsmith store stats -c metricsmith.yaml

metricsmith store stats --path /backup/2026-11-21 --limit 20 --json
"""


def stats(
    path: Folder = None,
    config: Config = None,
    url: Url = None,
    limit: Annotated[int, typer.Option(metavar="N", min=1, max=10_000, help="Lines of each list.")] = 10,
    as_json: Json = False,
) -> None:
    """Count what is stored: series, samples, bytes, blocks by size and age, and what makes many series.

    Blocks are counted as they lie, also while an agent uses them; of what it has in memory besides, its API
    tells. Without --path and -c, the data directory is ./data, else that of the agent at --url.
    """
    from metricsmith.store.history_files import held_history
    from metricsmith.store.stats import history_stats

    place = find_folder(path, config, url)
    folder = place.needed_folder()
    with held_history(folder) as history, progress("reading series", len(history.blocks)) as advance:
        found = history_stats(history, limit, advance)
    memory = _in_memory(place)
    journal_bytes = sum(map(_size, (folder / "journal").glob("*")))
    if as_json:
        per_sample = found.bytes / found.samples if found.samples else None
        extra = {"bytes_per_sample": per_sample, "in_memory": memory, "journal_bytes": journal_bytes}
        typer.echo(json.dumps(asdict(found) | extra))
        return
    _print(found, memory, journal_bytes)


def _size(file: Path) -> int:
    """Return the size of a file, 0 for what is none: an agent deletes files of its journal meanwhile."""
    try:
        found = file.stat()
    except FileNotFoundError:
        return 0
    return found.st_size if stat.S_ISREG(found.st_mode) else 0


def _in_memory(place: Place) -> dict[str, int] | None:
    """Return what the agent that uses the directory has not in blocks; None where nobody tells."""
    try:
        agent = place.agent()
        if agent is None:
            return None
        told = fetch(agent, "/api/v1/status/tsdb", {})["headStats"]
        return {
            "series": int(told["numSeries"]),
            "first_ms": int(told["minTime"]),
            "last_ms": int(told["maxTime"]),
        }
    except (Unreachable, ExecutionError, StoreError, KeyError) as error:
        typer.echo(f"note: what the agent has in memory is not counted: {error}", err=True)
        return None


def _print(found: HistoryStats, memory: dict[str, int] | None, journal_bytes: int) -> None:
    now_ms = time.time_ns() // 1_000_000
    rows: list[tuple[str, ...]] = [
        ("blocks", str(found.blocks)),
        ("series", str(found.series)),
        ("samples", str(found.samples)),
        ("bytes", format_size(found.bytes)),
        ("bytes a sample", f"{found.bytes / found.samples:.2f}" if found.samples else "-"),
        ("first sample", _time(found.first_ms)),
        ("last sample", _time(found.last_ms)),
        ("series in the newest block", str(found.newest_series)),
        ("new series an hour", f"{found.new_per_hour:.1f}"),
        ("journal", format_size(journal_bytes)),
    ]
    if memory is not None:
        rows.append(("series in the agent's memory", str(memory["series"])))
    print_table(rows, ("history", ""))
    sizes: list[tuple[str, ...]] = [
        (
            format_duration(each.window_ms),
            str(each.blocks),
            str(each.samples),
            format_size(each.bytes),
            _age(now_ms - each.first_ms),
            _age(now_ms - each.last_ms),
        )
        for each in found.by_window
    ]
    _list(sizes, ("blocks of", "blocks", "samples", "bytes", "oldest", "newest"))
    _list(_rows(found.series_by_metric), ("metric", "series"))
    _list(_rows(found.samples_by_metric), ("metric", "samples"))
    _list(_rows(found.values_by_label), ("label", "values"))
    _list(_rows(found.series_by_label), ("label", "series"))
    _list(_rows(found.series_by_pair), ("label pair", "series"))


def _list(rows: list[tuple[str, ...]], titles: tuple[str, ...]) -> None:
    if rows:
        typer.echo()
        print_table(rows, titles)


def _rows(counts: list[tuple[str, int]]) -> list[tuple[str, ...]]:
    return [(name, str(count)) for name, count in counts]


def _time(time_ms: int | None) -> Any:
    from metricsmith.wire.messages import format_timestamp

    return "-" if time_ms is None else format_timestamp(time_ms)


def _age(age_ms: int) -> str:
    return f"{format_duration(max(0, age_ms) // 60_000 * 60_000)} ago"
