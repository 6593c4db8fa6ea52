"""Claim: the demo's agent stays under 200 MB resident.

`bench_demo_memory.py [SECONDS]` runs the demo as a newcomer does and looks at its agent every second.
"""

from __future__ import annotations

import subprocess
import sys
import time

import psutil

from common import table
from metricsmith.testing.services import free_port


def main(seconds: float) -> None:
    """Print the agent's resident memory: at the end and its peak."""
    command = [
        sys.executable,
        "-m",
        "metricsmith",
        "demo",
        "--for",
        f"{seconds:g}s",
        "--port",
        str(free_port()),
    ]
    seen: list[float] = []
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as demo:
        while demo.poll() is None:
            children = psutil.Process(demo.pid).children()
            seen += [c.memory_info().rss / 2**20 for c in children if "run" in c.cmdline()]
            time.sleep(1)
    if demo.returncode or not seen:
        raise RuntimeError(f"the demo ended with {demo.returncode}")
    rows = [("metricsmith", seen[-1], max(seen), max(seen) / 200)]
    table(
        f"The demo's agent, {seconds:g} s",
        ("who", "resident MB at the end", "peak MB", "ratio to 200 MB"),
        rows,
    )


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 60)
