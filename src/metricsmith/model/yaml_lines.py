"""YAML read into plain data that remembers the line of every value."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import yaml

from metricsmith.errors import ConfigError, Problem
from metricsmith.model.yaml_guard import MAX_DEPTH, check_depth

MAX_BYTES = 4 << 20

Path: TypeAlias = tuple[str | int, ...]
Pair: TypeAlias = tuple[yaml.Node, yaml.Node]

_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
# There `${name}` is a group of the regular expression, not a variable.
_LITERAL_KEYS = frozenset({"regex", "replacement", "expr", "message"})
_MERGE = "tag:yaml.org,2002:merge"
_COLLECTIONS = frozenset({"tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"})


@dataclass(slots=True)
class Origins:
    """Where each setting comes from: a line (1-based) of the file, or an environment variable."""

    file: str
    lines: dict[Path, int] = field(default_factory=dict)
    variables: dict[Path, str] = field(default_factory=dict)

    def problem(self, path: Path, message: str, hint: str = "") -> Problem:
        """Return a problem of a setting that says where it comes from."""
        above = (path[:end] for end in range(len(path), 0, -1))  # a variable may give a whole list
        variable = next((self.variables[p] for p in above if p in self.variables), None)
        if variable:
            return Problem(show(path), message, f"environment variable {variable}", 0, hint)
        return Problem(show(path), message, self.file, self.line(path), hint)

    def line(self, path: Path) -> int:
        """Return the line of a path, or of its nearest ancestor that stands in the file; 0 if none."""
        while path not in self.lines and path:
            path = path[:-1]
        return self.lines.get(path, 0)

    def shallow(self) -> Origins:
        """Return those of settings, parts and rules alone: lines of targets are no use after loading."""
        rules = ("alerts", "rules")
        lines = {
            path: line
            for path, line in self.lines.items()
            if len(path) <= 2 or (len(path) == 3 and path[:2] == rules)
        }
        return Origins(self.file, lines, self.variables)


@dataclass(slots=True)
class Document:
    """Plain data, where each value comes from, and mistakes found on the way."""

    data: Any
    origins: Origins
    problems: list[Problem]


def show(path: Path) -> str:
    """Return a path as people write it.

    >>> show(("sources", 0, "interval"))
    'sources[0].interval'
    """
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else (f".{part}" if text else part)
    return text


def read_yaml(
    text: str, file: str, environment: Mapping[str, str] | None = None, *, as_written: bool = False
) -> Document:
    """Return the document in a YAML text, `${NAME}` replaced from the environment.

    Duplicate keys, aliases that blow up, unset variables and unknown tags are
    problems, not surprises. With `as_written`, every scalar but null is the
    text that stands there, `${NAME}` too: files whose values all are text.

    Raises:
        ConfigError: nothing can be read at all.
    """
    if len(text) > MAX_BYTES:
        raise ConfigError([Problem("", f"got {len(text)} characters, wanted at most {MAX_BYTES}", file)])
    text = text.removeprefix("\ufeff")
    try:
        check_depth(text)
        root = yaml.compose(text, Loader=yaml.CSafeLoader)
    except yaml.YAMLError as error:
        raise ConfigError([_not_yaml(error, text, file)]) from None
    except ValueError as error:
        raise ConfigError([Problem("", str(error), file)]) from None
    reader = _Reader(file, os.environ if environment is None else environment, as_written)
    data = {} if root is None else reader.convert(root, ())
    return Document(data, reader.origins, reader.problems)


def _not_yaml(error: yaml.YAMLError, text: str, file: str) -> Problem:
    if isinstance(error, yaml.reader.ReaderError):
        before = text.encode()[: error.position]
        message = f"not YAML: got the control character #x{error.character:02x}"
        return Problem("", message, file, before.count(b"\n") + 1)
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return Problem("", f"not YAML: {' '.join(str(error).split())[:200]}", file)
    line = error.problem_mark.line
    if "but found another document" in str(error.problem):
        return Problem("", "got a second document after ---, wanted one document", file, line + 1)
    detail = " ".join(part for part in (error.context, error.problem) if part)
    lines = text.splitlines()
    begin = lines[line][: error.problem_mark.column + 1] if line < len(lines) else ""
    hint = "a tab stands there; YAML is indented with spaces" if begin.strip(" -").startswith("\t") else ""
    return Problem("", f"not YAML: {detail}", file, line + 1, hint)


class _Reader:
    def __init__(self, file: str, environment: Mapping[str, str], as_written: bool) -> None:
        self.environment = environment
        self.as_written = as_written
        self.origins = Origins(file)
        self.problems: list[Problem] = []
        self._constructor = yaml.SafeLoader("")

    def convert(self, node: yaml.Node, path: Path) -> Any:
        line = node.start_mark.line + 1
        self.origins.lines.setdefault(path, line)
        if len(path) > MAX_DEPTH:  # aliases can nest deeper than the text does
            problem = self.origins.problem(path[:3], f"got more than {MAX_DEPTH} levels of nesting")
            raise ConfigError([*self.problems, problem])
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, path, line)
        if node.tag not in _COLLECTIONS:
            self._problem(path, f"got the tag {node.tag[:100]}, wanted plain values", line)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        return [self.convert(child, (*path, i)) for i, child in enumerate(node.value)]

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in self._own(node):
            key = _key(key_node)
            if key in result:
                self._problem((*path, key), f'duplicate key "{key}"', key_node.start_mark.line + 1)
            result[key] = self._value(key_node, value_node, path)
        for key_node, value_node in self._merged(node, path):
            if _key(key_node) not in result:
                result[_key(key_node)] = self._value(key_node, value_node, path)
        return result

    def _value(self, key: yaml.Node, value: yaml.Node, path: Path) -> Any:
        below = (*path, _key(key))
        self.origins.lines[below] = key.start_mark.line + 1
        return self.convert(value, below)

    def _own(self, node: yaml.MappingNode) -> list[Pair]:
        return [pair for pair in node.value if pair[0].tag != _MERGE]

    def _merged(self, node: yaml.MappingNode, path: Path) -> Iterator[Pair]:
        """Yield what `<<` brings, nearest first; the first pair of a key is the one that counts."""
        for key_node, value in node.value:
            if key_node.tag != _MERGE:
                continue
            for base in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                if isinstance(base, yaml.MappingNode):
                    yield from self._own(base)
                    yield from self._merged(base, path)
                else:
                    line = key_node.start_mark.line + 1
                    self._problem((*path, "<<"), "wanted an alias of a mapping, such as *base", line)

    def _scalar(self, node: yaml.Node, path: Path, line: int) -> Any:
        try:
            value = self._constructor.construct_object(node)
        except (yaml.YAMLError, ValueError) as error:
            self._problem(path, f"not a YAML value: {str(error).splitlines()[0]}", line)
            return None
        if self.as_written:
            return None if value is None else str(node.value)
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
        self.problems.append(Problem(show(path), message, self.origins.file, line))


def _key(node: yaml.Node) -> str:
    return str(node.value) if isinstance(node, yaml.ScalarNode) else "?"
