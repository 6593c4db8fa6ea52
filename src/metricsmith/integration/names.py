"""Names of integrations, and what is made of them."""

from __future__ import annotations

import keyword
import re
import sys
from dataclasses import dataclass

MAX_NAME = 50
_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", re.ASCII)
_TAKEN = frozenset(("metricsmith", "test", "tests", "conftest"))
_NOT_ALLOWED = re.compile(r"[^a-z0-9]+")
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


@dataclass(frozen=True, slots=True)
class Names:
    """What an integration's parts are called.

    >>> Names("queue-depth").module, Names("queue-depth").prefix, Names("queue-depth").variable
    ('queue_depth', 'queue_depth', 'QUEUE_DEPTH')
    """

    name: str

    @property
    def module(self) -> str:
        """Its Python module and function."""
        return self.name.replace("-", "_")

    @property
    def prefix(self) -> str:
        """What its metrics' names begin with."""
        return self.module

    @property
    def variable(self) -> str:
        """What its environment variables begin with."""
        return self.module.upper()

    @property
    def camel(self) -> str:
        """What its event types and alerts begin with."""
        return "".join(word.capitalize() for word in self.name.split("-"))


def check_name(name: str) -> str:
    """Return the name of an integration.

    It becomes a file, a Python module, a prefix of metrics and a part of archive
    names, so it may hold only what all of these can.

    Raises:
        ValueError: with a name that would do, where one is near.
    """
    wanted = f"wanted a name such as queue-depth: small letters, digits and -, at most {MAX_NAME}"
    if len(name) > MAX_NAME or not _NAME.fullmatch(name):
        near = _NOT_ALLOWED.sub("-", _HUMP.sub("-", name[: 2 * MAX_NAME]).lower()).strip("-0123456789")
        near = near[:MAX_NAME].rstrip("-")
        near = f"{near}-metrics" if near and _is_taken(near) else near
        usable = _NAME.fullmatch(near) and len(near) <= MAX_NAME
        raise ValueError(f'got "{name[:60]}", {wanted}' + (f' (try "{near}")' if usable else ""))
    if _is_taken(name):
        raise ValueError(
            f'got "{name}", wanted a name that no module of Python has, for its file is imported'
            f' (try "{name}-metrics")'
        )
    return name


def _is_taken(name: str) -> bool:
    module = Names(name).module
    return keyword.iskeyword(module) or module in sys.stdlib_module_names or module in _TAKEN
