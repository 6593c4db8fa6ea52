"""`metricsmith query --explain`: what each step of a query did, as a table or JSON."""

from __future__ import annotations

import json
from typing import Any

import typer

from metricsmith.cli.table import print_table

EXPLAIN = "/api/v1/explain"


def print_explanation(data: dict[str, Any], as_json: bool) -> None:
    """Print the `data` of the explain API."""
    if as_json:
        typer.echo(json.dumps(data))
        return
    print_table([_row(step, data["runSeconds"]) for step in data["steps"]], _COLUMNS)
    typer.echo(
        f"\nread {_count(data['samplesRead'], 'sample')} of {data['seriesRead']:,} series, "
        f"held {data['peakSamples']:,} at most; "
        f"answered {_count(data['points'], 'value')} in {data['series']:,} series ({data['resultType']}); "
        f"planned in {_time(data['planSeconds'])}, ran {_time(data['runSeconds'])}"
    )


_COLUMNS = ("step", "series", "samples", "read", "time", "share")


def _row(step: dict[str, Any], run_s: float) -> tuple[str, ...]:
    counts = [f"{step[name]:,}" for name in ("series", "samples")]
    read = f"{step['samplesRead']:,}" if step["samplesRead"] else ""
    share = f"{step['seconds'] / run_s:.0%}" if run_s else ""
    return f"#{step['step']} {step['operation']}", *counts, read, _time(step["seconds"]), share


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _time(seconds: float) -> str:
    """Return a time in the unit that suits it.

    >>> _time(0.0000123), _time(0.0123), _time(12.3)
    ('12 µs', '12.3 ms', '12.30 s')
    """
    if seconds < 1e-3:
        return f"{seconds * 1e6:.0f} µs"
    return f"{seconds * 1e3:.1f} ms" if seconds < 1 else f"{seconds:.2f} s"
