"""Ctrl-C and SIGTERM as an event, so that programs of the demo end in order."""

from __future__ import annotations

import asyncio
import signal


def stop_on_signal() -> asyncio.Event:
    """Return an event that the first SIGINT or SIGTERM sets; further ones change nothing."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop
