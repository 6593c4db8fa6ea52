"""What the demos have in common: agents and the like as programs of their own, ended in order."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Awaitable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import aiohttp

from metricsmith.errors import MetricsmithError

DEFAULT_URL = "http://127.0.0.1:9480"
READY_LIMIT_S = 30.0
STOP_LIMIT_S = 15.0
ANSWER_LIMIT = aiohttp.ClientTimeout(total=5)

Result = TypeVar("Result")


class DemoError(MetricsmithError):
    """A program of the demo did not start, or ended before the others."""


@contextlib.asynccontextmanager
async def program(*arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a metricsmith command as a program of its own until the block ends."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "metricsmith",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is for us: we end the others in order
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), STOP_LIMIT_S)
        except TimeoutError:
            process.kill()
            await process.wait()


async def first_address(shop: asyncio.subprocess.Process) -> str:
    """Return the address that a shop prints at its start.

    Raises:
        DemoError: it ended before.
    """
    assert shop.stdout is not None
    words = (await asyncio.wait_for(shop.stdout.readline(), READY_LIMIT_S)).decode().split()
    if not words:
        raise DemoError("the shop did not start; its log is above")
    return words[-1]


async def until_ready(agent: asyncio.subprocess.Process, url: str, stop: asyncio.Event) -> None:
    """Return when the agent at `url` is ready, or `stop` is set.

    Raises:
        DemoError: the agent ended, or is not ready in time.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + READY_LIMIT_S
    async with aiohttp.ClientSession() as session:
        while agent.returncode is None and loop.time() < deadline and not stop.is_set():
            with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                async with session.get(f"{url}/-/ready", timeout=ANSWER_LIMIT) as answer:
                    if answer.status == 200:
                        return
            await asyncio.sleep(0.05)
    if not stop.is_set():
        raise DemoError("the agent did not start; its log is above")


async def run_until(work: Awaitable[Result], ends: Mapping[str, Awaitable[Any]]) -> Result:
    """Return what `work` returns, unless one of the programs, each given by its end, is gone before.

    Raises:
        DemoError: a program ended by itself; what its end raises goes first.
    """
    working = asyncio.ensure_future(work)
    ending = {name: asyncio.ensure_future(end) for name, end in ends.items()}
    everything: set[asyncio.Future[Any]] = {working, *ending.values()}
    done, pending = await asyncio.wait(everything, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    await asyncio.gather(*pending, return_exceptions=True)
    for name, task in ending.items():
        if task in done:
            task.result()
            raise DemoError(f"the {name} ended by itself; its log is above")
    return working.result()


def make_folder(folder: Path) -> None:
    """Make the folder of the data.

    Raises:
        DemoError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DemoError(f"--data: cannot make the folder {folder}: {error.strerror}") from None


def write_config(folder: Path, text: str) -> Path:
    """Write the agent's configuration into a folder and return its path.

    Raises:
        DemoError: it cannot be written.
    """
    file = folder / "metricsmith.yaml"
    try:
        file.write_text(text)
    except OSError as error:
        raise DemoError(f"--data: cannot write {file}: {error.strerror}") from None
    return file


def command() -> Path:
    """Return how to call metricsmith from the present folder."""
    path = Path(sys.executable).parent / "metricsmith"
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def url_option(url: str) -> str:
    """Return what a command needs to reach an agent: nothing at the usual address."""
    return "" if url == DEFAULT_URL else f" --url {url}"


def other_port(port: int, words: str, target: str) -> str:
    """Return what to do when a port is taken: the command with another."""
    other = port + 10 if port <= 65_525 else port - 10
    return f"a free port: `{command()} {words} --port {other}` or `make {target} PORT={other}`"
