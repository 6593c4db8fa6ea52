"""Label sets that nothing touched for a while disappear, and come back when something does.

Nothing is noted when a metric is updated. A sweep, at each reading, compares how often each child was
updated with what it saw before. A child that goes is turned into one of a class whose updates first put it
back, so that the application may hold children for ever and loses nothing. (What another thread counts in the
very moment of the change is seen with the next update.)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from metricsmith.sdk.family import LabelValues
    from metricsmith.sdk.instrument import Instrument

SWEEPS_PER_TTL = 8


class Expiry:
    """When each label set of one metric was last seen to have changed. Called with the family's lock held."""

    def __init__(self, ttl_s: float) -> None:
        if not ttl_s > 0:
            raise ValueError(f"got label_set_ttl_s={ttl_s}, wanted seconds above 0")
        self.ttl_s = ttl_s
        self.expired = 0
        self._seen: dict[LabelValues, tuple[float, float]] = {}
        self._next_s = float("-inf")

    def sweep(self, children: dict[LabelValues, Any], now_s: float) -> None:
        """Let those go that have not changed for the time; at most SWEEPS_PER_TTL times within it."""
        if now_s < self._next_s:
            return
        self._next_s = now_s + self.ttl_s / SWEEPS_PER_TTL
        seen: dict[LabelValues, tuple[float, float]] = {}
        for key, child in list(children.items()):
            updates = child._updates()
            before = self._seen.get(key)
            if before is None or before[0] != updates:
                seen[key] = (updates, now_s)
            elif now_s - before[1] < self.ttl_s:
                seen[key] = before
            else:
                self._retire(children, key, child, updates)
        self._seen = seen

    def _retire(self, children: dict[LabelValues, Any], key: LabelValues, child: Any, updates: float) -> None:
        children.pop(key, None)  # a signal handler may have removed it meanwhile
        retire(child)
        if child._updates() != updates:  # touched meanwhile, by who held it
            children[key] = restore(child)
        else:
            self.expired += 1


def retire(child: Instrument) -> None:
    """Make a child one that puts itself back into its family when it is updated."""
    child.__class__ = _retired(type(restore(child)))


def restore(child: Instrument) -> Instrument:
    """Make a retired child one that is in use again."""
    original = getattr(type(child), "_original", None)
    if original is not None:
        child.__class__ = original
    return child


_RETIRED: dict[type[Any], type[Any]] = {}


def _retired(original: type[Any]) -> type[Any]:
    """Return a class whose updates put the child back into its family, or go to the one in its place."""
    if original in _RETIRED:
        return _RETIRED[original]

    def reviving(name: str) -> Callable[..., Any]:
        def update(self: Instrument, *args: Any, **kwargs: Any) -> Any:
            return getattr(original, name)(self._family.revived(self), *args, **kwargs)

        return update

    updates = {name: reviving(name) for name in original._updating}
    retired = type(original.__name__, (original,), {"__slots__": (), "_original": original, **updates})
    return _RETIRED.setdefault(original, retired)
