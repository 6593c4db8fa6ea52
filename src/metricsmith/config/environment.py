"""Environment variables that override settings: METRICSMITH_SECTION_KEY, and the short names of old."""

from __future__ import annotations

import difflib
import re
import typing
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from metricsmith.config.settings import Settings
from metricsmith.errors import Problem
from metricsmith.model.settings_types import DurationMs, SizeBytes, has_type, nested_model
from metricsmith.sdk.settings import VARIABLES

PREFIX = "METRICSMITH_"
OLD_PREFIX = "PLANTD_MODULE_METRIC_"
CONFIG = "CONFIG"
_OF_OTHERS = frozenset({CONFIG, "URL"}) | VARIABLES
"""No settings: the configuration file, the agent that commands ask, and what the SDK reads in apps."""

SHORT_NAMES: dict[str, tuple[str, ...]] = {
    "TYPE": ("service", "type"),
    "INTERVAL": ("service", "interval"),
    "RETENTION": ("storage", "retention"),
    "BATCH_SIZE": ("performance", "batch_size"),
    "FLUSH_INTERVAL": ("performance", "flush_interval"),
    "LOG_LEVEL": ("logging", "level"),
    "LOG_FORMAT": ("logging", "format"),
}
# As in YAML.
_BOOLEANS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
_INTEGER = re.compile(r"[+-]?[0-9]{1,30}")
# Kubernetes sets these for a service that is called metricsmith.
_FROM_KUBERNETES = re.compile(r"(SERVICE_HOST|SERVICE_PORT.*|PORT|PORT_\d+.*)")


def variables() -> dict[str, tuple[str, ...]]:
    """Return every variable, without prefix, and the path of the setting that it overrides.

    >>> variables()["SERVER_LISTEN"], variables()["LOG_LEVEL"]
    (('server', 'listen'), ('logging', 'level'))
    """
    return {"_".join(path).upper(): path for path in _paths(Settings, ())} | SHORT_NAMES


def config_path(environment: Mapping[str, str]) -> str | None:
    """Return the configuration file that the environment names, if it does."""
    return environment.get(PREFIX + CONFIG) or environment.get(OLD_PREFIX + CONFIG)


def overrides(environment: Mapping[str, str]) -> dict[tuple[str, ...], tuple[str, Any]]:
    """Return setting path → (variable, value) of all overrides; ours win over the old prefix."""
    known = variables()
    found: dict[tuple[str, ...], tuple[str, Any]] = {}
    for prefix in (OLD_PREFIX, PREFIX):
        # Short names first, so that the full name of the same setting wins over them.
        for variable in sorted(environment, key=lambda v: v.removeprefix(prefix) not in SHORT_NAMES):
            name = variable.removeprefix(prefix)
            if variable.startswith(prefix) and name in known:
                found[known[name]] = (variable, _value(known[name], environment[variable]))
    return found


def unknown(environment: Mapping[str, str]) -> list[Problem]:
    """Return a note for each variable that belongs to no setting.

    They are not refused: others may set variables that begin like ours.
    """
    known, notes = variables(), []
    for variable in sorted(environment):
        prefix = next((p for p in (PREFIX, OLD_PREFIX) if variable.startswith(p)), None)
        name = variable.removeprefix(prefix or "")
        if prefix is None or name in known or name in _OF_OTHERS or _FROM_KUBERNETES.fullmatch(name):
            continue
        near = difflib.get_close_matches(name, known, 1)
        hint = f"did you mean {prefix}{near[0]}?" if near else ""
        notes.append(Problem("", "belongs to no setting", f"environment variable {variable}", hint=hint))
    return notes


def _paths(model: type[BaseModel], above: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    for name, field in model.model_fields.items():
        nested = nested_model(field.annotation)
        if typing.get_origin(field.annotation) is tuple and (nested or not above):
            continue  # lists of models have no variable
        if nested is not None:
            yield from _paths(nested, (*above, name))
        else:
            yield (*above, name)


def _value(path: tuple[str, ...], text: str) -> Any:
    """Return what the text means for that setting; the text itself where it means nothing."""
    field = _field(path)
    if typing.get_origin(field.annotation) is tuple:
        return [part.strip() for part in text.split(",") if part.strip()]
    if has_type(field, DurationMs) or has_type(field, SizeBytes):
        return text
    kinds = (field.annotation, *typing.get_args(field.annotation))
    if bool in kinds:
        return _BOOLEANS.get(text.strip().lower(), text)
    if int in kinds and _INTEGER.fullmatch(text.strip()):
        return int(text)
    return text


def _field(path: tuple[str, ...]) -> FieldInfo:
    model: type[BaseModel] = Settings
    for part in path[:-1]:
        nested = nested_model(model.model_fields[part].annotation)
        assert nested is not None
        model = nested
    return model.model_fields[path[-1]]
