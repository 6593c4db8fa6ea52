"""A command run within the process of a test, which has everything imported."""

from __future__ import annotations

import signal
import sys

from metricsmith.cli.main import main


def run_here(*arguments: str) -> int:
    """Return the exit code of `metricsmith` with these arguments; it prints as the process does.

    `sys.argv` and what Ctrl-C does are afterwards as they were.
    """
    words, interrupt = sys.argv, signal.getsignal(signal.SIGINT)
    sys.argv = ["metricsmith", *arguments]
    try:
        main()
    except SystemExit as ended:
        return int(ended.code or 0)
    finally:
        sys.argv = words
        signal.signal(signal.SIGINT, interrupt)
    return 0
