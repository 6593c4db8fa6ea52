"""What a Kubernetes API says, decoded: pages of a list, events of a watch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import orjson

from metricsmith.errors import DiscoveryError, WireError
from metricsmith.sources.kubernetes.client import Resource, refusal, shown
from metricsmith.sources.kubernetes.known import Key
from metricsmith.sources.kubernetes.pods import decode_pod, pod_key
from metricsmith.sources.kubernetes.targets import PodTargets, targets_of

MAX_VERSION = 1024
MAX_CONTINUE = 1 << 14


class Kind(StrEnum):
    """What an event tells of an object."""

    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"
    BOOKMARK = "BOOKMARK"


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a list. `odd` are objects that are not understood, and why; the last has no `token`."""

    found: tuple[PodTargets, ...]
    odd: tuple[tuple[Key, str], ...]
    version: str
    token: str


@dataclass(frozen=True, slots=True)
class Event:
    """An event. `version` is where a watch goes on after it."""

    kind: Kind
    version: str
    key: Key = ("", "")
    one: PodTargets | None = None
    odd: str = ""


def read_page(body: bytes, prefix: str) -> Page:
    """Return a page.

    Raises:
        DiscoveryError: `malformed`: it is no list of objects with names.
    """
    data = _object(_decoded(body))
    items, metadata = data.get("items"), _object(data.get("metadata"))
    if not isinstance(items, list | None):
        raise _malformed("got `items` that are no list")
    found: list[PodTargets] = []
    odd: list[tuple[Key, str]] = []
    for item in items or []:
        key = _key(item)
        try:
            found.append(targets_of(decode_pod(item), prefix))
        except WireError as error:
            odd.append((key, f"{'/'.join(key)}: {error}"))
    token = metadata.get("continue") or ""
    if not isinstance(token, str) or len(token) > MAX_CONTINUE:
        raise _malformed("got a `continue` that is no short text")
    return Page(tuple(found), tuple(odd), _version(metadata), token)


def read_event(line: bytes, prefix: str, resource: Resource) -> Event:
    """Return an event.

    Raises:
        DiscoveryError: what the server says ended the watch, or `malformed`.
    """
    data = _object(_decoded(line))
    what = _object(data.get("object"))
    if data.get("type") == "ERROR":
        code = what.get("code")
        status = code if isinstance(code, int) and 100 <= code < 1000 else 500
        raise refusal(status, shown(what.get("message")), resource, "watch")
    try:
        kind = Kind(str(data.get("type")))
    except ValueError:
        raise _malformed(f"got an event of type {str(data.get('type'))[:50]!r}") from None
    version = _version(_object(what.get("metadata")))
    if kind is Kind.BOOKMARK:
        return Event(kind, version)
    key = _key(what)
    if kind is Kind.DELETED:
        return Event(kind, version, key)
    try:
        return Event(kind, version, key, targets_of(decode_pod(what), prefix))
    except WireError as error:
        return Event(kind, version, key, odd=f"{'/'.join(key)}: {error}")


def _decoded(text: bytes) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise _malformed(f"not JSON: {error}") from None


def _object(data: Any) -> Mapping[str, Any]:
    if not isinstance(data, dict):
        raise _malformed(f"got {type(data).__name__}, wanted an object")
    return data


def _key(item: Any) -> Key:
    try:
        return pod_key(item)
    except WireError as error:
        raise _malformed(str(error)) from None


def _version(metadata: Mapping[str, Any]) -> str:
    version = metadata.get("resourceVersion")
    if not isinstance(version, str) or not 0 < len(version) <= MAX_VERSION:
        raise _malformed("got no metadata.resourceVersion")
    return version


def _malformed(message: str) -> DiscoveryError:
    return DiscoveryError("malformed", f"the API's answer is malformed: {message}")
