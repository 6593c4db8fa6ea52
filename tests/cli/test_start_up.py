"""A command that only tells something starts at once: what is slow to load stays out."""

from __future__ import annotations

import subprocess
import sys

import pytest

SLOW = {
    "numpy",
    "pyarrow",
    "aiohttp",
    "starlette",
    "uvicorn",
    "prometheus_client",
    "yaml",
    "plotext",
    "kafka",
}


@pytest.mark.parametrize("asked", [["version"], ["--help"], ["rules", "test", "--help"]], ids=" ".join)
def test_it_loads_nothing_that_is_slow(asked: list[str]) -> None:
    command = [sys.executable, "-X", "importtime", "-m", "metricsmith", *asked]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if "|" in line}
    assert "typer" in loaded, "the list of what was loaded could not be read"
    assert loaded & SLOW == set()
