"""All values of typed settings, each with its place and the field that says what it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from metricsmith.model.yaml_lines import Path


@dataclass(frozen=True, slots=True)
class SettingValue:
    """A value that is no mapping, list or model; it is in the field `name` of `model`, however deep."""

    path: Path
    value: Any
    model: BaseModel
    name: str

    @property
    def field(self) -> FieldInfo:
        """The field that it is in."""
        return type(self.model).model_fields[self.name]

    @property
    def key(self) -> str:
        """The last word of its path."""
        return next(part for part in reversed(self.path) if isinstance(part, str))


def setting_values(model: BaseModel, path: Path = ()) -> Iterator[SettingValue]:
    """Yield every value of settings, in their order, with paths as in the file that they are read from."""
    for name, field in type(model).model_fields.items():
        yield from _values(getattr(model, name), (*path, field.alias or name), model, name)


def _values(value: Any, path: Path, model: BaseModel, name: str) -> Iterator[SettingValue]:
    match value:
        case BaseModel():
            yield from setting_values(value, path)
        case Mapping():
            for key, inner in value.items():
                yield from _values(inner, (*path, key), model, name)
        case list() | tuple():
            for at, inner in enumerate(value):
                yield from _values(inner, (*path, at), model, name)
        case _:
            yield SettingValue(path, value, model, name)
