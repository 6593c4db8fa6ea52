"""Secrets taken out of a configuration: in their place stand variables, `${SECRET_…}`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, SecretStr

from metricsmith.config.parts import Part
from metricsmith.config.settings import Settings
from metricsmith.config.shown import hides
from metricsmith.errors import ConfigError, Problem
from metricsmith.integration.generate.configured import REFERENCE, UNSET, Configured
from metricsmith.model.settings_types import file_of
from metricsmith.model.settings_values import setting_values
from metricsmith.model.yaml_lines import Path, show

_LONG = 12
"""Characters from which on a text is no word that stands somewhere else by chance."""
_COMMANDS = frozenset({"exec", "cli_args"})
_SECRET_OPTION = r"--?[\w-]*(?:pass|pwd|secret|token|key|cred)[\w-]*"
_OPTION = re.compile(_SECRET_OPTION, re.IGNORECASE)
_WITH_VALUE = re.compile(rf"(?:^|\s){_SECRET_OPTION}[=\s]\S", re.IGNORECASE)
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

    What is secret the types of settings say, and pages hide. A long secret is
    also known by its value, wherever it stands: none is left because somebody
    repeated it. In command lines, secret is what options such as `--token` are given.

    Raises:
        ConfigError: a text is half a secret and half a variable.
    """
    meaning = configured.meaning
    places = dict(_secrets(meaning.settings, ())) | dict(_secrets(meaning.store.config, ("storage",)))
    for group in ("sources", "processors", "sinks"):
        for i, part in enumerate(meaning.of(group)):
            places |= _of_part(part, (group, i))
    places |= dict(_in_commands(configured.data, ()))
    finder = _Finder(places, dict(configured.variables), meaning.file)
    data = finder.without(configured.data, ())
    if finder.problems:
        raise ConfigError(finder.problems)
    return Separated(data, dict(sorted(finder.variables.items())))


class _Finder:
    def __init__(self, places: Mapping[Path, str], variables: dict[str, str | None], file: str) -> None:
        self.places = {_folded(path): text for path, text in places.items()}
        self.variables, self.file = variables, file
        self.long = {text for text in places.values() if len(text) >= _LONG and UNSET not in text}
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
        # A number, where the settings want a text.
        return self._variable(self.places[_folded(path)], names) if _folded(path) in self.places else value

    def _text(self, text: str, path: Path, names: tuple[str, ...]) -> str:
        keys = [part for part in path if isinstance(part, str)]
        secret = _folded(path) in self.places or text in self.long or hides(keys, text)
        if not secret or not text or file_of(text) is not None:
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


def _folded(path: Path) -> Path:
    """Return a path as it is compared: some settings put names into upper case."""
    return tuple(part.lower() if isinstance(part, str) else part for part in path)


def _called(item: Any, index: int) -> str:
    named = (item.get("name") or item.get("type")) if isinstance(item, Mapping) else None
    return str(named or index)


def _in_commands(value: Any, path: Path, before: str = "") -> Iterator[tuple[Path, str]]:
    """Yield the words of command lines that an option says to be secret; a line in one text as a whole."""
    match value:
        case Mapping():
            for key, inner in value.items():
                yield from _in_commands(inner, (*path, key))
        case list():
            for i, inner in enumerate(value):
                former = value[i - 1] if i and isinstance(value[i - 1], str) else ""
                yield from _in_commands(inner, (*path, i), former)
        case str():
            told = _OPTION.fullmatch(before) and not value.startswith("-")
            if not _COMMANDS.isdisjoint(path) and (told or _WITH_VALUE.search(value)):
                yield path, value


def _of_part(part: Part, path: Path) -> dict[Path, str]:
    found = dict(_secrets(part.config, path))
    for i, own in enumerate(part.processors):
        found |= _of_part(own, (*path, "processors", i))
    return found


def _secrets(model: BaseModel, path: Path) -> Iterator[tuple[Path, str]]:
    """Yield every secret text in typed settings with its path, those of files aside: these are only named.

    What is kept out of logs, as files of integrations are, has secrets for texts.
    """
    for each in setting_values(model, path):
        if isinstance(each.value, SecretStr):
            if file_of(each.value) is None:
                yield each.path, each.value.get_secret_value()
        elif isinstance(each.value, str) and not each.field.repr and not isinstance(each.model, Settings):
            yield each.path, each.value
