"""Loading: YAML, then environment, then types, then parts; all mistakes at once."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any

from pydantic import ValidationError

from metricsmith import registry
from metricsmith.config import environment as env
from metricsmith.config.notes import notes
from metricsmith.config.parts import STORAGE, Part
from metricsmith.config.presets import conversions, preset_parts
from metricsmith.config.settings import Mode, Settings, StorageSettings
from metricsmith.contracts import SinkConfig
from metricsmith.errors import ConfigError, MissingExtra, Problem
from metricsmith.model.file_kinds import CONFIGURATION, refuse_other_kinds
from metricsmith.model.settings_types import context_of
from metricsmith.model.wording import brief, mistakes, nearest, one_of
from metricsmith.model.yaml_lines import Document, Origins, Path, read_yaml
from metricsmith.net.bus_settings import SocketSettings
from metricsmith.store_contracts import Delivered

MAX_NAME = 200
MAX_OWN_PROCESSORS = 100
_GROUPS = ("sources", "processors", "sinks")
_OF_EVERY_PART = ("type", "name")
_RESERVED = {("sources", "self"): "the agent's own metrics"}
_STORES_SINK = "the sink that writes the store (storage.type)"
_DEFAULT_STORE = StorageSettings.model_fields["type"].default


@dataclass(frozen=True, slots=True)
class Configuration:
    """Typed settings and parts, ready to run, and what their author should know of them."""

    settings: Settings
    parts: tuple[Part, ...]
    notes: tuple[Problem, ...]
    origins: Origins = field(repr=False)

    @property
    def file(self) -> str:
        """The file's name; empty when there is none."""
        return self.origins.file

    @property
    def store(self) -> Part:
        """The store."""
        return next(part for part in self.parts if part.group == "stores")

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
    refuse_other_kinds(document, CONFIGURATION)
    if not isinstance(document.data, dict):
        raise ConfigError(
            [Problem("", f"got {brief(document.data)}, wanted sections such as service:", file, 1)]
        )
    checker = _Checker(document)
    checker.apply_overrides(env.overrides(environment))
    return checker.check(env.unknown(environment))


