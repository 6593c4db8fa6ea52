"""The values that templates work on, as Go sees them: kinds, truth, fields, comparison.

float64, int, string and bool are Python's float, int, str and bool; a slice is a list, a map a dict with
text keys, nil is None.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from metricsmith.rules.templates.times import Duration, Time

Value: TypeAlias = Any


@dataclass(frozen=True, slots=True)
class Sample:
    """One series in the answer of a query: `.Labels` and `.Value`."""

    labels: Mapping[str, str]
    value: float


@dataclass(frozen=True, slots=True)
class AlertData:
    """What a template sees of an alert: `.Labels`, `.Value`, `.ExternalLabels`, `.ExternalURL`."""

    labels: Mapping[str, str]
    value: float
    external_labels: Mapping[str, str]
    external_url: str


class Arguments(dict[str, Value]):
    """The map that `args` makes; a key that is not there is nil, not an empty text."""


_FIELDS: dict[type, dict[str, str]] = {
    Sample: {"Labels": "labels", "Value": "value"},
    AlertData: {
        "Labels": "labels",
        "Value": "value",
        "ExternalLabels": "external_labels",
        "ExternalURL": "external_url",
    },
}


def kind(value: Value) -> str:
    """Return the name of a value's Go type."""
    match value:
        case None:
            return "nil"
        case bool():
            return "bool"
        case int():
            return "int"
        case float():
            return "float64"
        case str():
            return "string"
        case Sample():
            return "*template.sample"
        case Time():
            return "*time.Time"
        case Duration():
            return "time.Duration"
        case Arguments():
            return "map[string]interface {}"
        case Mapping():
            return "map[string]string"
        case Sequence():
            return "template.queryResult"
    return "struct"


def is_true(value: Value) -> bool:
    """Return whether Go takes a value for true: not zero, not empty, not nil."""
    match value:
        case Duration():
            return value.ns != 0
        case float():
            return value != 0 or math.isnan(value)
    return bool(value) if not isinstance(value, Sample | AlertData | Time) else True


def field(value: Value, name: str, arguments: Sequence[Value]) -> Value:
    """Return a field, a map's entry, or what a method returns.

    A map of texts has an empty text for every key that it has not.

    Raises:
        ValueError: there is none such.
    """
    if isinstance(value, Time | Duration):
        return value.method(name, arguments)
    if arguments:
        raise ValueError(f"{name} has arguments but cannot be invoked as function")
    if isinstance(value, Mapping):
        return value.get(name, None if isinstance(value, Arguments) else "")
    known = _FIELDS.get(type(value), {})
    if name not in known:
        if value is None:
            raise ValueError(f"nil data; no entry for key {name!r}")
        raise ValueError(f"can't evaluate field {name} in type {kind(value)}")
    return getattr(value, known[name])


def equal(left: Value, right: Value) -> bool:
    """Return whether two values are equal.

    Raises:
        ValueError: Go does not compare these types.
    """
    if left is None or right is None:
        return left is right
    if isinstance(left, Mapping | list | Sample) or isinstance(right, Mapping | list | Sample):
        raise ValueError(f"non-comparable type {kind(left)}")
    if kind(left) != kind(right):
        raise ValueError(_incompatible(left, right))
    return bool(left == right)


def less(left: Value, right: Value) -> bool:
    """Return whether a value is less than another.

    Raises:
        ValueError: Go does not compare these types.
    """
    if not isinstance(left, int | float | str | Duration) or isinstance(left, bool):
        raise ValueError("invalid type for comparison")
    if kind(left) != kind(right):
        raise ValueError(_incompatible(left, right))
    if isinstance(left, Duration):
        return left.ns < int(right.ns)
    return bool(left.encode() < right.encode() if isinstance(left, str) else left < right)


def _incompatible(left: Value, right: Value) -> str:
    message = f"incompatible types for comparison: {kind(left)} and {kind(right)}"
    if {kind(left), kind(right)} == {"float64", "int"}:
        message += "; write 100.0 for a number that is compared with a float"
    return message
