"""Ctrl-C and SIGTERM as an event, so that programs of the demo end in order."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from types import FrameType

NUMBERS = (signal.SIGINT, signal.SIGTERM)


def stop_on_signal(
    told: Callable[[], None] = lambda: None, again: Callable[[int], None] | None = None
) -> asyncio.Event:
    """Return an event that the first SIGINT or SIGTERM sets, which calls `told` too.

    Further ones call `again` with their number, at once and whatever the loop
    does; without it they change nothing.
    """
    stop, loop = asyncio.Event(), asyncio.get_running_loop()

    def first() -> None:
        stop.set()
        if again is not None:
            for number in NUMBERS:
                loop.remove_signal_handler(number)
                signal.signal(number, second)
        told()

    def second(number: int, frame: FrameType | None) -> None:
        if again is not None:
            again(number)

    for number in NUMBERS:
        loop.add_signal_handler(number, first)
    return stop
