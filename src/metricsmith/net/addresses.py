"""Addresses as people write them: URLs, and targets that are HOST:PORT or a URL."""

from __future__ import annotations

import re
from typing import Annotated
from urllib.parse import SplitResult, parse_qsl, urlsplit

from pydantic import AfterValidator, Field

METRICS_URL = "http://127.0.0.1:3000/metrics"
_USER = re.compile(r"[^/]*@")


def _got(target: str) -> str:
    """What was got, without user, password and query, which may be secrets."""
    return f'got "{_USER.sub("", target.partition("?")[0])[:200]}"'


def check_http_url(value: str, example: str = METRICS_URL) -> str:
    """Return a URL of http or https without user and password; a ValueError says what is wrong with it."""
    wanted = f"wanted a URL such as {example}"
    try:
        parts = urlsplit(value)
    except ValueError:  # brackets that hold no IPv6 address
        raise ValueError(f"{_got(value)}, {wanted}") from None
    if parts.username is not None or parts.password is not None:
        raise ValueError("got a URL with a user or password in it, wanted basic_auth")
    if parts.scheme not in ("http", "https") or not parts.hostname or any(map(str.isspace, value)):
        raise ValueError(f"{_got(value)}, {wanted}")
    _check_port(parts, value)
    return value


def _check_port(parts: SplitResult, target: str) -> None:
    try:
        port = parts.port
    except ValueError:
        port = 0
    if port == 0:
        raise ValueError(f"{_got(target)}, wanted a port from 1 to 65535")


def check_target(value: str) -> str:
    """Return a target: HOST:PORT or a URL; a ValueError says what is wrong with it."""
    if "://" in value:
        split_target(check_http_url(value))
        return value
    wanted = "wanted HOST:PORT or a URL such as http://HOST:PORT/metrics"
    if any(c in "/@?#\\" or c.isspace() for c in value):
        raise ValueError(f"{_got(value)}, {wanted}")
    try:
        parts = urlsplit(f"//{value}")
    except ValueError:
        raise ValueError(f"{_got(value)}, {wanted}") from None
    if not parts.hostname:
        raise ValueError(f"{_got(value)}, {wanted}")
    _check_port(parts, value)
    return value


def split_target(target: str) -> tuple[str, str, str, dict[str, str]]:
    """Return scheme, address, path and query of a target; all but the address are empty for HOST:PORT.

    Raises:
        ValueError: a malformed URL, or one that names a query parameter twice
            or without a value: these do not survive as labels.
    """
    if "://" not in target:
        return "", target, "", {}
    parts = urlsplit(target)
    pairs = parse_qsl(parts.query, keep_blank_values=True, max_num_fields=1000)
    query = dict(pairs)
    if len(query) < len(pairs) or not all(query.values()):
        raise ValueError("got a repeated or empty query parameter in a target, wanted it in `params`")
    return parts.scheme, parts.netloc, parts.path, query


HttpUrl = Annotated[str, Field(max_length=2000), AfterValidator(check_http_url)]
Target = Annotated[str, AfterValidator(check_target)]
