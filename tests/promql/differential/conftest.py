"""A real Prometheus and an agent with the same series, to be asked the same questions."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from metricsmith.testing.promql.duel import Duel
from metricsmith.testing.promql.series import make_dataset
from metricsmith.testing.promql.servers import duel
from metricsmith.testing.services import ServiceMissing, program

Begin = Callable[..., Duel]


@pytest.fixture(scope="package")
def begin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Begin]:
    """Start both servers over the series of a seed; those of one seed and lookback are started once."""
    try:
        program("prometheus")
    except ServiceMissing as missing:
        if os.environ.get("CI"):
            pytest.fail(str(missing))
        pytest.skip(str(missing))
    running: dict[tuple[int, str], Duel] = {}
    with ExitStack() as stack:

        def start(seed: int = 1, lookback: str = "5m") -> Duel:
            if (seed, lookback) not in running:
                folder: Path = tmp_path_factory.mktemp(f"seed{seed}-{lookback}")
                running[seed, lookback] = stack.enter_context(duel(folder, make_dataset(seed), lookback))
            return running[seed, lookback]

        yield start
