"""Secrets taken out of a configuration: in their place stand variables, `${SECRET_…}`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, SecretStr

from metricsmith.config.parts import Part
from metricsmith.config.shown import hides
from metricsmith.errors import ConfigError, Problem
from metricsmith.integration.generate.configured import REFERENCE, UNSET, Configured
from metricsmith.model.yaml_lines import Path, show

_FROM_FILE = "file:"
_PASSWORD = re.compile(r"://[^/\s@:]*:[^@\s]+@|[?&][^=\s&]+=[^&\s]+")


@dataclass(frozen=True, slots=True)
class Separated:
    """A configuration as written, without secrets, and the variables that it refers to now.

    A variable without a value is one that the author refers to and that is not
    set here.
    """

    data: dict[str, Any]
    variables: Mapping[str, str | None] = field(repr=False)


def separated(configured: Configured) -> Separated:
    """Return a configuration and its secrets, apart.

    What is secret is known by its value, wherever it stands: so that none is
    left because a path was overlooked.

    Raises:
        ConfigError: a text is half a secret and half a variable.
    """
    meaning = configured.meaning
    found = {*_secrets(meaning.settings), *(s for part in meaning.parts for s in _of_part(part))}
    finder = _Finder(frozenset(found - {"", UNSET}), dict(configured.variables), meaning.file)
    data = finder.without(configured.data, ())
    if finder.problems:
        raise ConfigError(finder.problems)
    return Separated(data, dict(sorted(finder.variables.items())))


class _Finder:
    def __init__(self, secrets: frozenset[str], variables: dict[str, str | None], file: str) -> None:
        self.secrets, self.variables, self.file = secrets, variables, file
        self.problems: list[Problem] = []
        self._names: dict[str, str] = {}

    def without(self, value: Any, path: Path, names: tuple[str, ...] = ()) -> Any:
        """Return a value with variables for its secrets; `names` are what people call the path."""
        match value:
            case Mapping():
                return {k: self.without(v, (*path, k), (*names, k)) for k, v in value.items()}
            case list():
                return [self.without(v, (*path, i), (*names, _called(v, i))) for i, v in enumerate(value)]
            case str():
                return self._text(value, path, names)
        return value

    def _text(self, text: str, path: Path, names: tuple[str, ...]) -> str:
        keys = [part for part in path if isinstance(part, str)]
        if text in self.secrets:
            return self._variable(text, names)
        if text.startswith(_FROM_FILE) or not hides(keys, text):
            return text
        if not REFERENCE.search(text):
            return self._variable(text, names)
        if _PASSWORD.search(REFERENCE.sub("", text)):
            wanted = "wanted the whole of it in one variable"
            self.problems.append(Problem(show(path), f"got a secret beside a variable, {wanted}", self.file))
        return text

    def _variable(self, secret: str, names: tuple[str, ...]) -> str:
        if secret not in self._names:
            plain = re.sub(r"[^A-Z0-9]+", "_", "_".join(("SECRET", *names)).upper())[:200]
            name, number = plain, 2
            while name in self.variables:
                name, number = f"{plain}_{number}", number + 1
            self.variables[name] = secret
            self._names[secret] = name
        return f"${{{self._names[secret]}}}"


def _called(item: Any, index: int) -> str:
    named = (item.get("name") or item.get("type")) if isinstance(item, Mapping) else None
    return str(named or index)


def _of_part(part: Part) -> Iterator[str]:
    yield from _secrets(part.config)
    for own in part.processors:
        yield from _of_part(own)


def _secrets(value: Any) -> Iterator[str]:
    """Yield every secret text in typed settings, those of files aside: these are only named there."""
    match value:
        case SecretStr():
            text = value.get_secret_value()
            if not text.startswith(_FROM_FILE):
                yield text
        case BaseModel():
            for name in type(value).model_fields:
                yield from _secrets(getattr(value, name))
        case Mapping():
            for inner in value.values():
                yield from _secrets(inner)
        case list() | tuple():
            for inner in value:
                yield from _secrets(inner)
