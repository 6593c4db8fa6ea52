"""Asks the queries of a script, and says how the answers differ."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from metricsmith.errors import QueryError
from metricsmith.model.labels import format_labels
from metricsmith.promql.library import evaluate
from metricsmith.promql.result import format_value
from metricsmith.testing.query_script import Case, Row

_RELATIVE, _ABSOLUTE = 1e-9, 1e-12
_SHOWN = 20
_STEP_MS = 60_000

Answer = dict[str, dict[int, float]]
"""Values by time in ms, by labels as PromQL writes them."""


def difference(case: Case) -> str:
    """Return how the answer differs from what the case expects, empty when it does not.

    What is asked at one time is asked as a step of a range query as well.
    """
    try:
        data = _ask(case)
    except QueryError as error:
        if case.error is not None and case.error in str(error):
            return ""
        wanted = _expected(case) if case.error is None else f"error: {case.error}"
        return _report(case, wanted, f"error: {error}")
    if case.error is not None or not _same(case, data):
        return _report(case, _expected(case), _got(case, data))
    return _difference_as_step(case, data) if _is_alike_as_step(case, data) else ""


def _ask(case: Case) -> dict[str, Any]:
    span = {"start": case.start, "end": case.end, "step": case.step}
    times: dict[str, Any] = span if case.step else {"time": case.start}
    settings = case.settings
    return evaluate(
        case.expr, case.samples, **times, lookback=settings.lookback, left_open=settings.left_open
    )


def _is_alike_as_step(case: Case, data: dict[str, Any]) -> bool:
    """Return whether a range query must give the same: its answers are numbers and have no order."""
    of_query = ("start()", "end()", "step()", "range()")
    return (
        case.step == 0
        and data["resultType"] in ("vector", "scalar")
        and not any(word in case.expr for word in of_query)
    )


def _difference_as_step(case: Case, data: dict[str, Any]) -> str:
    is_scalar = data["resultType"] == "scalar"
    wanted = {"{}": {case.start: float(data["result"][1])}} if is_scalar else _answer(data)
    try:
        steps = _ask(replace(case, start=case.start - _STEP_MS, end=case.start + _STEP_MS, step=_STEP_MS))
    except QueryError:  # at another step there may be no answer
        steps = _ask(replace(case, step=_STEP_MS))
    found = {
        labels: {case.start: samples[case.start]}
        for labels, samples in _answer(steps).items()
        if case.start in samples
    }
    if _same_answer(wanted, found):
        return ""
    as_step = replace(case, text=f"{case.text} (as a step of a range query)")
    return _report(as_step, "\n".join(_lines(case, wanted)), "\n".join(_lines(case, found)))


def _same(case: Case, data: dict[str, Any]) -> bool:
    if not _same_remarks(case.warnings, data.get("warnings", [])):
        return False
    if case.infos is not None and not _same_remarks(case.infos, data.get("infos", [])):
        return False
    if data["resultType"] == "string":
        return case.string is not None and str(data["result"][1]) == case.string
    if data["resultType"] == "scalar":
        return case.scalar is not None and _close(float(data["result"][1]), case.scalar)
    if case.string is not None or case.scalar is not None:
        return False
    wanted, got = _wanted_answer(case), _answer(data)
    if case.in_order and list(wanted) != list(got):
        return False
    return len(got) == len(data["result"]) and _same_answer(wanted, got)


def _same_answer(wanted: Answer, got: Answer) -> bool:
    return wanted.keys() == got.keys() and all(
        samples.keys() == got[labels].keys()
        and all(_close(got[labels][time], value) for time, value in samples.items())
        for labels, samples in wanted.items()
    )


def _close(got: float, wanted: float) -> bool:
    if math.isnan(wanted):
        return math.isnan(got)
    return got == wanted or math.isclose(got, wanted, rel_tol=_RELATIVE, abs_tol=_ABSOLUTE)


def _same_remarks(wanted: list[str], got: list[str]) -> bool:
    """Return whether every remark was expected and every expected one came; a part of the text will do."""
    return all(any(text in remark for remark in got) for text in wanted) and all(
        any(text in remark for text in wanted) for remark in got
    )


def _wanted_answer(case: Case) -> Answer:
    return {_labels(row.labels): _wanted_samples(case, row) for row in case.rows}


def _wanted_samples(case: Case, row: Row) -> dict[int, float]:
    samples = {}
    for place, (time, value) in enumerate(row.values):
        if value is not None:
            samples[case.start + place * case.step if time is None else time] = value
    return samples


def _answer(data: dict[str, Any]) -> Answer:
    return {
        _labels(series["metric"]): {
            round(time * 1000): float(value) for time, value in series.get("values") or [series["value"]]
        }
        for series in data["result"]
    }


def _labels(labels: dict[str, str]) -> str:
    return format_labels(dict(sorted(labels.items())))


def _expected(case: Case) -> str:
    if case.error is not None:
        return f"error: {case.error}"
    if case.scalar is not None:
        lines = [f"scalar {format_value(case.scalar)}"]
    elif case.string is not None:
        lines = [f"string {case.string}"]
    else:
        lines = _lines(case, _wanted_answer(case))
    return "\n".join([*lines, *_remarks(case.warnings, case.infos or [])])


def _got(case: Case, data: dict[str, Any]) -> str:
    if data["resultType"] in ("scalar", "string"):
        lines = [f"{data['resultType']} {data['result'][1]}"]
    else:
        lines = _lines(case, _answer(data))
    return "\n".join([*lines, *_remarks(data.get("warnings", []), data.get("infos", []))])


def _lines(case: Case, answer: Answer) -> list[str]:
    steps = range(case.start, case.end + 1, case.step) if case.step else range(case.start, case.start + 1)
    lines = []
    for labels, samples in answer.items():
        if samples.keys() <= set(steps):
            values = [format_value(samples[t]) if t in samples else "_" for t in steps]
        else:
            values = [f"{format_value(value)}@{time / 1000:g}" for time, value in samples.items()]
        lines.append(" ".join([labels, *values]))
    if not case.in_order:
        lines.sort()
    more = [f"… {len(lines) - _SHOWN} more"] if len(lines) > _SHOWN else []
    return [*lines[:_SHOWN], *more] or ["nothing"]


def _remarks(warnings: list[str], infos: list[str]) -> list[str]:
    return [f"warning: {text}" for text in warnings] + [f"info: {text}" for text in infos]


def _report(case: Case, wanted: str, got: str) -> str:
    def indented(text: str) -> str:
        return "\n".join(f"    {line}" for line in text.splitlines())

    return f"{case.file}:{case.line}: {case.text}\n  expected\n{indented(wanted)}\n  got\n{indented(got)}"
