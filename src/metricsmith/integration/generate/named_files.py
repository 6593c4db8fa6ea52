"""The files that a configuration names: a container has none of them unless it is given them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from metricsmith.config.load import Configuration
from metricsmith.model.settings_types import FilePathText, file_of
from metricsmith.model.settings_values import SettingValue, setting_values
from metricsmith.model.yaml_lines import Path, show
from metricsmith.sinks.file.settings import FileSinkConfig
from metricsmith.sources.exec.settings import ExecConfig

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
    for each in setting_values(model, path):
        if each.path[: len(_TAKEN_ALONG)] == _TAKEN_ALONG or _is_looked_in(each):
            continue
        if isinstance(each.value, SecretStr):
            if named := file_of(each.value):
                yield show(each.path), named
        elif isinstance(each.value, str) and each.value and _names_path(each.field):
            yield show(each.path), each.value


def _is_looked_in(each: SettingValue) -> bool:
    """Return whether it is a place where programs are looked for by default: it need not be there."""
    return each.name not in each.model.model_fields_set and isinstance(getattr(each.model, each.name), tuple)


def _names_path(field: FieldInfo) -> bool:
    return _BESIDE in field.metadata or _is_path(field.annotation)


def _is_path(annotation: Any) -> bool:
    return any(each == _BESIDE or _is_path(each) for each in get_args(annotation))
