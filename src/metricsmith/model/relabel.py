"""Relabel rules: pure functions from a label set to a label set, or to nothing."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from functools import lru_cache
from hashlib import md5
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from metricsmith.model.matchers import compile_anchored
from metricsmith.model.template import template

DEFAULT_REGEX = "(.*)"
DEFAULT_REPLACEMENT = "$1"
DEFAULT_SEPARATOR = ";"
LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*", re.ASCII)
_LABEL_TEMPLATE = re.compile(r"(?:[a-zA-Z_]|\$(?:\{\w+\}|\w+))(?:\w|\$\{\w+\}|\$\w)*", re.ASCII)


class Action(StrEnum):
    """What a relabel rule does."""

    REPLACE = "replace"
    KEEP = "keep"
    DROP = "drop"
    HASHMOD = "hashmod"
    LABELMAP = "labelmap"
    LABELDROP = "labeldrop"
    LABELKEEP = "labelkeep"
    LOWERCASE = "lowercase"
    UPPERCASE = "uppercase"
    KEEPEQUAL = "keepequal"
    DROPEQUAL = "dropequal"


_NEED_TARGET = {
    Action.REPLACE, Action.HASHMOD, Action.LOWERCASE, Action.UPPERCASE, Action.KEEPEQUAL, Action.DROPEQUAL,
}  # fmt: skip
_ONLY = {
    Action.LABELDROP: {"action", "regex"},
    Action.LABELKEEP: {"action", "regex"},
    Action.KEEPEQUAL: {"action", "source_labels", "target_label"},
    Action.DROPEQUAL: {"action", "source_labels", "target_label"},
}
"""Actions that ignore the other settings; setting one of those is a mistake and refused."""


class RelabelRule(BaseModel):
    """One step of `relabel_configs` or `metric_relabel_configs`, as Prometheus has it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source_labels: tuple[str, ...] = Field(
        (), max_length=100, description="Labels whose values are joined; an absent label is empty."
    )
    separator: str = Field(DEFAULT_SEPARATOR, description="Put between joined values.")
    regex: str = Field(
        DEFAULT_REGEX, max_length=10_000, description="RE2 pattern that must match the whole joined value."
    )
    modulus: int = Field(0, ge=0, lt=2**64, description="Modulus of the hash (hashmod).")
    target_label: str = Field(
        "", max_length=1000, description="Label that is written; `$1` is allowed (replace)."
    )
    replacement: str = Field(
        DEFAULT_REPLACEMENT, max_length=10_000, description="New value; `$1` and `${name}` are groups."
    )
    action: Action = Field(Action.REPLACE, description="What is done.")

    @model_validator(mode="after")
    def _check(self) -> RelabelRule:
        if self.action in _NEED_TARGET and not self.target_label:
            raise ValueError(f"got {self.action} without target_label, wanted the label to write or compare")
        if self.action is Action.HASHMOD and not self.modulus:
            raise ValueError("got hashmod without modulus, wanted modulus: 1 or more")
        surplus = self.model_fields_set - _ONLY.get(self.action, self.model_fields_set)
        if surplus:
            raise ValueError(f"got {', '.join(sorted(surplus))}, which {self.action} does not use")
        if self.action is Action.REPLACE:
            _check_name(_LABEL_TEMPLATE, "target_label", self.target_label)
        elif self.action in _NEED_TARGET:
            _check_name(LABEL_NAME, "target_label", self.target_label)
        elif self.action is Action.LABELMAP:
            _check_name(_LABEL_TEMPLATE, "replacement", self.replacement)
        compile_anchored(self.regex)
        return self

    def apply(self, labels: dict[str, str]) -> bool:
        """Change `labels` in place; return whether the label set is kept."""
        return _ACTIONS[self.action](self, labels)

    def _match(self, value: str) -> Any:
        return compile_anchored(self.regex).fullmatch(value)

    def _joined(self, labels: Mapping[str, str]) -> str:
        return self.separator.join([labels.get(name, "") for name in self.source_labels])


