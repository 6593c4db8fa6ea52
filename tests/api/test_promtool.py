"""Prometheus' own promtool, asking the running application."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

TIME = "1700000000"
RANGE = ["--start=1699999000", f"--end={TIME}"]


@pytest.mark.parametrize(
    ("command", "arguments", "lines"),
    [
        (
            ["instant", f"--time={TIME}"],
            ["up"],
            [
                'up{instance="a", job="shop"} => 1 @[1700000000]',
                'up{instance="b", job="shop"} => 0 @[1700000000]',
            ],
        ),
        (["instant", f"--time={TIME}"], ["1+1"], ["scalar: 2 @[1700000000]"]),
        (
            ["range", "--start=1699999995", f"--end={TIME}", "--step=5s"],
            ['sum by (job) (up{instance="a"})'],
            ['{job="shop"} =>', "1 @[1699999995]", "1 @[1700000000]"],
        ),
        (["series", "--match=up", *RANGE], [], ['{__name__="up", instance="a", job="shop"}']),
        (["labels", *RANGE], ["job"], ["shop"]),
    ],
)
async def test_promtool_query(
    api: Any, promtool: Path, command: list[str], arguments: list[str], lines: list[str]
) -> None:
    api.write({"up|job=shop|instance=a": [(10, 1)], "up|job=shop|instance=b": [(10, 0)]})
    async with api.served() as url:
        process = await asyncio.create_subprocess_exec(
            promtool,
            "query",
            *command,
            url,
            *arguments,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, error = await process.communicate()
    assert (process.returncode, error) == (0, b"")
    for line in lines:
        assert line in out.decode().splitlines()
