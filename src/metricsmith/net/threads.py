"""Calls that wait, out of the event loop's way."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

T = TypeVar("T")


def in_thread(name: str, call: Callable[[], T]) -> asyncio.Future[T]:
    """Return what becomes the result of a call, or its exception, in a thread of its own.

    Unlike an executor's, the thread does not keep the process from ending: a
    server that never answers would. Who calls bounds how many run at once.
    """
    loop = asyncio.get_running_loop()
    result: asyncio.Future[T] = loop.create_future()

    def run() -> None:
        try:
            value = call()
        except Exception as error:
            tell(result.set_exception, error)
        else:
            tell(result.set_result, value)

    def tell(how: Callable[[T], None] | Callable[[Exception], None], what: T | Exception) -> None:
        with suppress(RuntimeError):  # the loop was closed meanwhile: nobody waits
            loop.call_soon_threadsafe(lambda: None if result.done() else how(what))  # type: ignore[arg-type]

    threading.Thread(target=run, name=name, daemon=True).start()
    return result


async def in_thread_until(name: str, call: Callable[[threading.Event], None], stop: asyncio.Event) -> None:
    """Run a call in a thread of its own; its event is set when `stop` is, and it is waited for.

    For what receives as long as a source runs: a thread of the common executor
    would be taken from all others.
    """
    ending = threading.Event()
    receiving, stopping = in_thread(name, lambda: call(ending)), asyncio.ensure_future(stop.wait())
    try:
        both: list[asyncio.Future[Any]] = [receiving, stopping]
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
    finally:
        ending.set()
        stopping.cancel()
    await receiving