def relabel(labels: Mapping[str, str], rules: Sequence[RelabelRule]) -> dict[str, str] | None:
    """Return the label set after all rules, or None when one dropped it.

    Empty values are absent labels. Names that rules write are limited to
    `[a-zA-Z_][a-zA-Z0-9_]*`; another name deletes the label, as in Prometheus 2.

    Source:
        Prometheus `model/relabel`. Where a template in `target_label` meets an
        empty replacement, the expanded label is deleted (Prometheus 3); 2.x
        deletes the label named like the template itself, which is no label.

    >>> rule = RelabelRule(source_labels=("host",), regex="(.*):.*", target_label="name")
    >>> relabel({"host": "a:80"}, [rule])
    {'host': 'a:80', 'name': 'a'}
    """
    result = {name: value for name, value in labels.items() if value}
    for rule in rules:
        if not rule.apply(result):
            return None
    return result


def _check_name(pattern: re.Pattern[str], setting: str, name: str) -> None:
    if not pattern.fullmatch(name):
        raise ValueError(f"got {setting} {name!r}, wanted a label name such as environment")


def _put(labels: dict[str, str], name: str, value: str) -> None:
    if value:
        labels[name] = value
    else:
        labels.pop(name, None)


def _replace(rule: RelabelRule, labels: dict[str, str]) -> bool:
    match = rule._match(rule._joined(labels))
    if match is not None:
        target = template(rule.target_label).expand(match)
        if LABEL_NAME.fullmatch(target):
            _put(labels, target, template(rule.replacement).expand(match))
        else:
            labels.pop(rule.target_label, None)
    return True


def _keep(rule: RelabelRule, labels: dict[str, str]) -> bool:
    return rule._match(rule._joined(labels)) is not None


def _drop(rule: RelabelRule, labels: dict[str, str]) -> bool:
    return not _keep(rule, labels)


def _hashmod(rule: RelabelRule, labels: dict[str, str]) -> bool:
    digest = md5(rule._joined(labels).encode(), usedforsecurity=False).digest()
    labels[rule.target_label] = str(int.from_bytes(digest[8:], "big") % rule.modulus)
    return True


@lru_cache(maxsize=8192)
def _mapped(regex: str, replacement: str, name: str) -> str | None:
    """The new name of a label, None when it does not match: names are few, series are many."""
    match = compile_anchored(regex).fullmatch(name)
    return None if match is None else template(replacement).expand(match)


def _labelmap(rule: RelabelRule, labels: dict[str, str]) -> bool:
    for name, value in sorted(labels.items()):
        new_name = _mapped(rule.regex, rule.replacement, name)
        if new_name is not None:
            _put(labels, new_name, value)
    return True


def _labeldrop(rule: RelabelRule, labels: dict[str, str]) -> bool:
    for name in [n for n in labels if _mapped(rule.regex, "", n) is not None]:
        del labels[name]
    return True


def _labelkeep(rule: RelabelRule, labels: dict[str, str]) -> bool:
    for name in [n for n in labels if _mapped(rule.regex, "", n) is None]:
        del labels[name]
    return True


def _lower(text: str) -> str:
    # Go maps character by character to one character: no final sigma, no ß to SS.
    return text.lower() if text.isascii() else "".join([c.lower()[0] for c in text])


def _upper(text: str) -> str:
    if text.isascii():
        return text.upper()
    return "".join([next((m for m in (c.upper(), c.title()) if len(m) == 1), c) for c in text])


def _lowercase(rule: RelabelRule, labels: dict[str, str]) -> bool:
    _put(labels, rule.target_label, _lower(rule._joined(labels)))
    return True


def _uppercase(rule: RelabelRule, labels: dict[str, str]) -> bool:
    _put(labels, rule.target_label, _upper(rule._joined(labels)))
    return True


def _keepequal(rule: RelabelRule, labels: dict[str, str]) -> bool:
    return rule._joined(labels) == labels.get(rule.target_label, "")


def _dropequal(rule: RelabelRule, labels: dict[str, str]) -> bool:
    return not _keepequal(rule, labels)


_ACTIONS: dict[Action, Callable[[RelabelRule, dict[str, str]], bool]] = {
    Action.REPLACE: _replace,
    Action.KEEP: _keep,
    Action.DROP: _drop,
    Action.HASHMOD: _hashmod,
    Action.LABELMAP: _labelmap,
    Action.LABELDROP: _labeldrop,
    Action.LABELKEEP: _labelkeep,
    Action.LOWERCASE: _lowercase,
    Action.UPPERCASE: _uppercase,
    Action.KEEPEQUAL: _keepequal,
    Action.DROPEQUAL: _dropequal,
}
