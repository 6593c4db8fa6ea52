"""What authors of collectors import: light, and strict about what cannot be meant."""

from __future__ import annotations

import subprocess
import sys

import pytest

from metricsmith.collector import Options, collector, options_of

HEAVY = {"numpy", "pyarrow", "pydantic", "prometheus_client", "yaml", "asyncio", "logging"}


def test_it_loads_nothing_that_is_heavy() -> None:
    command = [sys.executable, "-X", "importtime", "-c", "import metricsmith.collector"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if "|" in line}
    assert "metricsmith.collector" in loaded and not loaded & HEAVY


def test_a_marked_function_or_class_stays_what_it_was() -> None:
    def function() -> int:
        return 3

    class Thing:
        def collect(self) -> None: ...

    assert collector(function) is function and options_of(function) == Options()
    assert collector(interval="1m", labels={"a": "b"})(Thing) is Thing
    assert options_of(Thing) == Options("", 60_000, None, None, None, {"a": "b"})
    assert options_of(len) is None


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"interval": "10"}, "interval: got \"10\", wanted a duration"),
        ({"timeout": "0s"}, "timeout: got \"0s\", wanted a time above 0"),
        ({"max_samples": 0}, "got max_samples 0, wanted at least 1"),
        ({"max_series": -1}, "got max_series -1, wanted at least 1"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused_where_it_stands(given: dict[str, object], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        collector(**given)  # type: ignore[call-overload]
