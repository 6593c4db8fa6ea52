"""The YAML files of a package, made from the declaration: one source of truth for every agent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from metricsmith.integration.declaration import Declaration, Setting
from metricsmith.integration.generate.yaml_text import yaml_text
from metricsmith.integration.kinds import Kind
from metricsmith.integration.package.payload import is_inside

MADE = "# Made by `metricsmith integration build` from integration.yaml.\n"


def packaged_declaration(text: str, declaration: Declaration, version: str) -> str:
    """Return integration.yaml as it is in a package: what runs is an executable there."""
    data: dict[str, Any] = yaml.safe_load(text)
    identity = dict(data["integration"]) | {"version": version}
    identity.pop("files", None)
    if declaration.integration.kind is Kind.PYTHON:
        identity.pop("collector")
        identity |= {"kind": Kind.OHI.value, "command": [f"./{declaration.integration.name}"]}
    return MADE + yaml_text(
        {"integration": identity, **{k: v for k, v in data.items() if k != "integration"}}
    )


def command_of(declaration: Declaration) -> tuple[str, ...]:
    """Return the command line within a package."""
    identity = declaration.integration
    return (f"./{identity.name}",) if identity.kind is Kind.PYTHON else identity.command


def definition(declaration: Declaration, version: str, system: str) -> str:
    """Return definition.yml: what New Relic's agent before version 1.8 reads."""
    identity = declaration.integration
    protocol = 3 if identity.kind is Kind.EXEC else 4
    seconds = max(1, identity.interval // 1000)
    commands = {"metrics": {"command": list(command_of(declaration)), "interval": seconds}}
    description = identity.description or f"{identity.name} {version}"
    fields = {"name": identity.name, "description": description, "protocol_version": protocol}
    return MADE + yaml_text({**fields, "os": system, "commands": commands})


def integration_file(declaration: Declaration, folder: str, head: str = MADE) -> str:
    """Return the file for `integrations.d`, with what runs in a folder, absolute or beside the file."""
    identity = declaration.integration
    program, *rest = command_of(declaration)
    if is_inside(program) and folder.startswith("/"):
        program = f"{folder}/{program.removeprefix('./')}"
    entry: dict[str, Any] = {
        "name": identity.name,
        "exec": [program, *rest],
        "working_dir": folder,
        "interval": _seconds(identity.interval),
        "timeout": _seconds(identity.timeout),
    }
    values = _values(declaration)
    if values:
        entry["env"] = values
    missing = [s.name for s in declaration.settings if s.default is None and not s.secret and not s.example]
    todo = "".join(f"# To be set in `env`: {name}\n" for name in (*missing, *_secrets(declaration)))
    return head + todo + yaml_text({"integrations": [entry]})


def sample(declaration: Declaration) -> str:
    """Return config.yml.sample: the same, with every setting explained."""
    told = "".join(_explained(setting) for setting in declaration.settings)
    what = _one_line(declaration.integration.description)
    head = f"{MADE}# {what}\n" if what else MADE
    note = "# Goes into integrations.d, with paths as they are there.\n"
    return head + note + told + integration_file(declaration, "..", "")


def _seconds(duration_ms: int) -> str:
    """Return a duration as Go reads it: it knows no days."""
    return f"{duration_ms // 1000}s" if duration_ms % 1000 == 0 else f"{duration_ms}ms"


def _values(declaration: Declaration) -> Mapping[str, str]:
    known = ((s.name, s.default if s.default is not None else s.example) for s in declaration.settings)
    secret = set(_secrets(declaration))
    return {name: text for name, text in known if text and name not in secret}


def _secrets(declaration: Declaration) -> list[str]:
    return [setting.name for setting in declaration.settings if setting.secret]


def _explained(setting: Setting) -> str:
    how = "secret: `file:PATH` in metricsmith, or the environment of the agent" if setting.secret else ""
    default = f"default: {_one_line(setting.default)}" if setting.default is not None else "must be set"
    return f"#   {setting.name}: {_one_line(setting.help)} ({how or default})\n"


def _one_line(text: str) -> str:
    """Return a text without what some reader of YAML takes for the end of a comment."""
    return " ".join(text.split())
