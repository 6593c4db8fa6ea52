"""The first list that a provider of targets gives, and what troubles it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

from metricsmith.model.findings import Findings
from metricsmith.model.overheard import Overheard
from metricsmith.net.target_files import Found, Update

STATIC = "static"
"""Kind of the targets that stand in the configuration."""
SHARE = 0.7
"""Of the time; the rest is for what is listed."""


async def first_list(
    kind: str, run: Callable[[Update], Coroutine[Any, Any, None]], heard: Overheard, findings: Findings
) -> Found:
    """Return the first list of a provider, or what came until it told of trouble; tell of it.

    `heard` is the telemetry that the provider was made with.
    """
    found: Found = []
    there = asyncio.Event()

    async def update(told: Found) -> None:
        found[:] = told
        there.set()

    began, limit_s = time.monotonic(), SHARE * findings.within_s()
    tasks = [asyncio.create_task(work) for work in (run(update), there.wait(), heard.until_heard())]
    try:
        await asyncio.wait(tasks, timeout=limit_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for message in heard.heard:
        findings.problem(kind, message, "a list of targets", "check its address, files and credentials")
    if kind == STATIC:
        return found
    if there.is_set():
        took = f"{(time.monotonic() - began) * 1000:.0f} ms"
        findings.ok(kind, f"{sum(one.wanted for one in found)} targets in {took}")
    elif not heard.heard:
        hint = "does its server answer, and how long does it take?"
        findings.problem(kind, f"no answer within {limit_s:.3g}s", "a list of targets", hint)
    return found
