"""Reads parts of decoded JSON, notes what cannot be used, and keeps within limits."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from metricsmith.errors import LimitExceeded, WireError
from metricsmith.wire.ohi.document import HOST, Attributes, Entity, Oddity, Scalar

SECONDS_BELOW = 252_489_600_000
"""A timestamp below this (1978 in milliseconds) is in seconds."""
MAX_TIME_MS = 253_402_300_800_000
"""Year 10000."""
SHOWN = 120


@dataclass(frozen=True, slots=True)
class Limits:
    """What one document may hold; above it, it is refused whole."""

    bytes: int = 8 << 20
    datasets: int = 10_000
    metrics: int = 100_000
    attributes: int = 512


@dataclass(slots=True)
class Reading:
    """The oddities of one document, and how many metrics it has had so far."""

    limits: Limits
    oddities: list[Oddity] = field(default_factory=list)
    metrics: int = 0

    def odd(self, reason: str, message: str) -> None:
        """Note a part that is left out."""
        self.oddities.append(Oddity(reason, message))

    def count_metrics(self, added: int) -> None:
        """Count metrics, samples, events and inventory items.

        Raises:
            LimitExceeded: too many.
        """
        self.metrics += added
        if self.metrics > self.limits.metrics:
            raise LimitExceeded(f"got more than {self.limits.metrics} metrics in a document")

    def objects(self, holder: Mapping[str, Any], key: str, where: str) -> Iterator[dict[str, Any]]:
        """Yield the objects of a list; what is no object is left out."""
        items = holder.get(key)
        if items is None:
            return
        if not isinstance(items, list):
            self.odd("shape", f"{where}.{key}: got {shown(items)}, wanted a list")
            return
        self.count_metrics(len(items))
        for index, item in enumerate(items):
            if isinstance(item, dict):
                yield item
            else:
                self.odd("shape", f"{where}.{key}[{index}]: got {shown(item)}, wanted an object")

    def mapping(self, holder: Mapping[str, Any], key: str, where: str) -> dict[str, Any]:
        """Return an object that may be missing or null, empty then."""
        found = holder.get(key)
        if found is None:
            return {}
        if isinstance(found, dict):
            return found
        self.odd("shape", f"{where}.{key}: got {shown(found)}, wanted an object")
        return {}

    def attributes(self, raw: Mapping[str, Any], where: str) -> Attributes:
        """Return the attributes that are texts, finite numbers or booleans; nulls are absent.

        Lists and objects become their JSON text, as New Relic shows them.

        Raises:
            LimitExceeded: too many attributes.
        """
        if len(raw) > self.limits.attributes:
            raise LimitExceeded(
                f"{where}: got {len(raw)} attributes, wanted at most {self.limits.attributes}"
            )
        return {name: scalar(value) for name, value in raw.items() if value is not None}

    def time_ms(self, raw: Any, where: str) -> int | None:
        """Return a timestamp in milliseconds, None when there is none.

        Raises:
            WireError: not a time.
        """
        if raw is None:
            return None
        if isinstance(raw, bool) or not isinstance(raw, int | float) or raw < 0:
            raise WireError(f"{where}.timestamp: got {shown(raw)}, wanted seconds or milliseconds since 1970")
        time_ms = int(raw * 1000 if raw < SECONDS_BELOW else raw)
        if time_ms > MAX_TIME_MS:
            raise WireError(f"{where}.timestamp: got {raw}, wanted a time before the year 10000")
        return time_ms

    def entity(self, holder: Mapping[str, Any], where: str) -> Entity:
        """Return a data set's entity, the host when there is none.

        Raises:
            WireError: a name without a type, or no text.
        """
        raw = self.mapping(holder, "entity", where)
        name, type_ = (
            text(raw.get("name"), f"{where}.entity.name"),
            text(raw.get("type"), f"{where}.entity.type"),
        )
        if not name and not type_:
            return HOST
        if not name or not type_:
            raise WireError(f"{where}.entity: got name {name!r} and type {type_!r}, wanted both or none")
        return Entity(
            name,
            type_,
            text(raw.get("displayName"), f"{where}.entity.displayName"),
            tuple(self._id_attributes(raw, where)),
            self.attributes(self.mapping(raw, "metadata", f"{where}.entity"), f"{where}.entity.metadata"),
        )

    def inventory(self, holder: Mapping[str, Any], where: str) -> dict[str, Attributes]:
        """Return inventory items that are objects; a single value becomes the field `value`."""
        raw = self.mapping(holder, "inventory", where)
        self.count_metrics(len(raw))
        found: dict[str, Attributes] = {}
        for item, fields in raw.items():
            if not isinstance(fields, dict):
                fields = {"value": fields}
            found[item] = self.attributes(fields, f"{where}.inventory")
        return found

    def _id_attributes(self, raw: Mapping[str, Any], where: str) -> Iterator[tuple[str, str]]:
        # The SDK writes Key and Value; other writers spell them in lower case.
        for item in self.objects(raw, "id_attributes", f"{where}.entity"):
            named = {key.lower(): value for key, value in item.items()}
            key, value = named.get("key"), named.get("value")
            if isinstance(key, str) and key and isinstance(value, str):
                yield key, value
            else:
                self.odd("shape", f"{where}.entity.id_attributes: got {shown(item)}, wanted Key and Value")


def scalar(value: Any) -> Scalar:
    """Return a value as it can be an attribute."""
    if isinstance(value, str | bool | float):
        return value
    return float(value) if isinstance(value, int) else orjson.dumps(value).decode()


def number(raw: Any, where: str) -> float:
    """Return a finite number.

    Raises:
        WireError: something else.
    """
    if isinstance(raw, bool) or not isinstance(raw, int | float) or not math.isfinite(raw):
        raise WireError(f"{where}: got {shown(raw)}, wanted a number")
    return float(raw)


def text(raw: Any, where: str) -> str:
    """Return a text, empty when there is none.

    Raises:
        WireError: something else.
    """
    if raw is None or isinstance(raw, str):
        return raw or ""
    raise WireError(f"{where}: got {shown(raw)}, wanted text")


def shown(value: Any) -> str:
    """Return a value, shortened, as messages show it."""
    shown_text = repr(value) if not isinstance(value, dict | list) else orjson.dumps(value).decode()
    return shown_text if len(shown_text) <= SHOWN else f"{shown_text[:SHOWN]}…"
