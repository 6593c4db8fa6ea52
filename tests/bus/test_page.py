"""The programs on docs/bus.md do what the page says."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

PAGE = (Path(__file__).parents[2] / "docs/bus.md").read_text()
ADDRESS = re.compile(r"tcp://(localhost|127\.0\.0\.1):11001")
SENDS, LISTENS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


async def program(text: str, endpoint: str) -> asyncio.subprocess.Process:
    text, found = ADDRESS.subn(endpoint, text)
    assert found == 1
    return await asyncio.create_subprocess_exec(sys.executable, "-c", text, stdout=asyncio.subprocess.PIPE)


async def test_another_program_sends(receive: Callable[..., Any], endpoint: str) -> None:
    side = receive(endpoint=endpoint)
    sender = await program(SENDS, endpoint)
    await side.until(lambda: bool(side.samples()))
    assert [(name, value) for name, _, value in side.samples()] == [
        ("temperature\xffline\xfea\xffservice\xfebrewery.kettle", "65.5")
    ]
    assert await sender.wait() == 0


async def test_another_program_listens(publish: Callable[..., Any], endpoint: str) -> None:
    side, sink = publish(endpoint=endpoint)
    listener = await program(LISTENS, endpoint)
    assert listener.stdout is not None
    reading = asyncio.create_task(listener.stdout.readline())
    for number in range(1000):
        await sink.send(side.delivery(number, {"a": 1.5}, 1_700_000_000_000, service="shop"))
        if (await asyncio.wait([reading], timeout=0.05))[0]:
            break
    assert await reading == b"metrics.shop {'a': 1.5}\n"
    assert await listener.wait() == 0
