"""The functions of templates: Go's own and those of Prometheus. A ValueError becomes the template's error.

Source:
    Go 1.22 `text/template`; Prometheus 3 `template/template.go`. Not here: `call` and `tmpl`, which
    have nothing to work on in rule files.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from metricsmith.errors import QueryError
from metricsmith.model.duration import parse_duration
from metricsmith.rules.templates import humanize, texts
from metricsmith.rules.templates.nodes import State
from metricsmith.rules.templates.numbers import parse_float
from metricsmith.rules.templates.printf import sprint, sprintf, sprintln
from metricsmith.rules.templates.times import SECOND_NS, Duration, Time
from metricsmith.rules.templates.values import Arguments, Sample, Value, equal, is_true, kind, less

Function: TypeAlias = Callable[..., Value]
_WANTED: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "*template.sample": (Sample,),
    "template.queryResult": (list,),
}


def _function(name: str, function: Callable[..., Value], wanted: Sequence[str], least: int = -1) -> Function:
    """Return a function that takes the state first and checks its arguments.

    `wanted` are Go types, "" for any; with `least`, that many arguments or more
    are taken, and the last type counts for the rest.
    """
    fixed = len(wanted)

    def call(state: State, *given: Value) -> Value:
        if len(given) < (fixed if least < 0 else least) or (least < 0 and len(given) > fixed):
            count = f"{fixed}" if least < 0 else f"at least {least}"
            raise ValueError(f"wrong number of args for {name}: want {count} got {len(given)}")
        for index, value in enumerate(given):
            type_name = wanted[min(index, fixed - 1)]
            if type_name and not isinstance(value, _WANTED[type_name]):
                message = f"wrong type for value; expected {type_name}; got {kind(value)}"
                raise ValueError(f"{name}: {message}{_cure(type_name, value)}")
        try:
            return function(state, *given)
        except ValueError as error:
            raise ValueError(f"error calling {name}: {error}") from None

    return call


def _cure(wanted: str, value: Value) -> str:
    number = isinstance(value, int | float)
    return '; printf "%v" makes a text of it' if wanted == "string" and number else ""


def _text(function: Callable[[str], Value]) -> tuple[Callable[..., Value], list[str]]:
    return (lambda state, text: function(text)), ["string"]


def _number(function: Callable[[float], Value]) -> tuple[Callable[..., Value], list[str]]:
    return (lambda state, value: function(_float(value))), [""]


def _joined(function: Callable[[str], str]) -> tuple[Callable[..., Value], list[str], int]:
    return (lambda state, *given: function(sprint(given))), [""], 1


def _float(value: Value) -> float:
    match value:
        case bool():
            pass
        case int() | float():
            return float(value)
        case str():
            return parse_float(value)
        case Duration():
            return value.ns / SECOND_NS
    raise ValueError(f"can't convert {kind(value)} to float")


def _equal_to_any(state: State, first: Value, *others: Value) -> bool:
    if not others:
        raise ValueError("missing argument for comparison")
    return any(equal(first, other) for other in others)


def _index(state: State, value: Value, *keys: Value) -> Value:
    for key in keys:
        value = _item(value, key)
    return value


def _item(value: Value, key: Value) -> Value:
    if isinstance(value, Mapping):
        if not isinstance(key, str):
            raise ValueError(f"value has type {kind(key)}; should be string")
        return value.get(key, None if isinstance(value, Arguments) else "")
    if not isinstance(value, list | str):
        raise ValueError(f"can't index item of type {kind(value)}")
    if not isinstance(key, int) or isinstance(key, bool):
        raise ValueError(f"cannot index slice/array with type {kind(key)}")
    items: Sequence[Any] = value.encode() if isinstance(value, str) else value
    if not 0 <= key < len(items):
        raise ValueError(f"index out of range: {key}")
    return items[key]


def _slice(state: State, value: Value, *bounds: Value) -> Value:
    if not isinstance(value, list | str) or len(bounds) > 2:
        raise ValueError(f"can't slice item of type {kind(value)}")
    if not all(isinstance(bound, int) and not isinstance(bound, bool) for bound in bounds):
        raise ValueError("cannot index slice/array with a type that is no whole number")
    items: Any = value.encode() if isinstance(value, str) else value
    start = bounds[0] if bounds else 0
    end = bounds[1] if len(bounds) > 1 else len(items)
    if not 0 <= start <= end <= len(items):
        raise ValueError(f"index out of range: {start}, {end}")
    part = items[start:end]
    return part.decode(errors="replace") if isinstance(part, bytes) else part


def _length(state: State, value: Value) -> int:
    if isinstance(value, str):
        return len(value.encode())
    if not isinstance(value, Mapping | list):
        raise ValueError(f"len of type {kind(value)}")
    return len(value)


def _query(state: State, expr: str) -> list[Sample]:
    try:
        return list(state.ask(expr))
    except QueryError as error:
        raise ValueError(str(error)) from None


def _first(state: State, samples: list[Sample]) -> Sample:
    if not samples:
        raise ValueError("first() called on vector with no elements")
    return samples[0]


def _sorted(state: State, label: str, samples: list[Sample]) -> list[Sample]:
    return sorted(samples, key=lambda sample: sample.labels.get(label, "").encode())


def _arguments(state: State, *given: Value) -> Arguments:
    return Arguments({f"arg{index}": value for index, value in enumerate(given)})


FUNCTIONS: dict[str, Function] = {
    name: _function(name, *parts)  # type: ignore[arg-type]
    for name, parts in {
        "not": (lambda state, value: not is_true(value), [""]),
        "eq": (_equal_to_any, [""], 1),
        "ne": (lambda state, a, b: not equal(a, b), ["", ""]),
        "lt": (lambda state, a, b: less(a, b), ["", ""]),
        "le": (lambda state, a, b: less(a, b) or equal(a, b), ["", ""]),
        "gt": (lambda state, a, b: not (less(a, b) or equal(a, b)), ["", ""]),
        "ge": (lambda state, a, b: not less(a, b), ["", ""]),
        "index": (_index, [""], 1),
        "slice": (_slice, [""], 1),
        "len": (_length, [""]),
        "print": (lambda state, *given: sprint(given), [""], 0),
        "println": (lambda state, *given: sprintln(given), [""], 0),
        "printf": (lambda state, layout, *given: sprintf(layout, given), ["string", ""], 1),
        "html": _joined(texts.html),
        "js": _joined(texts.js),
        "urlquery": _joined(texts.url_query),
        "query": (_query, ["string"]),
        "first": (_first, ["template.queryResult"]),
        "label": (lambda state, name, s: s.labels.get(name, ""), ["string", "*template.sample"]),
        "value": (lambda state, sample: sample.value, ["*template.sample"]),
        "strvalue": (lambda state, sample: sample.labels.get("__value__", ""), ["*template.sample"]),
        "sortByLabel": (_sorted, ["string", "template.queryResult"]),
        "args": (_arguments, [""], 0),
        "humanize": _number(humanize.humanize),
        "humanize1024": _number(humanize.humanize1024),
        "humanizeDuration": _number(humanize.humanize_duration),
        "humanizePercentage": _number(humanize.humanize_percentage),
        "humanizeTimestamp": _number(humanize.humanize_timestamp),
        "toTime": _number(Time.of),
        "toDuration": _number(Duration.of),
        "now": (lambda state: state.time_ms / 1000, []),
        "parseDuration": _text(lambda text: parse_duration(text) / 1000),
        "title": _text(texts.title),
        "toUpper": _text(str.upper),
        "toLower": _text(str.lower),
        "match": (lambda state, pattern, text: texts.matches(pattern, text), ["string", "string"]),
        "reReplaceAll": (
            lambda state, pattern, new, text: texts.replace_all(pattern, new, text),
            ["string", "string", "string"],
        ),
        "stripPort": _text(texts.strip_port),
        "stripDomain": _text(texts.strip_domain),
        "graphLink": _text(lambda expr: texts.graph_link(expr, 0)),
        "tableLink": _text(lambda expr: texts.graph_link(expr, 1)),
        "safeHtml": _text(str),
        "urlQueryEscape": _text(texts.url_query),
        "externalURL": (lambda state: state.around.external_url, []),
        "pathPrefix": (lambda state: urlsplit(state.around.external_url).path, []),
    }.items()
}
"""By name; each takes the state and its arguments. `and` and `or` are nodes: they stop once it is decided."""
