"""The demo: shop, load and agent as three programs, until its time is over or Ctrl-C."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import Any

import aiohttp
import uvicorn
from rich.console import Console

from metricsmith.demo.load import LoadReport
from metricsmith.demo.progress import load_with_progress
from metricsmith.demo.report import print_report
from metricsmith.demo.shop import Shop
from metricsmith.demo.signals import stop_on_signal
from metricsmith.errors import MetricsmithError
from metricsmith.runtime.http import listen

DEFAULT_URL = "http://127.0.0.1:9480"
READY_LIMIT_S = 30.0
STOP_LIMIT_S = 15.0
SCRAPE_INTERVAL_S = 1

CONFIG = """\
service: {{type: standalone, name: demo}}
server: {{listen: "127.0.0.1:{port}"}}
storage: {{type: embedded, path: {data}, retention: 30d}}
sources:
  - type: scrape
    name: shop
    interval: {interval}
    targets: ["{shop}/metrics"]
    labels: {{environment: demo}}
"""


class DemoError(MetricsmithError):
    """A program of the demo did not start, or ended before the others."""


async def serve_shop(host: str, port: int, chaos: bool, seed: int | None) -> None:
    """Serve the shop until a signal; the first line on standard output is its address."""
    config = uvicorn.Config(Shop(chaos, seed).app(), log_config=None, lifespan="off", access_log=False)
    listener = listen(host, port, "--port")
    print(f"shop on http://{host}:{listener.getsockname()[1]}", flush=True)  # noqa: T201 the caller reads it
    await uvicorn.Server(config).serve([listener])


async def run_demo(limit_s: float | None, rate: float, chaos: bool, port: int, data: Path | None) -> None:
    """Run the demo until its time is over or a signal comes, then print what was collected.

    Raises:
        ListenError: another program uses the port.
        DemoError: shop or agent did not start, or ended by itself; the folder cannot be used.
    """
    console = Console(highlight=False)
    stop = stop_on_signal()
    # Now, for later the agent of another demo would answer in the place of ours.
    listen("127.0.0.1", port, _other_port(port)).close()
    with contextlib.ExitStack() as stack:
        folder = data or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="metricsmith-demo-")))
        options = ["demo-shop", "--port", "0", *(["--chaos"] if chaos else [])]
        _make(folder)
        async with _program(*options) as shop:
            shop_url = await _first_address(shop)
            config = _write_config(folder, port, shop_url)
            async with _program("run", "-c", str(config)) as agent:
                url = f"http://127.0.0.1:{port}"
                await _until_ready(agent, url, stop)
                if not stop.is_set():
                    _introduce(console, shop_url, config, port, limit_s)
                    began_s = time.time()
                    load = load_with_progress(shop_url, rate, limit_s, stop)
                    report = await _run_until(load, {"shop": shop, "agent": agent})
                    await print_report(console, url, began_s, report.seconds, SCRAPE_INTERVAL_S)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DemoError(f"--data: cannot make the folder {folder}: {error.strerror}") from None


def _write_config(folder: Path, port: int, shop_url: str) -> Path:
    file = folder / "metricsmith.yaml"
    data = json.dumps(str(folder / "data"))
    try:
        file.write_text(CONFIG.format(port=port, data=data, shop=shop_url, interval=f"{SCRAPE_INTERVAL_S}s"))
    except OSError as error:
        raise DemoError(f"--data: cannot write {file}: {error.strerror}") from None
    return file


async def _run_until(
    load: Coroutine[Any, Any, LoadReport], programs: dict[str, asyncio.subprocess.Process]
) -> LoadReport:
    """Send load until it ends, by its time or by a signal, and return what it sent.

    Raises:
        DemoError: a program ended by itself.
    """
    loading = asyncio.create_task(load)
    ending = {name: asyncio.create_task(process.wait()) for name, process in programs.items()}
    everything: set[asyncio.Task[Any]] = {loading, *ending.values()}
    done, pending = await asyncio.wait(everything, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    await asyncio.gather(*pending, return_exceptions=True)
    for name, task in ending.items():
        if task in done:
            raise DemoError(f"the {name} ended by itself; its log is above")
    return loading.result()


def _introduce(console: Console, shop_url: str, config: Path, port: int, limit_s: float | None) -> None:
    url = f"http://127.0.0.1:{port}"
    where = "" if url == DEFAULT_URL else f" --url {url}"
    query = "'sum by (status_code) (rate(http_requests_total[30s]))'"
    console.print(f"shop      {shop_url}/metrics")
    console.print(f"agent     {url}")
    console.print(f"config    {config}", soft_wrap=True)
    console.print(f"try       {_command()} query{where} {query}", soft_wrap=True)
    console.print(f"          curl {url}/status")
    console.print("Ctrl-C ends all." if limit_s is None else f"Ends by itself after {limit_s:g} s.")


def _command() -> Path:
    """Return how to call metricsmith from the present folder."""
    path = Path(sys.executable).parent / "metricsmith"
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _other_port(port: int) -> str:
    other = port + 10 if port <= 65_525 else port - 10
    return f"a free port: `{_command()} demo --port {other}` or `make demo PORT={other}`"


@contextlib.asynccontextmanager
async def _program(*arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
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


async def _first_address(shop: asyncio.subprocess.Process) -> str:
    assert shop.stdout is not None
    words = (await asyncio.wait_for(shop.stdout.readline(), READY_LIMIT_S)).decode().split()
    if not words:
        raise DemoError("the shop did not start; its log is above")
    return words[-1]


async def _until_ready(agent: asyncio.subprocess.Process, url: str, stop: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + READY_LIMIT_S
    async with aiohttp.ClientSession() as session:
        while agent.returncode is None and loop.time() < deadline and not stop.is_set():
            with contextlib.suppress(aiohttp.ClientError):
                async with session.get(f"{url}/-/ready") as answer:
                    if answer.status == 200:
                        return
            await asyncio.sleep(0.05)
    if not stop.is_set():
        raise DemoError("the agent did not start; its log is above")
