"""The demo of OCI: shop, load, an agent with the documented sink, and what stands in for OCI Monitoring."""

from __future__ import annotations

import asyncio
import contextlib
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table

from metricsmith.demo.programs import (
    command,
    first_address,
    other_port,
    program,
    run_until,
    until_ready,
    url_option,
    write_config,
)
from metricsmith.demo.progress import load_with_progress
from metricsmith.demo.signals import stop_on_signal
from metricsmith.runtime.http import listen
from metricsmith.testing.oci_rules import Point
from metricsmith.testing.oci_server import OciServer
from metricsmith.testing.oci_signature import ApiKey

LAST_SCRAPE_S = 5.0

CONFIG = """\
service: {{name: bharatmart}}
server: {{listen: "127.0.0.1:{port}"}}
storage: {{path: {data}}}
sources:
  - type: scrape
    name: bharatmart
    interval: 1s              # documented: 30s
    targets: ["{shop}/metrics"]
sinks:
  - type: oci
    name: oci
    namespace: bharatmart
    compartment_id: ocid1.compartment.oc1..example
    config_file: {key}
    profile: DEFAULT
    endpoint: {oci}
    average: delta
    flush_interval: 500ms     # so that nobody waits
    processors:
      - type: filter
        keep: ['{{job="bharatmart"}}']
        drop: ['{{__name__=~"scrape_.*"}}']
"""


async def run_oci_demo(limit_s: float | None, rate: float, port: int) -> None:
    """Run the demo until its time is over or a signal comes, then print what was posted.

    Raises:
        ListenError: another program uses the port.
        DemoError: shop or agent did not start, or ended by itself.
    """
    console = Console(highlight=False)
    stop = stop_on_signal()
    # Now, for later the agent of another demo would answer in the place of ours.
    listen("127.0.0.1", port, other_port(port, "oci demo", "oci-demo")).close()
    key = await asyncio.to_thread(ApiKey.make)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="metricsmith-oci-")))
        oci = stack.enter_context(OciServer(key))
        async with program("demo-shop", "--port", "0") as shop:
            shop_url = await first_address(shop)
            config = write_config(folder, _config(folder, port, shop_url, oci))
            async with program("run", "-c", str(config)) as agent:
                url = f"http://127.0.0.1:{port}"
                await until_ready(agent, url, stop)
                if not stop.is_set():
                    _introduce(console, oci, shop_url, config, url, limit_s)
                    load = load_with_progress(shop_url, rate, limit_s, stop)
                    await run_until(load, {"shop": shop.wait(), "agent": agent.wait()})
                    await _posted_since(oci, time.time_ns() // 1_000_000)
                    _report(console, oci)


def _config(folder: Path, port: int, shop_url: str, oci: OciServer) -> str:
    return CONFIG.format(
        port=port,
        data=json.dumps(str(folder / "data")),
        shop=shop_url,
        key=json.dumps(str(oci.key.write_config(folder))),
        oci=oci.url,
    )


def _introduce(
    console: Console, oci: OciServer, shop_url: str, config: Path, url: str, limit_s: float | None
) -> None:
    metricsmith, option = command(), url_option(url)
    for title, text in (
        ("shop", f"{shop_url}/metrics"),
        (
            "oci",
            f"{oci.url}, which checks signatures, names, times and limits as OCI does",
        ),
        ("agent", url),
        ("config", str(config)),
        ("try", f"{metricsmith} sink list{option}"),
        ("", f"{metricsmith} sink test oci{option}"),
    ):
        console.print(f"{title:<10}{text}", soft_wrap=True)
    console.print("Ctrl-C ends all." if limit_s is None else f"Ends by itself after {limit_s:g} s.")


async def _posted_since(oci: OciServer, time_ms: int) -> None:
    """Return when a scrape after a time has been posted, or it takes too long."""
    with contextlib.suppress(AssertionError):
        await asyncio.to_thread(oci.wait_for, lambda: _is_there(oci, time_ms), LAST_SCRAPE_S)


def _is_there(oci: OciServer, time_ms: int) -> bool:
    return any(point.name == "up" and point.time_ms > time_ms for point in oci.points)


def _report(console: Console, oci: OciServer) -> None:
    with oci.changed:
        points, calls, problems = list(oci.points), oci.calls, list(oci.problems)
    console.print(
        f"\n{len(points):,} points in {calls:,} calls of at most {oci.largest_call} streams,"
        f" {len(problems)} refused",
        style="bold",
        soft_wrap=True,
    )
    for problem in dict.fromkeys(problems):
        console.print(f"refused: {problem}", soft_wrap=True)
    table = Table(box=None, pad_edge=False, header_style="")
    columns: tuple[tuple[str, Callable[[list[Point]], str]], ...] = (
        ("streams", lambda own: f"{len({p.stream for p in own})}"),
        ("points", lambda own: f"{len(own)}"),
        ("last value", lambda own: f"{own[-1].value:,.6g}"),
    )
    table.add_column("metric", no_wrap=True)
    for title, _ in columns:
        table.add_column(title, justify="right")
    table.add_column("of", overflow="fold")
    by_name: dict[str, list[Point]] = {}
    for point in points:
        by_name.setdefault(point.name, []).append(point)
    for name, own in sorted(by_name.items()):
        labels = ", ".join(f"{k}={v}" for k, v in own[-1].dimensions if k not in ("instance", "job"))
        table.add_row(name, *(text(own) for _, text in columns), labels)
    console.print(table)
