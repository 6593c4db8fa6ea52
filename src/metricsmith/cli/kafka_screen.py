"""How `metricsmith kafka` shows what it reads: once, or again and again; progress goes to stderr."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer

from metricsmith.cli.client import Unreachable
from metricsmith.cli.table import PIPED_WIDTH
from metricsmith.errors import MetricsmithError, SourceError

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from metricsmith.runtime.kafka_session import KafkaSession, Progress

MAX_REMARKS = 10


class Answer:
    """What a command has to say: JSON, and what people see."""

    def __init__(self, document: Any, shown: RenderableType, remarks: list[str]) -> None:
        self.document, self.shown, self.remarks = document, shown, remarks


Read = Callable[["KafkaSession", "Progress"], Answer]


def show(session: KafkaSession, read: Read, as_json: bool, watch_s: float | None, doing: str) -> None:
    """Print what is read, once, or each `watch_s` seconds until Ctrl-C.

    Raises:
        Unreachable: no broker answers; while watching only at the first time.
    """
    try:
        answer = _once(session, read, doing)
        if watch_s is None:
            _print(answer, as_json)
        elif as_json or not sys.stdout.isatty():
            _append(session, read, answer, as_json, watch_s, doing)
        else:
            _screen(session, read, answer, watch_s)
    except KeyboardInterrupt:
        raise  # the thread may still read
    except BaseException:
        session.close()
        raise
    session.close()


def _once(session: KafkaSession, read: Read, doing: str) -> Answer:
    with _progress(doing) as progress:
        return _reached(lambda: read(session, progress))


def _reached(read: Callable[[], Answer]) -> Answer:
    """Read in a thread: the client's loop swallows a Ctrl-C that comes while it runs."""
    answered: Future[Answer] = Future()

    def work() -> None:
        try:
            answered.set_result(read())
        except BaseException as error:
            answered.set_exception(error)

    threading.Thread(target=work, daemon=True).start()
    try:
        return answered.result()
    except SourceError as error:
        raise Unreachable(str(error)) from None
    except (OSError, ValueError) as error:  # certificates, files of secrets
        raise MetricsmithError(
            f"cannot connect: {error} (check the files of certificates and secrets)"
        ) from None


def _print(answer: Answer, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(answer.document))
    else:
        console = _console()
        console.print(_fitted(answer.shown, console))
    for remark in answer.remarks[:MAX_REMARKS]:
        typer.echo(f"warning: {remark}", err=True)
    if (more := len(answer.remarks) - MAX_REMARKS) > 0:
        typer.echo(f"warning: and {more} more", err=True)


def _append(
    session: KafkaSession, read: Read, answer: Answer, as_json: bool, watch_s: float, doing: str
) -> None:
    due = time.monotonic()
    _print(answer, as_json)
    while True:
        sys.stdout.flush()
        due = _wait(due + watch_s)
        try:
            _print(_once(session, read, doing), as_json)
        except Unreachable as error:
            typer.echo(f"warning: {error}", err=True)


def _screen(session: KafkaSession, read: Read, answer: Answer, watch_s: float) -> None:
    from rich.console import Group
    from rich.live import Live
    from rich.text import Text

    read_at = due = time.monotonic()
    console = _console()
    with Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            head = Text(f"{time.strftime('%H:%M:%S')}  each {watch_s:g} s, Ctrl-C ends", style="dim")
            remarks = [Text(f"warning: {remark}", style="yellow") for remark in answer.remarks[:MAX_REMARKS]]
            live.update(Group(head, *remarks, _fitted(answer.shown, console)), refresh=True)
            due = _wait(due + watch_s)
            try:
                answer = _reached(lambda: read(session, lambda done, total: None))
                read_at = time.monotonic()
            except Unreachable as error:
                age_s = time.monotonic() - read_at
                answer = Answer(None, answer.shown, [f"{error}; what is shown is {age_s:.0f} s old"])


def _wait(due: float) -> float:
    """Return at a time, or at once when it has passed; and when that was."""
    time.sleep(max(0.0, due - time.monotonic()))
    return max(due, time.monotonic())


def _fitted(shown: RenderableType, console: Console) -> RenderableType:
    from rich.table import Table

    from metricsmith.cli.kafka_tables import fitted

    return fitted(shown, console) if isinstance(shown, Table) else shown


def _console() -> Console:
    from rich.console import Console

    width = None if sys.stdout.isatty() else PIPED_WIDTH
    return Console(width=width, markup=False, highlight=False)


@contextmanager
def _progress(doing: str) -> Iterator[Progress]:
    """A bar on stderr while something takes long, on a terminal only."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    console = Console(stderr=True, highlight=False)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as shown:
        task = shown.add_task(doing, total=None)
        yield lambda done, total: shown.update(task, completed=done, total=total)
