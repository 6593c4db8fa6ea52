"""The demo: shop, load and agent as three programs, until its time is over or Ctrl-C."""

from __future__ import annotations

import contextlib
import json
import tempfile
import time
from pathlib import Path

import uvicorn
from rich.console import Console

from metricsmith.demo.programs import (
    command,
    first_address,
    make_folder,
    other_port,
    program,
    run_until,
    until_ready,
    url_option,
    write_config,
)
from metricsmith.demo.progress import load_with_progress
from metricsmith.demo.report import print_report
from metricsmith.demo.shop import Shop
from metricsmith.demo.signals import stop_on_signal
from metricsmith.runtime.http import listen

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
    listen("127.0.0.1", port, other_port(port, "demo", "demo")).close()
    with contextlib.ExitStack() as stack:
        folder = data or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="metricsmith-demo-")))
        options = ["demo-shop", "--port", "0", *(["--chaos"] if chaos else [])]
        make_folder(folder)
        async with program(*options) as shop:
            shop_url = await first_address(shop)
            config = write_config(folder, _config(folder, port, shop_url))
            async with program("run", "-c", str(config)) as agent:
                url = f"http://127.0.0.1:{port}"
                await until_ready(agent, url, stop)
                if not stop.is_set():
                    _introduce(console, shop_url, config, port, limit_s)
                    began_s = time.time()
                    load = load_with_progress(shop_url, rate, limit_s, stop)
                    report = await run_until(load, {"shop": shop.wait(), "agent": agent.wait()})
                    await print_report(console, url, began_s, report.seconds, SCRAPE_INTERVAL_S)


def _config(folder: Path, port: int, shop_url: str) -> str:
    data = json.dumps(str(folder / "data"))
    return CONFIG.format(port=port, data=data, shop=shop_url, interval=f"{SCRAPE_INTERVAL_S}s")


def _introduce(console: Console, shop_url: str, config: Path, port: int, limit_s: float | None) -> None:
    url = f"http://127.0.0.1:{port}"
    query = "'sum by (status_code) (rate(http_requests_total[30s]))'"
    console.print(f"shop      {shop_url}/metrics")
    console.print(f"agent     {url}")
    console.print(f"config    {config}", soft_wrap=True)
    console.print(f"try       {command()} query{url_option(url)} {query}", soft_wrap=True)
    console.print(f"          curl {url}/status")
    console.print("Ctrl-C ends all." if limit_s is None else f"Ends by itself after {limit_s:g} s.")
