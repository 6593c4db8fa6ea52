"""YAML that every reader takes for the same data, those of YAML 1.1 and of 1.2."""

from __future__ import annotations

import re
from typing import Any

import yaml

# Words with a letter first are text to every reader but for these; what begins with a digit or a sign may
# be a number to one (1e3, 0o17, 1_000, 12:30:00) and text to another, so it is quoted.
_PLAIN = re.compile(r"[A-Za-z/][A-Za-z0-9_./-]*( [A-Za-z0-9_./-]+)*")
_WORDS = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan", "inf"})


class _Dumper(yaml.SafeDumper):
    """Quotes what could be read in two ways, writes long texts line by line, repeats instead of aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def _text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    plain = _PLAIN.fullmatch(text) and text.lower() not in _WORDS
    style = None if plain else "|" if "\n" in text else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def yaml_text(data: Any) -> str:
    """Return plain data as one YAML document, keys in their order.

    >>> print(yaml_text({"a": "on", "b": ["1e3", "plain text"]}), end="")
    a: "on"
    b:
      - "1e3"
      - plain text
    """
    text: str = yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1000)
    return text
