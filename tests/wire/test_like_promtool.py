"""Text that the format allows is read, though the scraper of Prometheus 2.42 stumbles over it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from metricsmith.wire.exposition import ExpositionFormat, ExpositionParser


@pytest.mark.parametrize(
    ("text", "time_ms"),
    [
        # "Leading and trailing whitespace is ignored"; that scraper makes it a part of the name.
        (' a{x="1"} 1\n', None),
        ("\ta 1\n", None),
        # "timestamp (an int64)"; that scraper knows no sign.
        ("a 1 -1000\n", -1000),
    ],
)
def test_what_the_reference_reader_takes_is_read(promtool: Path, text: str, time_ms: int | None) -> None:
    checked = subprocess.run(
        [promtool, "check", "metrics"], input=text, capture_output=True, text=True, timeout=20
    )
    assert "parsing error" not in checked.stderr
    ((labels, value, time),) = ExpositionParser(ExpositionFormat.TEXT).parse(text.encode()).samples()
    assert (labels["__name__"], value, time) == ("a", 1.0, time_ms)