class _Checker:
    def __init__(self, document: Document) -> None:
        self.document = document
        self.origins = document.origins
        self.problems = list(document.problems)
        self._reserved: Mapping[tuple[str, str], str] = {}
        # What the file does not give, such as an unset variable, is not told to be wrong as well.
        self._known_bad = {problem.path for problem in document.problems}

    def apply_overrides(self, overrides: Mapping[tuple[str, ...], tuple[str, Any]]) -> None:
        for path, (variable, value) in overrides.items():
            section = self.document.data
            for part in path[:-1]:
                if section.get(part) is None:
                    section[part] = {}
                section = section[part]
                if not isinstance(section, dict):
                    break  # that the file has no mapping here is told, and a variable does not mend it
            else:
                section[path[-1]] = value
                self.origins.variables[path] = variable

    def check(self, unknown_variables: list[Problem]) -> Configuration:
        data = {key: value for key, value in self.document.data.items() if value is not None}
        section = data.get("storage", {})
        store_class = self._store_class(section)
        settings = self._validate(Settings, data | {"storage": _flat(section, store_class)}, ())
        store = self._store(section, store_class)
        self._reserved = _RESERVED | ({("sinks", STORAGE): _STORES_SINK} if _is_written(store_class) else {})
        parts: dict[Path, Part] = {}
        for group in _GROUPS:
            items = data.get(group)
            if isinstance(items, list):  # else the settings model has reported it
                parts |= self._parts(group, items)
                self._unique_names(group, items)
        if self.problems or settings is None or store is None:
            raise ConfigError(sorted(self.problems, key=lambda p: p.line))
        settings = _with_mode(settings, data)
        configs = {path: part.config for path, part in parts.items()}
        told = [*unknown_variables, *notes(settings, configs, self.origins), *self._not_used(store, settings)]
        told.sort(key=lambda note: note.line)
        every = (*parts.values(), *self._presets(settings, data), store)
        return Configuration(settings, every, tuple(told), self.origins.shallow())

    def _presets(self, settings: Settings, data: Mapping[str, Any]) -> tuple[Part, ...]:
        """Return the parts of the mode, which take keys from the file that may be those of the other side.

        Raises:
            ConfigError: one has not the keys that it needs.
        """
        found = tuple(preset_parts(settings, data, self.origins.file))
        for part in found:
            absent = part.config.absent_key() if isinstance(part.config, SocketSettings) else None
            if absent is not None:
                self._problem(("bus", "curve", absent[0]), absent[1])
                raise ConfigError(self.problems)
        return found

    def _store_class(self, section: Any) -> Any:
        name = section.get("type", _DEFAULT_STORE) if isinstance(section, dict) else _DEFAULT_STORE
        cls = self._class("stores", ("storage",), {"type": name})
        self._once()
        return cls

    def _store(self, section: Any, cls: Any) -> Part | None:
        """Return the store that the flat section describes, with those of its keys that are of its type."""
        if cls is None or not isinstance(section, dict):
            return None
        name = section.get("type", _DEFAULT_STORE)
        own = {key: value for key, value in section.items() if key in cls.Config.model_fields}
        self._once()
        config = self._validate(cls.Config, own, ("storage",))
        return None if config is None else Part("stores", name, STORAGE, config)

    def _once(self) -> None:
        """Have what is told to be wrong not told a second time."""
        self._known_bad |= {problem.path for problem in self.problems}

    def _not_used(self, store: Part, settings: Settings) -> Iterator[Problem]:
        """Yield a note for each key that only other types of stores use."""
        for key in sorted(settings.storage.model_fields_set - {"type"}):
            if key not in type(store.config).model_fields:
                yield self.origins.problem(("storage", key), f'is not used by storage of type "{store.type}"')

    def _parts(self, group: str, items: list[Any]) -> Iterator[tuple[Path, Part]]:
        for i, item in enumerate(items):
            part = self._part(group, (group, i), item)
            if part is not None:
                yield (group, i), part

    def _part(self, group: str, path: Path, item: Any) -> Part | None:
        cls = self._class(group, path, item)
        if cls is None:
            return None
        values = {key: value for key, value in item.items() if key != "type"}
        own = self._own_processors(path, values.pop("processors", None)) if group == "sinks" else ()
        name = values.get("name", item["type"])
        if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME:
            self._problem((*path, "name"), f"got {brief(name)}, wanted text of 1 to {MAX_NAME} characters")
        if "name" not in cls.Config.model_fields:
            values.pop("name", None)
        config = self._validate(cls.Config, values, path)
        if isinstance(config, SinkConfig):
            own += conversions(config)
        return None if config is None else Part(group, item["type"], str(name), config, own)

    def _own_processors(self, path: Path, items: Any) -> tuple[Part, ...]:
        if items is None:
            return ()
        if not isinstance(items, list) or len(items) > MAX_OWN_PROCESSORS:
            wanted = f"wanted a list of at most {MAX_OWN_PROCESSORS} processors"
            self._problem((*path, "processors"), f"got {brief(items)}, {wanted}")
            return ()
        found = [self._part("processors", (*path, "processors", i), item) for i, item in enumerate(items)]
        return tuple(part for part in found if part is not None)

    def _class(self, group: str, path: Path, item: Any) -> Any:
        name = item.get("type") if isinstance(item, dict) else None
        if isinstance(name, str):
            try:
                return registry.load(group, name)
            except KeyError:
                pass
            except MissingExtra as error:  # says which
                self._problem((*path, "type"), f"got {brief(name)}: {error}")
                return None
        known = registry.known(group)
        if not known:
            self._problem(path, f"no {group} can be configured in this version yet")
        elif not isinstance(item, dict):
            self._problem(path, f"got {brief(item)}, wanted a mapping with a `type`")
        elif name is None:
            self._problem(path, f"`type` is missing, wanted {one_of(known)}")
        else:
            hint = nearest(str(name), known)
            self._problem((*path, "type"), f"got {brief(name)}, wanted {one_of(known)}", hint)
        return None

    def _unique_names(self, group: str, items: list[Any]) -> None:
        mappings = {(group, i): item for i, item in enumerate(items) if isinstance(item, dict)}
        seen: dict[str, Path] = {}
        for path, item in mappings.items():
            name = item.get("name", item.get("type"))
            if not isinstance(name, str) or not name:
                continue
            if name in seen:
                first = self.origins.line(seen[name])
                message = f'a second part is called "{name}", wanted distinct names'
                hint = f"the first is on line {first}; set `name`"
                self._problem((*path, "name") if "name" in item else path, message, hint)
            elif (whose := self._reserved.get((group, name))) and item.get("type") != name:
                self._problem((*path, "name"), f"got the name of {whose}, wanted another")
            seen.setdefault(name, path)

    def _validate(self, model: type[Any], data: Any, path: Path) -> Any:
        try:
            return model.model_validate(data, context=context_of(self.origins.file))
        except ValidationError as error:
            for mistake in mistakes(model, data, path, error, _OF_EVERY_PART if path else ()):
                self._problem(*mistake)
            return None

    def _problem(self, path: Path, message: str, hint: str = "") -> None:
        problem = self.origins.problem(path, message, hint)
        if problem.path not in self._known_bad:
            self.problems.append(problem)


def _is_written(cls: Any) -> bool:
    return isinstance(cls, type) and issubclass(cls, Delivered)


def _flat(section: Any, cls: Any) -> Any:
    """Return the section of the store without what only its own type has settings for."""
    if not isinstance(section, dict) or cls is None:
        return section
    known = StorageSettings.model_fields
    return {key: v for key, v in section.items() if key in known or key not in cls.Config.model_fields}


def _with_mode(settings: Settings, data: Mapping[str, Any]) -> Settings:
    service = settings.service
    # A file that names a bus and no mode is a consumer's, as in the documents this format comes from.
    if settings.bus is not None and "type" not in (data.get("service") or {}):
        service = service.model_copy(update={"type": Mode.CONSUMER})
    alerts = settings.alerts
    # One file may start both sides: the consumer has the data of all, and alerts once.
    if service.type is Mode.PRODUCER:
        alerts = alerts.model_copy(update={"enabled": False})
    return settings.model_copy(update={"service": service, "alerts": alerts})
