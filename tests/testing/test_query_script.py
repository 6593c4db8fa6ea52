"""Query scripts: what is read, and that a wrong answer is always noticed.

The failure on docs/query-tests.md is one that was made here.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from metricsmith.promql import evaluate
from metricsmith.testing import query_check
from metricsmith.testing.query_check import difference
from metricsmith.testing.query_script import ScriptError, read_script

SAMPLES = """
samples every 1m
    x{a="1"}  1+2x3
    x{a="2 }"}  7 _ stale 5@90s
    seconds_bucket{le="x"} 1
"""
AT = SAMPLES + "at 90s: "
RANGE = SAMPLES + 'from 0 to 2m every 1m: x{a="1"}'


@pytest.mark.parametrize(
    "script",
    [
        AT + 'x\n x{a="2 }"} 5\n x{a="1"} 3',
        AT + 'sort(x)\n in this order\n x{a="1"} 3\n x{a="2 }"} 5',
        AT + "sum(x)\n {} 8",
        AT + "sum(x)\n {} 8.000000001",
        AT + "y\n nothing",
        AT + "1 + 1\n scalar 2",
        AT + '"some text"\n string some text',
        AT + 'x{a="1"}[1m]\n x{a="1"} 3@60s',
        AT + "0 * (x > 6) / 0\n nothing",
        AT + 'x{a="1"} % 0\n {a="1"} NaN',
        AT + "x +\n error: unexpected end of input",
        AT + 'histogram_quantile(0.5, {__name__="seconds_bucket"})\n nothing\n warning: bucket label',
        AT + 'rate(x{a="1"}[2m])\n {a="1"} 0.03333333333\n info: might not be a counter',
        AT + "vector(1)\n {} 1\n info: none",
        RANGE + '\n x{a="1"} 1 3 5',
        RANGE + '\n x{a="1"} 1+2x2',
        RANGE + ' > 2\n x{a="1"} _ 3 5',
        SAMPLES + "clear\nat 1m: x\n nothing",
        SAMPLES + 'samples every 10s from 5m\n x{a="1"} 100 200\nat 5m10s: x{a="1"}\n x{a="1"} 200',
        "samples every 1m\n x 1\nat 0: x\n x 1\nsamples every 1m\n x 2\nat 0: x\n x 2",
        "at -1: time()\n scalar -1",
    ],
)
def test_right_answers_pass(script: str) -> None:
    cases = read_script(script)
    assert cases
    assert [difference(case) for case in cases] == [""] * len(cases)


@pytest.mark.parametrize(
    "script",
    [
        AT + 'x\n x{a="2 }"} 5',
        AT + 'x\n x{a="2 }"} 5\n x{a="1"} 3\n x{a="3"} 3',
        AT + 'x\n x{a="2 }"} 5\n x{a="1"} NaN',
        AT + 'sort(x)\n in this order\n x{a="2 }"} 5\n x{a="1"} 3',
        AT + "sum(x)\n {} 8.00000002",
        AT + "sum(x)\n scalar 8",
        AT + "sum(x)\n string 8",
        AT + "sum(x)\n nothing",
        AT + "sum(x)\n error: sum",
        AT + "y\n y 1",
        AT + "1 + 1\n scalar 3",
        AT + "1 + 1\n {} 2",
        AT + "1 + 1\n nothing",
        AT + '"some text"\n string some',
        AT + 'x{a="1"}[1m]\n x{a="1"} 3@61s',
        AT + 'x{a="1"}[2m]\n x{a="1"} 3@60s',
        AT + "x +\n nothing",
        AT + "x +\n error: some other text",
        AT + 'histogram_quantile(0.5, {__name__="seconds_bucket"})\n nothing',
        AT + "vector(1)\n {} 1\n warning: bucket label",
        AT + "vector(1)\n {} 1\n info: might not be a counter",
        AT + 'rate(x{a="1"}[2m])\n {a="1"} 0.03333333333\n info: none',
        RANGE + '\n x{a="1"} 1 3 _',
        RANGE + ' > 2\n x{a="1"} 1 3 5',
        "settings: lookback=1m\n" + AT.replace("90s", "10m") + 'x{a="1"}\n x{a="1"} 7',
    ],
)
def test_a_wrong_answer_fails_and_shows_both(script: str) -> None:
    (case,) = read_script(script, "some.test")
    report = difference(case)
    assert report.startswith(f"some.test:{case.line}: {case.text}\n  expected\n    ")
    assert "\n  got\n    " in report


def test_a_failure_looks_as_the_page_shows_it() -> None:
    page = (Path(__file__).parents[2] / "docs/query-tests.md").read_text()
    (shown,) = [text for text in re.findall(r"```text\n(.*?)```", page, re.DOTALL) if "expected" in text]
    (case,) = read_script("# \n" * 7 + "samples every 1m\n x 1 2 3\nat 2m: x\n x 4", "lookback.test")
    report = difference(case)
    assert re.sub(r":\d+:", ":", report).strip() == re.sub(r":\d+:", ":", shown).strip()


@pytest.mark.parametrize("answer", ["sum(x)\n {} 8", "1 + 1\n scalar 2"])
def test_what_a_range_query_answers_otherwise_is_noticed(
    answer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (case,) = read_script(AT + answer)
    assert difference(case) == ""

    def wrong_in_ranges(expr: str, series: Any, **options: Any) -> dict[str, Any]:
        return evaluate(f"{expr} + 1" if "step" in options else expr, series, **options)

    monkeypatch.setattr(query_check, "evaluate", wrong_in_ranges)
    assert "(as a step of a range query)\n  expected\n    {}" in difference(case)


def test_settings_reach_the_query() -> None:
    script = (
        SAMPLES + 'settings: windows=closed lookback=1m\nat 4m: count_over_time(x{a="1"}[1m])\n {a="1"} 1'
    )
    (case,) = read_script(script)
    assert difference(case) == ""
    assert difference(read_script(script.replace("windows=closed ", ""))[0])


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("sample every 1m", "s.test:1: got `sample every 1m`, wanted `samples every DURATION`"),
        ("\n x 1", "s.test:2: got `x 1`, wanted `samples every"),
        ("samples every 1m\n x{a=} 1", "s.test:2: got `x{a=}`, wanted labels"),
        ("samples every 1m\n x", "s.test:2: got `x`, wanted labels, then values"),
        ("samples every 1m\n x 1 one", "s.test:2: got `one`, wanted a value"),
        ("samples every 1m\n x 1+1x9999999", "s.test:2: got `9999999`, wanted at most"),
        ("samples every 1m\n x 1x3@5", "s.test:2: got `1x3@5`, wanted a value"),
        ("samples every 0", "s.test:1: got `0`, wanted an interval above zero"),
        ("samples every x", "s.test:1: got `x`, wanted a time such as"),
        ("settings: lookback", "s.test:1: got ``, wanted a time"),
        ("settings: windows=open", "s.test:1: got `windows=open`, wanted `lookback=DURATION` or"),
        ("at 1m: x\nat 2m: x\n nothing", "s.test:1: got `at 1m: x`, wanted one answer below it"),
        ("at 1m: x\n x 1\n error: some", "s.test:1: got `at 1m: x`, wanted one answer below it"),
        ("at 1m: x\n nothing\n scalar 1", "s.test:1: got `at 1m: x`, wanted one answer below it"),
        ("from 0 to 2m every 1m: x\n x 1 2", "s.test:2: got `2 values`, wanted 3, one for each time"),
        ("from 0 to 2m every 0: x\n x 1 2", "s.test:1: got `0`, wanted an interval above zero"),
        ("at 1m: x\n error:", "s.test:2: got `error:`, wanted a part of the text"),
        ("at 1m: x\n x 1 2", "s.test:2: got `2 values`, wanted 1"),
        ("at 1m: x\n scalar one", "s.test:2: got `one`, wanted a number"),
    ],
)
def test_a_malformed_script_says_where_and_what_is_wanted(script: str, message: str) -> None:
    with pytest.raises(ScriptError) as raised:
        read_script(script, "s.test")
    assert message in str(raised.value)
