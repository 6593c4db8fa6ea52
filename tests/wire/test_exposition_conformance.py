"""The 211 documents of the OpenMetrics project, each with whether it must parse."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
SUITE = REPOSITORY.parent / "shared" / "conformance"


@pytest.mark.skipif(not SUITE.exists(), reason="the OpenMetrics suite is not beside the repository")
def test_every_openmetrics_case_is_judged_right() -> None:
    done = subprocess.run(
        [
            sys.executable,
            str(SUITE / "openmetrics_runner.py"),
            str(SUITE / "openmetrics"),
            "--parser",
            "metricsmith.wire.exposition:parse_openmetrics",
        ],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.strip().endswith("total 211/211"), done.stdout
