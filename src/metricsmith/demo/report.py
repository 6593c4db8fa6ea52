"""What the agent collected in a demo, as PromQL says it: values, and the expressions to ask again."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import aiohttp
from rich.console import Console
from rich.text import Text

MAX_WINDOW_S = 3600
SCRAPE_LIMIT_S = 5.0
POLL_S = 0.1

QUANTITIES: tuple[tuple[str, str, str], ...] = (
    ("requests per second", "sum(rate(http_requests_total[{window}]))", "/s"),
    (
        "error ratio (5xx)",
        '(sum(rate(http_requests_total{{status_code=~"5.."}}[{window}])) or vector(0))'
        " / sum(rate(http_requests_total[{window}])) * 100",
        "%",
    ),
    (
        "p95 latency",
        "histogram_quantile(0.95, sum by (le) (rate(http_request_duration_seconds_bucket[{window}]))) * 1000",
        "ms",
    ),
    (
        "average external call",
        "sum(rate(external_call_latency_ms_sum[{window}]))"
        " / sum(rate(external_call_latency_ms_count[{window}]))",
        "ms",
    ),
    ("scrapes that succeeded", 'avg(avg_over_time(up{{job="shop"}}[{window}])) * 100', "%"),
)
"""Rates and ratios: title, expression, unit."""

COUNTS: tuple[tuple[str, str], ...] = (
    ("orders created", "sum(orders_created_total)"),
    ("orders accepted", "sum(orders_success_total)"),
    ("orders failed", "sum(orders_failed_total) or vector(0)"),
    ("payments tried", "sum(payments_processed_total)"),
    ("chaos events", "sum(chaos_events_total) or vector(0)"),
    ("series of the shop", 'count({job="shop"})'),
)
"""Numbers of things since the start: title, expression."""


async def print_report(console: Console, url: str, began_s: float, seconds: float, interval_s: int) -> None:
    """Print what the agent at `url` knows of a load that began at `began_s` and ran for `seconds`.

    Rates are asked for the moment when the load ended, over a window that begins
    one scrape after it began: `rate` extends the growth between the samples that it
    finds to the whole window, so a window with a part before the load would show too
    little, and so would one that lacks the samples of the first moments.
    Counts are asked for after one more scrape, which has seen the last request.

    Units:
        began_s: Unix time; interval_s: between two scrapes.
    """
    window = f"{min(int(seconds) - interval_s, MAX_WINDOW_S)}s"
    long_enough = int(seconds) >= 3 * interval_s
    async with aiohttp.ClientSession(f"{url}/") as session:
        await _scraped_since(session, time.time())
        console.print(f"\nwhat the agent collected in {seconds:.3g} s, computed by PromQL", style="bold")
        for title, template, unit in QUANTITIES:
            if long_enough:
                expression = template.format(window=window)
                value = await _ask(session, expression, began_s + seconds)
                _print_row(
                    console, title, value if isinstance(value, str) else f"{value:,.2f}{unit}", expression
                )
        for title, expression in COUNTS:
            value = await _ask(session, expression)
            _print_row(console, title, value if isinstance(value, str) else f"{value:,.0f}", expression)
    if not long_enough:
        console.print(f"(no rates: they need a load of {3 * interval_s} s)")


def _print_row(console: Console, title: str, value: str, expression: str) -> None:
    console.print(f"{title:<24}{value:>12}")
    # On a line that only the terminal wraps: a copy of it is the whole expression.
    console.print(Text(f"    {expression}", style="dim"), soft_wrap=True)


async def _scraped_since(session: aiohttp.ClientSession, time_s: float) -> None:
    """Wait until a scrape that began after a time can be queried; give up after SCRAPE_LIMIT_S."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + SCRAPE_LIMIT_S
    while loop.time() < deadline:
        last_s = await _ask(session, 'timestamp(up{job="shop"})')
        if isinstance(last_s, float) and last_s >= time_s:
            return
        await asyncio.sleep(POLL_S)


async def _ask(session: aiohttp.ClientSession, expression: str, time_s: float | None = None) -> float | str:
    """Return the value of an expression with one series, or why there is none."""
    form = {"query": expression} | ({} if time_s is None else {"time": f"{time_s:.3f}"})
    async with session.post("api/v1/query", data=form) as response:
        answer: dict[str, Any] = await response.json()
    if answer.get("status") != "success":
        return f"error: {answer.get('error')}"
    result = answer["data"]["result"]
    return float(result[0]["value"][1]) if result else "no data"
