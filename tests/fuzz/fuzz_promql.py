"""Coverage-guided fuzzing of the PromQL parser and engine, until told to stop: `make fuzz`.

Arguments are those of libFuzzer: corpus directories first, then options such as `-max_total_time=60`.
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["metricsmith.promql"]):
    from metricsmith.testing.query_fuzz import QueryCheck


def main() -> None:
    """Fuzz: an input that breaks a rule is written to a file, and the process ends with an error."""
    check = QueryCheck()
    atheris.Setup(sys.argv, check)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
