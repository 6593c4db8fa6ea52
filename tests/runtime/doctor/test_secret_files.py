"""The doctor looks at every file of a secret: none is left out because somebody adds a setting."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

from pydantic import BaseModel

from metricsmith import registry
from metricsmith.config.settings import Settings
from metricsmith.model.settings_types import names_secret_file

NO_SECRET = {"ca_file", "cert_file"}
LOOKED_AT_BY_NAME = {"config_file"}


def models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
        for field in annotation.model_fields.values():
            yield from models(field.annotation)
    for inner in get_args(annotation):
        yield from models(inner)


def test_each_setting_that_ends_with_file_is_marked_or_holds_no_secret() -> None:
    groups = ("sources", "processors", "sinks", "stores")
    configs = [registry.load(group, name).Config for group in groups for name in registry.known(group)]
    seen = {model for config in (Settings, *configs) for model in models(config)}
    fields = {
        (m.__name__, name): f for m in seen for name, f in m.model_fields.items() if name.endswith("_file")
    }
    marked = {name for (_, name), field in fields.items() if names_secret_file(field)}
    assert {"password_file", "credentials_file", "key_file", "secret_key_file", "kubeconfig_file"} <= marked
    assert {name for _, name in fields} - marked == NO_SECRET | LOOKED_AT_BY_NAME
