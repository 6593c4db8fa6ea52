"""YAML read into plain data that remembers the line of every value."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import yaml

from metricsmith.errors import ConfigError, Problem

MAX_BYTES = 4 << 20
MAX_NODES = 200_000
MAX_DEPTH = 50

Path: TypeAlias = tuple[str | int, ...]

_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
# There `${name}` is a group of the regular expression, not a variable.
_LITERAL_KEYS = frozenset({"regex", "replacement", "expr", "message"})


@dataclass(slots=True)
class Document:
    """Plain data, for each path in it the line (1-based) where it stands, and mistakes found on the way."""

    data: Any
    lines: dict[Path, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def line(self, path: Path) -> int:
        """Return the line of a path, or of its nearest ancestor that stands in the file; 0 if none."""
        while path not in self.lines and path:
            path = path[:-1]
        return self.lines.get(path, 0)


def show(path: Path) -> str:
    """Return a path as people write it.

    >>> show(("sources", 0, "interval"))
    'sources[0].interval'
    """
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else (f".{part}" if text else part)
    return text


def read_yaml(text: str, file: str, environment: Mapping[str, str] | None = None) -> Document:
    """Return the document in a YAML text, `${NAME}` replaced from the environment.

    Duplicate keys, aliases that blow up, unset variables and unknown tags are
    problems, not surprises.

    Raises:
        ConfigError: nothing can be read at all.
    """
    if len(text) > MAX_BYTES:
        raise ConfigError([Problem("", f"got {len(text)} characters, wanted at most {MAX_BYTES}", file)])
    try:
        root = yaml.compose(text, Loader=yaml.CSafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        detail = " ".join(part for part in (error.context, error.problem) if part)
        raise ConfigError([Problem("", f"not YAML: {detail}", file, line)]) from None
    except (yaml.YAMLError, RecursionError) as error:
        raise ConfigError([Problem("", f"not YAML: {str(error)[:200]}", file)]) from None
    reader = _Reader(file, os.environ if environment is None else environment)
    data = {} if root is None else reader.convert(root, ())
    return Document(data, reader.lines, reader.problems)


class _Reader:
    def __init__(self, file: str, environment: Mapping[str, str]) -> None:
        self.file = file
        self.environment = environment
        self.lines: dict[Path, int] = {}
        self.problems: list[Problem] = []
        self.nodes = 0
        self._constructor = yaml.SafeLoader("")

    def convert(self, node: yaml.Node, path: Path) -> Any:
        line = node.start_mark.line + 1
        self.lines.setdefault(path, line)
        self.nodes += 1
        if self.nodes > MAX_NODES or len(path) > MAX_DEPTH:
            problem = Problem(
                show(path), f"got more than {MAX_NODES} values or {MAX_DEPTH} levels", self.file, line
            )
            raise ConfigError([*self.problems, problem])
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.convert(child, (*path, i)) for i, child in enumerate(node.value)]
        return self._scalar(node, path, line)

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = str(key_node.value) if isinstance(key_node, yaml.ScalarNode) else "?"
            line = key_node.start_mark.line + 1
            if key in result:
                self._problem((*path, key), f'duplicate key "{key}"', line)
            self.lines[*path, key] = line
            result[key] = self.convert(value_node, (*path, key))
        return result

    def _scalar(self, node: yaml.Node, path: Path, line: int) -> Any:
        try:
            value = self._constructor.construct_object(node)
        except (yaml.YAMLError, ValueError) as error:
            self._problem(path, f"not a YAML value: {str(error).splitlines()[0]}", line)
            return None
        if isinstance(value, str) and (not path or path[-1] not in _LITERAL_KEYS):
            return _REFERENCE.sub(lambda m: self._variable(m[1], path, line), value)
        if isinstance(value, bool | int | str) or value is None:
            return value
        # Dates and other YAML 1.1 inventions stay the text that was written.
        return value if isinstance(value, float) and not math.isnan(value) else str(node.value)

    def _variable(self, name: str, path: Path, line: int) -> str:
        if name in self.environment:
            return self.environment[name]
        self._problem(path, f"environment variable {name} is not set", line)
        return ""

    def _problem(self, path: Path, message: str, line: int) -> None:
        self.problems.append(Problem(show(path), message, self.file, line))
