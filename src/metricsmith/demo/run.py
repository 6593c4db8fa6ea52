"""The demo: shop, load and agent as three programs, and a table of what PromQL says of them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import Any

import aiohttp
import uvicorn
from rich.console import Console
from rich.table import Table

from metricsmith.demo.load import LoadReport, generate_load
from metricsmith.demo.progress import load_with_progress
from metricsmith.demo.shop import Shop
from metricsmith.errors import MetricsmithError
from metricsmith.runtime.http import listen

READY_LIMIT_S = 30.0
STOP_LIMIT_S = 15.0
FOREVER_S = 365 * 86_400.0
SCRAPE_INTERVAL = "1s"

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

TABLE: tuple[tuple[str, str, str], ...] = (
    ("requests per second", "sum(rate(http_requests_total[{range}]))", "/s"),
    (
        "error ratio (5xx)",
        '(sum(rate(http_requests_total{{status_code=~"5.."}}[{range}])) or vector(0))'
        " / sum(rate(http_requests_total[{range}])) * 100",
        "%",
    ),
    (
        "p95 latency",
        "histogram_quantile(0.95, sum by (le) (rate(http_request_duration_seconds_bucket[{range}]))) * 1000",
        "ms",
    ),
    (
        "average external call",
        "sum(rate(external_call_latency_ms_sum[{range}]))"
        " / sum(rate(external_call_latency_ms_count[{range}]))",
        "ms",
    ),
    ("orders created", "sum(orders_created_total)", ""),
    ("orders accepted", "sum(orders_success_total)", ""),
    ("orders failed", "sum(orders_failed_total) or vector(0)", ""),
    ("payments tried", "sum(payments_processed_total)", ""),
    ("chaos events", "sum(chaos_events_total) or vector(0)", ""),
    ("scrapes that succeeded", 'avg(avg_over_time(up{{job="shop"}}[{range}])) * 100', "%"),
    ("series kept", 'count({{__name__=~".+"}})', ""),
)


class DemoError(MetricsmithError):
    """A program of the demo did not start, or ended before the others."""


async def serve_shop(host: str, port: int, chaos: bool, seed: int | None) -> None:
    """Serve the shop until a signal; the first line on standard output is its address."""
    config = uvicorn.Config(Shop(chaos, seed).app(), log_config=None, lifespan="off", access_log=False)
    listener = listen(host, port, "--port")
    print(f"shop on http://{host}:{listener.getsockname()[1]}", flush=True)  # noqa: T201 the caller reads it
    await uvicorn.Server(config).serve([listener])


async def run_demo(limit_s: float | None, rate: float, chaos: bool, port: int, data: Path | None) -> None:
    """Run the demo until its time is over or a signal comes.

    Raises:
        ListenError: another program uses the port.
        DemoError: shop or agent did not start, or ended by itself.
    """
    console = Console(highlight=False)
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    # Now, for later the agent of another demo would answer in the place of ours.
    listen("127.0.0.1", port, "--port").close()
    with contextlib.ExitStack() as stack:
        folder = data or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="metricsmith-demo-")))
        folder.mkdir(parents=True, exist_ok=True)
        options = ["demo-shop", "--port", "0", *(["--chaos"] if chaos else [])]
        async with _program(*options) as shop:
            shop_url = await _first_address(shop)
            config = folder / "metricsmith.yaml"
            config.write_text(
                CONFIG.format(
                    port=port, data=json.dumps(str(folder / "data")), shop=shop_url, interval=SCRAPE_INTERVAL
                )
            )
            async with _program("run", "-c", str(config)) as agent:
                url = f"http://127.0.0.1:{port}"
                await _until_ready(agent, url, stop)
                if not stop.is_set():
                    _introduce(console, shop_url, url, config, limit_s)
                    load = _load(shop_url, rate, limit_s)
                    if await _run_until(stop, load, {"shop": shop, "agent": agent}):
                        console.print(await _report(url, limit_s or 0.0))


def _load(shop_url: str, rate: float, limit_s: float | None) -> Coroutine[Any, Any, LoadReport]:
    if limit_s is None:
        return generate_load(shop_url, rate, FOREVER_S)
    return load_with_progress(shop_url, rate, limit_s)


async def _run_until(
    stop: asyncio.Event,
    load: Coroutine[Any, Any, LoadReport],
    programs: dict[str, asyncio.subprocess.Process],
) -> bool:
    """Send load until its time is over or a signal comes; return whether the time was over.

    Raises:
        DemoError: a program ended by itself.
    """
    loading, stopping = asyncio.create_task(load), asyncio.create_task(stop.wait())
    ending = {name: asyncio.create_task(process.wait()) for name, process in programs.items()}
    everything: set[asyncio.Task[Any]] = {loading, stopping, *ending.values()}
    done, pending = await asyncio.wait(everything, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    await asyncio.gather(*pending, return_exceptions=True)
    if stopping in done:
        return False
    for name, task in ending.items():
        if task in done:
            raise DemoError(f"the {name} ended by itself; its log is above")
    loading.result()
    return True


def _introduce(console: Console, shop_url: str, url: str, config: Path, limit_s: float | None) -> None:
    console.print(f"shop      {shop_url}/metrics")
    console.print(f"agent     {url}")
    console.print(f"config    {config}", soft_wrap=True)
    query = "'sum by (status_code) (rate(http_requests_total[1m]))'"
    console.print(f"try       {Path(sys.executable).parent / 'metricsmith'} query {query}", soft_wrap=True)
    console.print(f"          curl {url}/status")
    console.print("Ctrl-C ends all." if limit_s is None else f"Ends by itself after {limit_s:g} s.")


async def _report(url: str, limit_s: float) -> Table:
    window = f"{max(5, int(limit_s) + 2)}s"
    table = Table(title=f"what the agent collected in {limit_s:g} s, computed by PromQL", pad_edge=False)
    table.add_column("metric")
    table.add_column("value", justify="right")
    table.add_column("expression", style="dim", overflow="fold")
    async with aiohttp.ClientSession() as session:
        for title, template, unit in TABLE:
            expression = template.format(range=window)
            async with session.post(f"{url}/api/v1/query", data={"query": expression}) as answer:
                table.add_row(title, _value(await answer.json(), unit), expression)
    return table


def _value(answer: dict[str, Any], unit: str) -> str:
    if answer.get("status") != "success":
        return f"error: {answer.get('error')}"
    result = answer["data"]["result"]
    return f"{float(result[0]['value'][1]):,.2f}{unit}" if result else "no data"


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
