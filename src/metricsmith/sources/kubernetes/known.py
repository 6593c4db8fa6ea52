"""What is known of a cluster, bounded as a whole, and whether it has changed."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from metricsmith.errors import DiscoveryError
from metricsmith.model.settings_types import format_size
from metricsmith.net.target_files import MAX_LABEL_BYTES, MAX_TARGETS
from metricsmith.sources.kubernetes.targets import PodTargets

Key: TypeAlias = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Size:
    """How much something holds."""

    targets: int = 0
    label_bytes: int = 0

    @classmethod
    def of(cls, all_: Collection[PodTargets]) -> Size:
        """Return the size of these together. A pod without targets counts as one: it is remembered."""
        return cls(sum(max(len(one.listed), 1) for one in all_), sum(map(_label_bytes, all_)))

    def __add__(self, other: Size) -> Size:
        return Size(self.targets + other.targets, self.label_bytes + other.label_bytes)

    def __sub__(self, other: Size) -> Size:
        return Size(self.targets - other.targets, self.label_bytes - other.label_bytes)

    def check(self) -> Size:
        """Return itself.

        Raises:
            DiscoveryError: `too_large`: more than any list of targets may hold.
        """
        if self.targets > MAX_TARGETS:
            raise _too_large(f"{self.targets} targets", str(MAX_TARGETS))
        if self.label_bytes > MAX_LABEL_BYTES:
            got = f"pods with labels and annotations of {format_size(self.label_bytes)}"
            raise _too_large(got, format_size(MAX_LABEL_BYTES))
        return self


def _label_bytes(one: PodTargets) -> int:
    return sum(len(name) + len(value) for name, value in one.pod.labels.items())


def _too_large(got: str, most: str) -> DiscoveryError:
    return DiscoveryError("too_large", f"got {got}, wanted at most {most}: use selectors or namespaces")


class Known:
    """The pods of all places that are followed; `changed` is set when their targets are others.

    Raises:
        DiscoveryError: `too_large`, by what would make it so; nothing has changed.
    """

    def __init__(self) -> None:
        self.changed = asyncio.Event()
        self._parts: dict[int, dict[Key, PodTargets]] = {}
        self._size = Size()

    def all(self) -> list[PodTargets]:
        """Return what is known now, in a stable order."""
        return [one for part in sorted(self._parts) for _, one in sorted(self._parts[part].items())]

    def part(self, part: int) -> Mapping[Key, PodTargets]:
        """Return what is known of one place."""
        return self._parts.get(part, {})

    def replace(self, part: int, found: dict[Key, PodTargets]) -> None:
        """Have a place hold these and no others."""
        old = self._parts.get(part)
        self._resize(found.values(), () if old is None else old.values())
        self._parts[part] = found
        if found != old:
            self.changed.set()

    def put(self, part: int, one: PodTargets) -> None:
        """Add or change one."""
        held = self._parts.setdefault(part, {})
        old = held.get(one.pod.key)
        if one == old:
            return
        self._resize((one,), () if old is None else (old,))
        held[one.pod.key] = one
        self.changed.set()

    def remove(self, part: int, key: Key) -> None:
        """Forget one."""
        old = self._parts.get(part, {}).pop(key, None)
        if old is not None:
            self._resize((), (old,))
            self.changed.set()

    def _resize(self, new: Collection[PodTargets], old: Collection[PodTargets]) -> None:
        self._size = (self._size + Size.of(new) - Size.of(old)).check()
