"""A call that waits holds up neither the event loop nor the end of the process."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading

import pytest

from metricsmith.net.threads import in_thread


async def test_the_result_or_the_exception_of_a_call_comes_back() -> None:
    assert await in_thread("test", lambda: threading.current_thread().name) == "test"
    with pytest.raises(ZeroDivisionError):
        await in_thread("test", lambda: 1 // 0)


async def test_one_who_waits_no_more_is_not_told() -> None:
    go, ended = threading.Event(), threading.Event()

    def call() -> None:
        go.wait()
        ended.set()

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await in_thread("test", call)
    go.set()
    assert await in_thread("test", lambda: ended.wait(60))


def test_a_call_that_never_returns_ends_with_the_process() -> None:
    program = (
        "import asyncio, threading\n"
        "from metricsmith.net.threads import in_thread\n"
        "async def main():\n"
        "    in_thread('test', threading.Event().wait)\n"
        "asyncio.run(main())\n"
    )
    assert subprocess.run([sys.executable, "-c", program], timeout=100, check=False).returncode == 0
