"""The test kit within pytest.

from metricsmith.integration.testing import assert_contract, replay

def test_contract():
    assert_contract(PROJECT)

def test_one_value():
    with replay(PROJECT):
        assert list(queue_depth())[0].value == 3
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from metricsmith.integration.harness import Options
from metricsmith.integration.inputs import inputs
from metricsmith.integration.kit import examine
from metricsmith.integration.project import RECORDINGS
from metricsmith.integration.report import Report

__all__ = ["assert_contract", "inputs", "replay"]


def assert_contract(folder: str | Path, *, collections: int | None = None) -> Report:
    """Return the report of `metricsmith integration test`.

    Raises:
        AssertionError: something failed; tells each finding.
    """
    report = examine(folder, Options(collections=collections))
    if not report.passed:
        raise AssertionError("\n".join([f"{report.name} does not keep its contract:", *report.failures()]))
    return report


@contextmanager
def replay(folder: str | Path) -> Iterator[None]:
    """Let inputs come from the recordings of a project for a while."""
    with inputs("replay", Path(folder) / RECORDINGS):
        yield
