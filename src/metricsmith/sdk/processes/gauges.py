"""Gauges of several processes: how their values become one, or stay apart."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

LIVE = "live"
EACH = "all"
PID = "pid"


_COMBINE: dict[str, Callable[[Iterable[float]], float]] = {"sum": sum, "max": max, "min": min}


class Told(NamedTuple):
    """What a process said last. `order` is larger for what was said later."""

    pid: int
    order: int
    values: Sequence[float]


class GaugeCell:
    """One label set of a gauge. Modes are prometheus_client's; `live` ones forget a process when it ends."""

    __slots__ = ("_past", "_told", "mode")

    def __init__(self, mode: str) -> None:
        self.mode = mode
        self._told: dict[int, Told] = {}
        self._past: Told | None = None

    def set(self, session: int, told: Told) -> None:
        """Take what a process tells."""
        self._told[session] = told

    def remove(self, session: int) -> None:
        """Forget what a process has told: it says that the label set is no more."""
        self._told.pop(session, None)

    def left(self, session: int) -> None:
        """Note that a process is no longer connected."""
        if self.mode.startswith(LIVE):
            self._told.pop(session, None)

    def ended(self, session: int) -> None:
        """Note that a process never comes back: its value stays in the combined one."""
        told = self._told.pop(session, None)
        if told is not None and not self.mode.endswith(EACH):
            self._past = told if self._past is None else combined(self.mode, [self._past, told])

    def values(self) -> Iterator[tuple[dict[str, str], Sequence[float]]]:
        """Yield the values to show, with the label that tells processes apart if they are not combined."""
        if self.mode.endswith(EACH):
            for told in self._told.values():
                yield {PID: str(told.pid)}, told.values
            return
        all_told = [*self._told.values(), *([] if self._past is None else [self._past])]
        if all_told:
            yield {}, combined(self.mode, all_told).values

    def __bool__(self) -> bool:
        return bool(self._told) or self._past is not None


def combined(mode: str, told: Sequence[Told]) -> Told:
    """Return what several processes tell as one."""
    if mode.endswith("mostrecent"):
        return max(told, key=lambda each: each.order)
    combine = _COMBINE[mode.removeprefix(LIVE)]
    latest = max(each.order for each in told)
    return Told(0, latest, [combine(column) for column in zip(*(t.values for t in told), strict=True)])
