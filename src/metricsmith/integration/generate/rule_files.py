"""The rule files of a configuration: read, and under names that can stand in one folder."""

from __future__ import annotations

import itertools
import re
from collections.abc import Container
from pathlib import Path

from metricsmith.errors import ConfigError
from metricsmith.integration.generate.configured import Configured
from metricsmith.packs import FOLDER as PACKS
from metricsmith.rules.ruleset import RuleSet
from metricsmith.runtime.rule_engine import RuleEngine
from metricsmith.runtime.rules import configured_files

_ODD = re.compile(r"[^A-Za-z0-9._-]+")


def read_rule_files(configured: Configured) -> RuleSet:
    """Return the rules of all packs and files that a configuration names.

    Raises:
        ConfigError: they have mistakes.
    """
    found = configured_files(configured.meaning, RuleEngine())
    if found.problems:
        raise ConfigError(found.problems)
    return found


def own_rule_files(configured: Configured) -> dict[str, str]:
    """Return the texts of rule files that are no packs', by a name for each.

    Raises:
        ConfigError: they have mistakes.
    """
    texts: dict[str, str] = {}
    for file in read_rule_files(configured).files:
        if not is_pack(file.name):
            name = free_name(f"{plain_stem(file.name)}.yml", texts)
            texts[name] = Path(file.name).read_text(encoding="utf-8")
    return texts


def is_pack(file: str) -> bool:
    """Return whether a rule file is that of a pack."""
    return Path(file).parent.parent == PACKS


def plain_stem(file: str) -> str:
    """Return the name of a file without its suffix, of characters that mean themselves everywhere.

    Keys of a ConfigMap may have no others, and in lists of files others are patterns.

    >>> plain_stem("rules/my rules [1].yml")
    'my-rules-1'
    """
    return _ODD.sub("-", Path(file).stem).strip("-.") or "rules"


def free_name(name: str, taken: Container[str]) -> str:
    """Return a name, with a number where it is taken.

    >>> free_name("a.yml", {"a.yml"})
    'a-2.yml'
    """
    path = Path(name)
    names = (str(path.with_stem(f"{path.stem}-{n}")) if n > 1 else name for n in itertools.count(1))
    return next(each for each in names if each not in taken)
