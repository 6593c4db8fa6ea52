"""Progress bars on standard error, where that is a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress(title: str, total: float | None, *, size: bool = False) -> Iterator[Callable[[float], None]]:
    """Show a bar for the time of the block; what is yielded is told how much more is done.

    With `size`, amounts are bytes. Without a total the bar shows that something is done, not how much.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True, highlight=False)
    amount = DownloadColumn() if size else TextColumn("{task.percentage:>3.0f}%")
    rest = (amount, TimeRemainingColumn()) if total is not None else (TimeElapsedColumn(),)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), *rest)
    with Progress(*columns, console=console, disable=not console.is_terminal) as bars:
        task = bars.add_task(title, total=total)
        yield lambda more: bars.advance(task, more)
