"""Help for tests of code that has metrics.

    pytest_plugins = ["metricsmith.sdk.testing"]  # in conftest.py

    def test_orders(isolated_registry):
        take_order("card")
        assert_metric("shop_orders_total", {"payment": "card"}, 1)

Imports pytest, so is no part of what applications import, and no plug-in that loads unless it is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from math import isclose, isnan
from typing import Protocol

import pytest

from metricsmith.sdk.isolation import isolated
from metricsmith.sdk.names import series
from metricsmith.sdk.reading import Reading, Sample
from metricsmith.sdk.registry import REGISTRY, Registry
from metricsmith.testing.clock import FakeClock

__all__ = ["FakeClock", "assert_metric", "isolated", "isolated_registry"]

MAX_SHOWN = 10


class _Read(Protocol):
    def read(self) -> Iterator[Reading]: ...


@pytest.fixture
def isolated_registry() -> Iterator[Registry]:
    """The default registry for one test: its metrics at zero, and afterwards as they were."""
    with isolated() as registry:
        yield registry


def assert_metric(
    name: str,
    labels: Mapping[str, str] | None = None,
    value: float | None = 1,
    *,
    registry: _Read = REGISTRY,
) -> None:
    """Fail unless the sample of this full name, such as `shop_orders_total`, has this value.

    None wants that there is none. Numbers may differ in the ninth digit.

    Raises:
        AssertionError: another value, or no such sample; tells what there is in its place.
    """
    wanted = dict(labels or {})
    readings = list(registry.read())
    samples = [sample for reading in readings for sample in reading.samples]
    got = next((s.value for s in samples if s.name == name and dict(s.labels) == wanted), None)
    shown = series(name, wanted.items())
    if got is None and value is not None:
        raise AssertionError(
            f"got no {shown}, wanted {value:g}; {_instead(name, samples, _without_samples(readings))}"
        )
    if got is not None and (value is None or not _same(got, value)):
        raise AssertionError(f"got {got:g} for {shown}, wanted {'none' if value is None else f'{value:g}'}")


def _same(got: float, wanted: float) -> bool:
    return isclose(got, wanted, rel_tol=1e-9) or (isnan(got) and isnan(wanted))


def _without_samples(readings: Sequence[Reading]) -> set[str]:
    """Return names of metrics with labels that nothing was counted in yet."""
    return {r.name + ("_total" if r.type == "counter" else "") for r in readings if not r.samples}


def _instead(name: str, samples: Sequence[Sample], without: set[str]) -> str:
    if name in without:
        return "the metric is there, and has no samples yet"
    there = [series(name, sample.labels.items()) for sample in samples if sample.name == name]
    if not there:
        there = get_close_matches(
            name, {sample.name for sample in samples} | without, n=MAX_SHOWN, cutoff=0.5
        )
    more = f" and {len(there) - MAX_SHOWN} more" if len(there) > MAX_SHOWN else ""
    return f"there is {', '.join(there[:MAX_SHOWN])}{more}" if there else "there is nothing like it"
