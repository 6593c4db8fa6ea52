"""Loading: YAML, then environment, then types, then parts; all mistakes at once."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any

from pydantic import BaseModel, ValidationError

from metricsmith import registry
from metricsmith.config import environment as env
from metricsmith.config.settings import Mode, Settings
from metricsmith.config.yaml_lines import Document, Path, read_yaml, show
from metricsmith.errors import ConfigError, Problem

_SECRET_WORDS = ("password", "secret", "token", "credentials", "api_key", "license_key")
_GROUPS = ("sources", "processors", "sinks")


@dataclass(frozen=True, slots=True)
class Part:
    """One configured source, processor or sink: equal parts need no restart at a reload."""

    group: str
    type: str
    name: str
    config: BaseModel


@dataclass(frozen=True, slots=True)
class Configuration:
    """Typed settings and parts, ready to run."""

    settings: Settings
    parts: tuple[Part, ...]
    file: str = ""

    def of(self, group: str) -> list[Part]:
        """Return the parts of a group, in order."""
        return [part for part in self.parts if part.group == group]


def load_file(path: str | FilePath | None, environment: Mapping[str, str] | None = None) -> Configuration:
    """Return the configuration of a file, or of the environment alone when there is none.

    Raises:
        ConfigError: with every problem found, each with file and line.
    """
    if path is None:
        return load_text("", "", environment)
    try:
        text = FilePath(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise ConfigError([Problem("", f"cannot be read: {reason}", str(path))]) from None
    return load_text(text, str(path), environment)


def load_text(text: str, file: str = "", environment: Mapping[str, str] | None = None) -> Configuration:
    """Return the configuration in a YAML text; `file` is its name in messages."""
    environment = os.environ if environment is None else environment
    document = read_yaml(text, file, environment)
    if not isinstance(document.data, dict):
        raise ConfigError(
            [Problem("", f"got {_brief(document.data)}, wanted sections such as service:", file, 1)]
        )
    checker = _Checker(document, file)
    checker.apply_overrides(env.overrides(environment))
    return checker.check()


class _Checker:
    def __init__(self, document: Document, file: str) -> None:
        self.document = document
        self.file = file
        self.variables: dict[Path, str] = {}
        self.problems = list(document.problems)

    def apply_overrides(self, overrides: Mapping[tuple[str, ...], tuple[str, Any]]) -> None:
        for path, (variable, value) in overrides.items():
            section = self.document.data
            for part in path[:-1]:
                if not isinstance(section.get(part), dict):
                    section[part] = {}
                section = section[part]
            section[path[-1]] = value
            self.variables[path] = variable

    def check(self) -> Configuration:
        data = {key: value for key, value in self.document.data.items() if value is not None}
        settings = self._validate(Settings, data, ())
        parts = [part for group in _GROUPS for part in self._parts(group, data.get(group) or [])]
        self._unique_names(parts)
        if self.problems or settings is None:
            raise ConfigError(sorted(self.problems, key=lambda p: p.line))
        return Configuration(_with_mode(settings, data), tuple(parts), self.file)

    def _parts(self, group: str, items: Any) -> list[Part]:
        if not isinstance(items, list):
            return []  # the settings model has reported it
        parts = (self._part(group, (group, i), item) for i, item in enumerate(items))
        return [part for part in parts if part is not None]

    def _part(self, group: str, path: Path, item: Any) -> Part | None:
        if not isinstance(item, dict) or not isinstance(item.get("type"), str):
            self._problem(path, f"got {_brief(item)}, wanted a mapping with a `type`")
            return None
        type_name = item["type"]
        try:
            cls = registry.load(group, type_name)
        except KeyError:
            hint = f"one of {', '.join(registry.known(group)) or 'none yet'}"
            self._problem(
                (*path, "type"),
                f'got "{type_name}", wanted {hint}',
                _nearest(type_name, registry.known(group)),
            )
            return None
        values = {key: value for key, value in item.items() if key != "type"}
        name = values.get("name", type_name)
        if "name" not in cls.Config.model_fields:
            values.pop("name", None)
        config = self._validate(cls.Config, values, path)
        return None if config is None else Part(group, type_name, str(name), config)

    def _unique_names(self, parts: Sequence[Part]) -> None:
        seen: set[tuple[str, str]] = set()
        for part in parts:
            if (part.group, part.name) in seen:
                self._problem(
                    (part.group,), f'two parts are called "{part.name}", wanted distinct names', "set `name`"
                )
            seen.add((part.group, part.name))

    def _validate(self, model: type[Any], data: Any, path: Path) -> Any:
        try:
            return model.model_validate(data)
        except ValidationError as error:
            for detail in error.errors(include_url=False):
                self._report(model, (*path, *detail["loc"]), detail)
            return None

    def _report(self, model: type[BaseModel], path: Path, detail: Any) -> None:
        kind = detail["type"]
        if kind == "extra_forbidden":
            known = _keys_beside(model, detail["loc"])
            self._problem(path, "unknown key", _nearest(str(path[-1]), known))
        elif kind == "missing":
            self._problem(path, "missing, wanted a value")
        elif kind == "value_error":
            self._problem(path, _message(path, detail))
        else:
            self._problem(path, f"got {_shown(path, detail['input'])}, wanted {_wanted(detail)}")

    def _problem(self, path: Path, message: str, hint: str = "") -> None:
        variable = self.variables.get(path)
        if variable:
            self.problems.append(Problem(show(path), message, f"environment variable {variable}", 0, hint))
        else:
            self.problems.append(Problem(show(path), message, self.file, self.document.line(path), hint))


def _with_mode(settings: Settings, data: Mapping[str, Any]) -> Settings:
    # A file that names a bus and no mode is a consumer's, as in the documents this format comes from.
    if settings.bus is None or "type" in (data.get("service") or {}):
        return settings
    service = settings.service.model_copy(update={"type": Mode.CONSUMER})
    return settings.model_copy(update={"service": service})


def _keys_beside(model: type[BaseModel], loc: Sequence[str | int]) -> list[str]:
    for part in loc[:-1]:
        if isinstance(part, int):
            continue
        field = model.model_fields.get(part)
        nested = env.nested_model(field.annotation) if field else None
        if nested is None:
            return []
        model = nested
    return [field.alias or name for name, field in model.model_fields.items()]


def _nearest(word: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(word, known, 1)
    return f'did you mean "{near[0]}"?' if near else ""


def _message(path: Path, detail: Any) -> str:
    message = (
        str(detail["ctx"]["error"]) if "ctx" in detail and "error" in detail["ctx"] else str(detail["msg"])
    )
    message = message.removeprefix("Value error, ")
    return message if "got " in message else f"got {_shown(path, detail['input'])}, wanted {message}"


def _wanted(detail: Any) -> str:
    context = detail.get("ctx", {})
    match detail["type"]:
        case "enum" | "literal_error":
            return f"one of {context['expected']}"
        case "greater_than_equal":
            return f"at least {context['ge']}"
        case "less_than_equal":
            return f"at most {context['le']}"
        case "model_type" | "model_attributes_type" | "dict_type":
            return "a mapping of keys to values"
        case "tuple_type" | "list_type":
            return "a list"
    return str(detail["msg"]).removeprefix("Input should be ").removeprefix("a valid ")


def _shown(path: Path, value: Any) -> str:
    if any(word in str(part).lower() for part in path for word in _SECRET_WORDS):
        return "a secret (not shown)"
    return _brief(value)


def _brief(value: Any) -> str:
    match value:
        case None:
            return "nothing"
        case dict():
            return "a mapping"
        case list():
            return "a list"
        case str():
            return f'"{value[:60]}"'
    return str(value)[:60]
