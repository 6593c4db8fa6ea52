"""One rule file: YAML, then groups, then rules; all mistakes at once, each with its line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path as FilePath
from typing import Any

from pydantic import BaseModel, ValidationError

from metricsmith.errors import ConfigError, ParseError, Problem, QueryError, TemplateError, line_and_column
from metricsmith.model.file_kinds import RULE_FILE, refuse_other_kinds
from metricsmith.model.wording import brief, mistakes, nearest, one_of
from metricsmith.model.yaml_lines import MAX_BYTES, Document, Path, read_yaml
from metricsmith.rules.kinds import KINDS, SINGLE
from metricsmith.rules.lint import remarks
from metricsmith.rules.model import Engine, Group, Origin, Rule
from metricsmith.rules.schema import MAX_EXPR, MAX_RULES, MAX_TEMPLATE, FileConfig, GroupConfig
from metricsmith.rules.templates import parse_template

_BLOCK = re.compile(r"(?:^|[:-])\s*(?:[!&]\S+\s+)*\|[0-9+-]*\s*(?:#.*)?$")


@dataclass(frozen=True, slots=True)
class RuleFile:
    """What a file gave. With problems, `groups` holds the rules that have none."""

    name: str
    groups: tuple[Group, ...] = ()
    problems: tuple[Problem, ...] = ()
    notes: tuple[Problem, ...] = ()


def read_rule_file(name: str, engine: Engine, default_interval_ms: int) -> RuleFile:
    """Return the groups and mistakes of a file; one that cannot be read is a mistake too."""
    try:
        text = read_text(name)
    except ConfigError as error:
        return RuleFile(name, problems=error.problems)
    return read_rule_text(text, name, engine, default_interval_ms)


def read_text(name: str) -> str:
    """Return the text of a file.

    Raises:
        ConfigError: it cannot be read.
    """
    path = FilePath(name)
    try:
        if not path.is_file():
            raise OSError(0, "not a file")
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1).decode()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise ConfigError([Problem("", f"cannot be read: {reason}", name)]) from None


def read_rule_text(text: str, name: str, engine: Engine, default_interval_ms: int) -> RuleFile:
    """Return the groups and mistakes in a YAML text; `name` stands for it in messages and keys."""
    try:
        document = read_yaml(text, name, {}, as_written=True)
        refuse_other_kinds(document, RULE_FILE)
    except ConfigError as error:
        return RuleFile(name, problems=error.problems)
    reader = _Reader(document, text, name, engine, default_interval_ms)
    groups = tuple(reader.groups(document.data))
    problems = sorted(reader.problems, key=lambda problem: problem.line)
    notes = sorted([*reader.notes, *remarks(groups, engine)], key=lambda note: note.line)
    return RuleFile(name, groups, tuple(problems), tuple(notes))


class _Reader:
    def __init__(
        self, document: Document, text: str, name: str, engine: Engine, default_interval_ms: int
    ) -> None:
        self.origins = document.origins
        self.problems = list(document.problems)
        self.notes: list[Problem] = []
        self._named: dict[tuple[str, str], int] = {}
        self._lines = text.splitlines()
        self._name = name
        self._engine = engine
        self._default_interval_ms = default_interval_ms

    def groups(self, data: Any) -> Iterator[Group]:
        file = self._validate(FileConfig, data, ())
        if file is None:
            return
        rules = sum(len(group.get("rules") or ()) for group in file.groups if isinstance(group, dict))
        if rules > MAX_RULES:
            self._problem(("groups",), f"got {rules} rules, wanted at most {MAX_RULES} in a file")
            return
        lines: dict[str, int] = {}
        for index, item in enumerate(file.groups):
            path: Path = ("groups", index)
            config = self._validate(GroupConfig, item, path)
            if self._is_second(item, path, lines) or config is None:
                self._look_into(item, path)
            else:
                yield self._group(config, path)

    def _is_second(self, item: Any, path: Path, lines: dict[str, int]) -> bool:
        """Return whether a group before it, good or bad, has its name, which is a mistake."""
        name = item.get("name") if isinstance(item, dict) else None
        if not isinstance(name, str) or not name:
            return False
        if name not in lines:
            lines[name] = self.origins.line(path)
            return False
        message = f'a second group is called "{name}", wanted distinct names'
        self._problem((*path, "name"), message, f"the first is on line {lines[name]}")
        return True

    def _look_into(self, item: Any, path: Path) -> None:
        """Find the mistakes in the rules of a group that is refused."""
        rules = item.get("rules") if isinstance(item, dict) else None
        for index, rule in enumerate(rules if isinstance(rules, list) else ()):
            self._rules(rule, (*path, "rules", index), self._default_interval_ms)

    def _group(self, config: GroupConfig, path: Path) -> Group:
        interval_ms = config.interval or self._default_interval_ms
        rules = [
            rule
            for index, item in enumerate(config.rules)
            for rule in self._rules(item, (*path, "rules", index), interval_ms)
        ]
        return Group(
            config.name,
            self._name,
            interval_ms,
            tuple(rules),
            config.limit,
            config.query_offset,
            config.labels,
        )

    def _rules(self, item: Any, path: Path, interval_ms: int) -> tuple[Rule, ...]:
        """Return the rules that an item stands for; none when it has a mistake."""
        kind = self._kind(item, path)
        if kind is None:
            return ()
        before = len(self.problems)
        config = self._validate(KINDS[kind].config, item, path, kind)
        self._check_texts(item, path, kind)
        for key, expr in KINDS[kind].parts(config) if len(self.problems) == before else ():
            self._check_expr(expr, (*path, key))
        if kind in SINGLE and config is not None:
            self._name_once(kind, getattr(config, kind), path)
        if config is None or len(self.problems) > before:
            return ()
        try:
            rules = KINDS[kind].expand(config, Origin(self._name, self.origins.line(path)), interval_ms)
        except ValueError as error:
            self._problem((*path, kind), str(error))
            return ()
        for rule in rules if kind not in ("record", "alert") else ():
            self._check_expr(rule.expr, path)
            if len(self.problems) > before:  # the others would say the same
                return ()
        self.notes += [self.origins.problem((*path, kind), text) for text in KINDS[kind].remarks(config)]
        return rules

    def _name_once(self, kind: str, name: str, path: Path) -> None:
        """Refuse a name that another rule of the file has: both would record the same series."""
        line = self.origins.line(path)
        first = self._named.setdefault((kind, name), line)
        if first != line:
            message = f'a second {kind} is called "{name}", wanted distinct names'
            self._problem((*path, kind), message, f"the first is on line {first}")

    def _kind(self, item: Any, path: Path) -> str | None:
        if not isinstance(item, dict):
            self._problem(path, f"got {brief(item)}, wanted a rule with {one_of([*KINDS])}")
            return None
        found = [key for key in KINDS if key in item]
        if len(found) == 1:
            return found[0]
        if found:
            self._problem(path, f"got both {' and '.join(found)}, wanted one of them")
        else:
            hints = [nearest(key, [*KINDS]) for key in item]
            self._problem(path, f"got a rule without {one_of([*KINDS])}", next(filter(None, hints), ""))
        return None

    def _check_texts(self, item: dict[str, Any], path: Path, kind: str) -> None:
        expr = item.get("expr")
        if isinstance(expr, str) and 0 < len(expr) <= MAX_EXPR:
            self._check_expr(expr, (*path, "expr"))
        if kind == "record":
            return  # its labels are no templates
        for section in ("labels", "annotations"):
            texts = item.get(section)
            for name, text in texts.items() if isinstance(texts, dict) else ():
                if isinstance(text, str) and len(text) <= MAX_TEMPLATE:
                    self._check_template(text, (*path, section, name))

    def _check_expr(self, expr: str, path: Path) -> None:
        try:
            self._engine.check(expr)
        except ParseError as error:
            self._inside(path, expr, error.position, str(error))
        except QueryError as error:
            self._problem(path, str(error))

    def _check_template(self, text: str, path: Path) -> None:
        try:
            parse_template(text)
        except TemplateError as error:
            self._inside(path, text, error.position, f"the template does not parse: {error}")

    def _inside(self, path: Path, text: str, position: int, message: str) -> None:
        """Report a mistake within a text, at its own line where the text stands line by line in the file."""
        problem = self.origins.problem(path, message)
        line = problem.line
        if 0 < line <= len(self._lines) and _BLOCK.search(self._lines[line - 1]):
            line += line_and_column(text, min(position, len(text.rstrip()) - 1))[0]
        self.problems.append(replace(problem, line=line))

    def _validate(self, model: type[Any], data: Any, path: Path, kind: str = "") -> Any:
        if not isinstance(data, dict):
            self._problem(path, f"got {brief(data)}, wanted a mapping with {one_of([*_keys(model)])}")
            return None
        given = {key: value for key, value in data.items() if value is not None}
        try:
            return model.model_validate(given)
        except ValidationError as error:
            for place, message, hint in mistakes(model, given, path, error):
                self._problem(place, message, _belongs(place, kind) or hint)
            return None

    def _problem(self, path: Path, message: str, hint: str = "") -> None:
        self.problems.append(self.origins.problem(path, message, hint))


def _keys(model: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()]


def _belongs(place: Path, kind: str) -> str:
    """Return a hint for a key that only rules of another kind have."""
    if not kind or place[-1] in _keys(KINDS[kind].config):
        return ""
    others = [other for other, its in KINDS.items() if place[-1] in _keys(its.config)]
    return f"only rules with {one_of(others)} have it" if others else ""
