"""Whether alerts and samples are as expected; if not, both sides as text."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

from metricsmith.model.labels import decode_labels, format_labels
from metricsmith.rules.model import Alert
from metricsmith.rules.unit_tests.schema import AlertTestConfig, ExpectedAlertConfig

Differs: TypeAlias = tuple[tuple[str, ...], tuple[str, ...]]
"""What was expected and what was got, in lines."""
_Pairs: TypeAlias = tuple[tuple[str, str], ...]
_Sample: TypeAlias = tuple[bytes, float]


def compare_alerts(test: AlertTestConfig, found: Iterable[Alert]) -> Differs | None:
    """Return how firing alerts differ from those expected; None when they are the same."""
    name = test.alertname
    wanted = sorted(
        (
            (_pairs({**a.exp_labels, "alertname": name}), _pairs(a.exp_annotations), a)
            for a in test.exp_alerts
        ),
        key=lambda item: item[:2],
    )
    got = sorted(((_pairs(a.labels), _pairs(a.annotations), a) for a in found), key=lambda item: item[:2])
    same = [item[:2] for item in wanted] == [item[:2] for item in got]
    if same and all(_same_marker(w, g) for (_, _, w), (_, _, g) in zip(wanted, got, strict=True)):
        return None
    marked = any(item.exp_no_data is not None for item in test.exp_alerts)
    expected = [_alert_lines(labels, texts, a.exp_no_data if marked else None) for labels, texts, a in wanted]
    present = [_alert_lines(labels, texts, a.no_data if marked else None) for labels, texts, a in got]
    return _flat(expected), _flat(present)


def compare_samples(wanted: Sequence[_Sample], got: Sequence[_Sample], *, fuzzy: bool) -> Differs | None:
    """Return how samples differ from those expected; None when they are the same. NaN is equal to NaN."""
    wanted, got = sorted(wanted, key=_order), sorted(got, key=_order)
    same = [key for key, _ in wanted] == [key for key, _ in got] and all(
        _same_value(a, b, fuzzy) for (_, a), (_, b) in zip(wanted, got, strict=True)
    )
    return None if same else (_sample_lines(wanted), _sample_lines(got))


def _pairs(labels: Mapping[str, str]) -> _Pairs:
    return tuple(sorted((name, value) for name, value in labels.items() if value))


def _same_marker(wanted: ExpectedAlertConfig, got: Alert) -> bool:
    return wanted.exp_no_data is None or wanted.exp_no_data == got.no_data


def _same_value(a: float, b: float, fuzzy: bool) -> bool:
    if a == b or (math.isnan(a) and math.isnan(b)):
        return True
    return fuzzy and b in (math.nextafter(a, math.inf), math.nextafter(a, -math.inf))


def _order(sample: _Sample) -> tuple[bytes, bool, float]:
    key, value = sample
    return key, math.isnan(value), value


def _alert_lines(labels: _Pairs, annotations: _Pairs, no_data: bool | None) -> list[str]:
    marker = {None: "", True: ", without data", False: ", with data"}[no_data]
    return [format_labels(dict(labels)) + marker, *(f"    {name}: {text}" for name, text in annotations)]


def _flat(parts: list[list[str]]) -> tuple[str, ...]:
    return tuple(line for part in parts for text in part for line in text.splitlines()) or ("nothing",)


def _sample_lines(samples: Sequence[_Sample]) -> tuple[str, ...]:
    lines = [f"{format_labels(decode_labels(key)) or '{}'} {value!r}" for key, value in samples]
    return tuple(lines) or ("nothing",)
