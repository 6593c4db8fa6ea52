"""A collecting process in the test, and programs whose processes share with it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import pytest

from metricsmith.sdk.processes import Collector
from metricsmith.sdk.registry import Registry

Run: TypeAlias = Callable[..., str]


@pytest.fixture
def address() -> Iterator[str]:
    """A path that is short enough for a socket."""
    with tempfile.TemporaryDirectory(prefix="ms-") as folder:
        yield f"{folder}/own/s"


@pytest.fixture
def collector(address: str) -> Iterator[Collector]:
    """A collecting process that listens."""
    running = Collector(address)
    running.start()
    yield running
    running.stop()
    assert not Path(address).exists()


@pytest.fixture
def value(collector: Collector) -> Callable[..., float | None]:
    """Return a function that gives a sample of what all processes have counted together."""
    registry = Registry()
    registry.register(collector)
    return lambda name, **labels: registry.get_sample_value(name, labels)


@pytest.fixture
def environment(address: str) -> dict[str, str]:
    """The environment of programs that share."""
    return {**os.environ, "METRICSMITH_PROCESSES_ADDRESS": address, "PYTHONWARNINGS": "error"}


@pytest.fixture
def run(environment: dict[str, str], tmp_path: Path) -> Run:
    """Return a function that runs a program to its end and returns what it printed."""

    def run_it(program: str) -> str:
        path = tmp_path / "program.py"
        path.write_text(program)
        done = subprocess.run(
            [sys.executable, str(path)],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=100,
        )
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr, done.stderr
        return done.stdout

    return run_it
