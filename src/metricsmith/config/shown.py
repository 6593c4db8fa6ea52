"""The configuration as plain data for pages: complete, in the file's own words, without secrets."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from metricsmith.config.load import Configuration

HIDDEN = "<secret>"
_GROUPS = ("sources", "processors", "sinks")
_SECRET = frozenset({"webhook_url", "params"})
"""Settings that hold keys, though their type does not say so: a webhook's address, tokens in queries."""
_MASK = re.compile(r"\*{10}")  # how pydantic writes a secret
_URL = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*://)([^\s@]*@)?([^\s?#]*)([?#]\S*)?")


def shown(configuration: Configuration) -> dict[str, Any]:
    """Return every setting in effect, defaults among them; those without a value are left out.

    Hidden are secrets, the values of `params`, webhooks, and in addresses the
    user, password and query.
    """
    data: dict[str, Any] = _masked(configuration.settings.model_dump(mode="json", exclude_none=True))
    store = configuration.store
    data["storage"] = {"type": store.type} | _masked(store.config.model_dump(mode="json", exclude_none=True))
    for group in _GROUPS:
        data[group] = [
            {"type": p.type, "name": p.name} | _masked(p.config.model_dump(mode="json", exclude_none=True))
            for p in configuration.of(group)
        ]
    return data


def hides(keys: Iterable[str], text: str) -> bool:
    """Return whether pages hide a text that stands under these keys, or a part of it.

    >>> hides(["url"], "http://user:word@host/"), hides(["params", "token"], "x"), hides(["url"], "http://host/")
    (True, True, False)
    """
    return bool(_masked(text, not _SECRET.isdisjoint(keys)) != text)


def _masked(value: Any, secret: bool = False) -> Any:
    match value:
        case Mapping():
            return {name: _masked(inner, secret or name in _SECRET) for name, inner in value.items()}
        case list() | tuple():
            return [_masked(inner, secret) for inner in value]
        case str():
            return HIDDEN if value and (secret or _MASK.fullmatch(value)) else _URL.sub(_address, value)
    return value


def _address(found: re.Match[str]) -> str:
    scheme, user, rest, query = found.groups()
    return f"{scheme}{f'{HIDDEN}@' if user else ''}{rest}{f'?{HIDDEN}' if query else ''}"
