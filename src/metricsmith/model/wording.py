"""How mistakes are worded: what was got, what was wanted, and a hint, in the words of the file."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from metricsmith.model.settings_types import in_unit, nested_model
from metricsmith.model.yaml_lines import Path

ABSENT = "absent"
"""Error type of parts that miss one of several settings; it is not told beside a misspelt one."""

_SECRET_WORDS = (
    "password", "secret", "token", "credentials", "api_key", "license_key", "webhook_url", "notify",
)  # fmt: skip
_MORE_WORDS = {
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_parsing_size": "a smaller number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "string_type": "text",
    "model_type": "a mapping of keys to values",
    "model_attributes_type": "a mapping of keys to values",
    "dict_type": "a mapping of keys to values",
    "tuple_type": "a list",
    "list_type": "a list",
}
# Keys of Prometheus' configuration: the key of ours that takes their place, and how.
_PROMETHEUS_KEYS = {
    "global": ("sources", "interval and timeout are set in each source"),
    "scrape_configs": ("sources", "targets go under sources, with type: scrape"),
    "rule_files": ("rules", "rule files go under rules, as files"),
    "job_name": ("name", 'here it is "name"'),
    "scrape_interval": ("interval", 'here it is "interval"'),
    "scrape_timeout": ("timeout", 'here it is "timeout"'),
    "static_configs": ("targets", 'here "targets" and "labels" stand in the source itself'),
    "bearer_token": ("authorization", "here it is authorization: {credentials: …}"),
    "bearer_token_file": ("authorization", "here it is authorization: {credentials_file: …}"),
    "tls_config": ("tls", 'here it is "tls"'),
    "file_sd_configs": ("file_sd", 'here it is "file_sd", a mapping and no list'),
    "http_sd_configs": ("http_sd", 'here it is "http_sd", a mapping and no list'),
    "refresh_interval": ("refresh", 'here it is "refresh"'),
}


def nearest(word: str, known: Sequence[str]) -> str:
    """Return a hint that names the nearest known word; empty when none is near.

    >>> nearest("scrap", ["scrape", "push"]), nearest("=>", [">", ">=", "=="])
    ('did you mean "scrape"?', 'did you mean ">="?')
    """
    # The same characters in another order: in words of two, too few agree for the ratio to see it.
    near = [other for other in known if sorted(other) == sorted(word)]
    near += difflib.get_close_matches(word, known, 1)
    return f'did you mean "{near[0]}"?' if near else ""


def one_of(known: Sequence[str]) -> str:
    """Return known words as something that can be wanted."""
    return known[0] if len(known) == 1 else f"one of {', '.join(known)}"


def brief(value: Any) -> str:
    """Return a value as it is shown in a message."""
    match value:
        case None:
            return "nothing"
        case bool():
            return str(value).lower()
        case dict():
            return "a mapping"
        case list():
            return "a list"
        case str():
            return f'"{value[:60]}"'
    return str(value)[:60]


def mistakes(
    model: type[BaseModel], data: Any, path: Path, error: ValidationError, beside: Sequence[str] = ()
) -> Iterator[tuple[Path, str, str]]:
    """Yield place, message and hint for each mistake that validation found in `data`, which stands at `path`.

    `beside` are keys that may stand at the top of `model` besides its fields.
    """
    for detail in _causes(error):
        loc = tuple(part for part in detail["loc"] if part != "[key]")
        raw, here = _at(data, loc, detail["input"]), (*path, *loc)
        message, hint = _describe(model, here, detail, raw, beside)
        yield (path if detail["type"] == ABSENT else here), message, hint


def _causes(error: ValidationError) -> list[Any]:
    """Return the errors that do not follow from others: a list is short when its items were refused."""
    details = error.errors(include_url=False)
    misspelt = any(detail["type"] == "extra_forbidden" for detail in details)
    holders = {detail["loc"][:-1] for detail in details}

    def follows(detail: Any) -> bool:
        kind = detail["type"]
        return (kind == ABSENT and misspelt) or (kind == "too_short" and detail["loc"] in holders)

    return [detail for detail in details if not follows(detail)]


def _at(data: Any, loc: Path, default: Any) -> Any:
    """Return the value as it was written, not what validation made of it so far."""
    for part in loc:
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            return default
    return data


def _describe(
    model: type[BaseModel], path: Path, detail: Any, raw: Any, beside: Sequence[str]
) -> tuple[str, str]:
    """Return message and hint for one error of pydantic; `raw` is the value as it stands in the file."""
    kind = detail["type"]
    if kind == "extra_forbidden":
        key, known = str(path[-1]), [*_keys_beside(model, detail["loc"])]
        known += beside if len(detail["loc"]) == 1 else []
        ours, hint = _PROMETHEUS_KEYS.get(key, ("", ""))
        return "unknown key", hint if ours in known else nearest(key, known)
    if kind == "missing":
        return "missing, wanted a value", ""
    shown = _shown(path, raw)
    if kind in ("value_error", ABSENT):
        error = detail.get("ctx", {}).get("error", detail["msg"])
        return (str(error) if "got " in str(error) else f"got {shown}, wanted {error}"), ""
    wanted, hint = _wanted(model, detail), ""
    if kind in ("enum", "literal_error") and isinstance(raw, str):
        hint = nearest(raw, _options(detail))
    elif kind == "string_type" and isinstance(raw, bool | int | float):
        hint = "in quotes it is text"
    return f"got {shown}, wanted {wanted}", hint


def _wanted(model: type[BaseModel], detail: Any) -> str:
    kind, context = detail["type"], detail.get("ctx", {})
    if kind in _MORE_WORDS:
        return _MORE_WORDS[kind]
    match kind:
        case "enum" | "literal_error":
            return one_of(_options(detail))
        case "greater_than_equal":
            return f"at least {_limit(model, detail, context['ge'])}"
        case "less_than_equal":
            return f"at most {_limit(model, detail, context['le'])}"
        case "string_too_short":
            return f"text of at least {counted(context['min_length'], 'character')}"
        case "string_too_long":
            return f"text of at most {counted(context['max_length'], 'character')}"
        case "too_short":
            return f"at least {counted(context['min_length'], 'item')}"
        case "too_long":
            return f"at most {counted(context['max_length'], 'item')}"
        case "string_pattern_mismatch" if context["pattern"] == "^https?://":
            return "a URL that begins with http:// or https://"
        case "string_pattern_mismatch":
            return f"text that matches {context['pattern']}"
    return str(detail["msg"]).removeprefix("Input should be ").removeprefix("a valid ")


def counted(number: int, thing: str) -> str:
    """Return a number and what it counts, such as `2 items`."""
    return f"{number} {thing}" + ("" if number == 1 else "s")


def _options(detail: Any) -> list[str]:
    return str(detail["ctx"]["expected"]).replace("' or '", "', '").strip("'").split("', '")


def _limit(model: type[BaseModel], detail: Any, number: float) -> str:
    field = _field(model, detail["loc"])
    return str(number) if field is None else in_unit(field, number)


def _field(model: type[BaseModel], loc: Sequence[str | int]) -> FieldInfo | None:
    """Return the setting at a location, or the one that holds it in a list or mapping."""
    field: FieldInfo | None = None
    inner: type[BaseModel] | None = model
    for part in loc:
        if isinstance(part, int):
            continue
        if inner is None or part not in inner.model_fields:
            return field
        field = inner.model_fields[part]
        inner = nested_model(field.annotation)
    return field


def _keys_beside(model: type[BaseModel], loc: Sequence[str | int]) -> list[str]:
    holder = _field(model, loc[:-1])
    inner = model if holder is None else nested_model(holder.annotation)
    return [] if inner is None else [field.alias or name for name, field in inner.model_fields.items()]


def _shown(path: Path, value: Any) -> str:
    if any(word in str(part).lower() for part in path for word in _SECRET_WORDS):
        return "a secret (not shown)"
    return brief(value)
