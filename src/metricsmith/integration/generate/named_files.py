"""The files that a configuration names: a container has none of them unless it is given them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, get_args

from pydantic import BaseModel, SecretStr

from metricsmith.config.load import Configuration
from metricsmith.model.settings_types import FilePathText
from metricsmith.model.yaml_lines import Path, show
from metricsmith.sinks.file.settings import FileSinkConfig
from metricsmith.sources.exec.settings import ExecConfig

_FROM_FILE = "file:"
_BESIDE = get_args(FilePathText)[1]
"""The mark of settings that are paths of files or folders, globs among them."""
_TAKEN_ALONG = ("rules", "files")


def named_files(meaning: Configuration) -> Iterator[tuple[str, str]]:
    """Yield each setting that names files to be read, and these; rule files aside, which are taken along."""
    yield from _in_model(meaning.settings, ())
    yield from _in_model(meaning.store.config, ("storage",))
    for group in ("sources", "processors", "sinks"):
        for i, part in enumerate(meaning.of(group)):
            if not isinstance(part.config, FileSinkConfig):
                yield from _in_model(part.config, (group, i))
            if isinstance(part.config, ExecConfig):
                yield from _programs(part.config, (group, i, "integrations"))


def _programs(config: ExecConfig, path: Path) -> Iterator[tuple[str, str]]:
    """Yield what integrations run, which an image of the agent alone does not have."""
    for i, each in enumerate(config.integrations):
        if each.exec:
            yield show((*path, i, "exec")), each.exec[0]
        else:
            yield show((*path, i, "name")), f"{each.name} of `binaries`"


def _in_model(model: BaseModel, path: Path) -> Iterator[tuple[str, str]]:
    for name, field in type(model).model_fields.items():
        below, value = (*path, field.alias or name), getattr(model, name)
        # Places where programs are looked for by default need not be there.
        looked_in = isinstance(value, tuple) and name not in model.model_fields_set
        if below != _TAKEN_ALONG and not looked_in:
            marked = _BESIDE in field.metadata or _is_path(field.annotation)
            yield from _in_value(value, below, marked)


def _in_value(value: Any, path: Path, marked: bool) -> Iterator[tuple[str, str]]:
    match value:
        case BaseModel():
            yield from _in_model(value, path)
        case Mapping():
            for key, inner in value.items():
                yield from _in_value(inner, (*path, key), marked)
        case list() | tuple():
            for i, inner in enumerate(value):
                yield from _in_value(inner, (*path, i), marked)
        case SecretStr():
            text = value.get_secret_value()
            if text.startswith(_FROM_FILE):
                yield show(path), text.removeprefix(_FROM_FILE)
        case str():
            if marked and value:
                yield show(path), value


def _is_path(annotation: Any) -> bool:
    return any(each == _BESIDE or _is_path(each) for each in get_args(annotation))
