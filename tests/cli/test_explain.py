"""`metricsmith query --explain` shows steps of a query as people read them, and as JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest

Api = tuple[str, dict[str, Any]]

STEPS = [
    ("windows of 1m", [], 13, 780, 780, 0.0006),
    ("rate(#0)", [0], 13, 13, 0, 0.0000052),
]
DATA = {
    "resultType": "vector",
    "series": 13,
    "points": 1,
    "seriesRead": 1300,
    "samplesRead": 780,
    "peakSamples": 7930,
    "planSeconds": 0.0123,
    "runSeconds": 2.5,
    "steps": [
        dict(
            zip(
                ("step", "operation", "inputs", "series", "samples", "samplesRead", "seconds"),
                (number, *step),
                strict=True,
            )
        )
        for number, step in enumerate(STEPS)
    ],
}


def test_steps_are_a_table_with_what_was_read_below(here: Any, api: Api) -> None:
    url, state = api
    state["answer"] = {"status": "success", "data": DATA}
    done = here("query", "--explain", "rate(x[1m])", "--url", url)
    *table, empty, below = done.stdout.splitlines()
    assert [line.split() for line in table] == [
        ["step", "series", "samples", "read", "time", "share"],
        ["#0", "windows", "of", "1m", "13", "780", "780", "600", "µs", "0%"],
        ["#1", "rate(#0)", "13", "13", "5", "µs", "0%"],
    ]
    assert (empty, below) == (
        "",
        "read 780 samples of 1,300 series, held 7,930 at most; answered 1 value in 13 series (vector); "
        "planned in 12.3 ms, ran 2.50 s",
    )
    (path, form), *_ = state["asked"]
    assert (path, form["query"], sorted(form)) == ("/api/v1/explain", "rate(x[1m])", ["query", "time"])


@pytest.mark.parametrize("options", [("--start", "-1h"), ("--start", "0", "--end", "60", "--step", "30s")])
def test_with_a_start_it_is_a_range_query(here: Any, api: Api, options: tuple[str, ...]) -> None:
    url, state = api
    state["answer"] = {"status": "success", "data": DATA}
    done = here("query", "--json", "--explain", "x", "--url", url, *options)
    assert json.loads(done.stdout) == DATA
    assert sorted(state["asked"][0][1]) == ["end", "query", "start", "step"]


def test_a_negative_expression_after_the_option_is_told_of(here: Any, api: Api) -> None:
    done = here("query", "--explain", "-up", "--url", api[0])
    assert done.returncode == 2
    assert "put -- before" in done.stderr
