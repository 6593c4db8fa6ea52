"""Progress of the load generator in the terminal."""

from __future__ import annotations

import asyncio
import math

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from metricsmith.demo.load import LoadReport, generate_load


async def load_with_progress(url: str, rate: float, seconds: float | None, stop: asyncio.Event) -> LoadReport:
    """Send load until `stop` is set or the time is over, with a bar on a terminal and one line at the end."""
    console = Console(stderr=True, highlight=False)
    columns = (
        TextColumn("load"),
        BarColumn(),
        TextColumn("{task.description}"),
        TimeElapsedColumn() if seconds is None else TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=seconds)

        def show(report: LoadReport) -> None:
            bar.update(task, completed=report.seconds, description=summary(report))

        report = await generate_load(url, rate, math.inf if seconds is None else seconds, show, stop)
    console.print(f"load on {url}: {summary(report)}", soft_wrap=True)
    return report


def summary(report: LoadReport) -> str:
    """Return one line of what was sent and what came back.

    >>> from collections import Counter
    >>> summary(LoadReport(sent=2, by_status=Counter({200: 2})))
    '2 sent; 200: 2'
    """
    parts = [f"{report.sent} sent"]
    parts += [f"{status}: {count}" for status, count in sorted(report.by_status.items())]
    if report.failed:
        parts.append(f"no answer: {report.failed}")
    if report.skipped:
        parts.append(f"skipped, shop too slow: {report.skipped}")
    return parts[0] + "; " + ", ".join(parts[1:]) if len(parts) > 1 else parts[0]
