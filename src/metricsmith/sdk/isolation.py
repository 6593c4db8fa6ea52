"""A registry as if nothing had been counted yet, for a while: for tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from metricsmith.sdk.expiry import restore, retire
from metricsmith.sdk.instrument import Instrument
from metricsmith.sdk.registry import REGISTRY, Registry

_FIXED = frozenset(("__weakref__", "_children", "_family", "_labelvalues", "_lock", "_template"))


@contextmanager
def isolated(registry: Registry = REGISTRY) -> Iterator[Registry]:
    """Let a registry begin anew, and be afterwards as it was before.

    Metrics that modules made when they were imported stay registered, at zero and without label sets;
    children that the application holds appear again when they are used. What is registered within is
    forgotten afterwards. Not for use while other threads count.
    """
    collectors = registry.collectors()
    saved = [_begin_anew(instrument) for instrument in registry.instruments()]
    policy = registry.policy
    rules, findings, policy.rules = policy.rules, policy.findings.swap({}), []
    try:
        yield registry
    finally:
        for collector in registry.collectors():
            if collector not in collectors:
                registry.unregister(collector)
        for restore_one in saved:
            restore_one()
        policy.rules = rules
        policy.findings.swap(findings)


def _begin_anew(instrument: Instrument) -> Callable[[], None]:
    """Set an instrument to zero; return what sets it back."""
    family = instrument._family
    children = dict(family.children)
    folded, family.guard.folded = family.guard.folded, 0
    live = children.values() if family.labelnames else [instrument]
    states = [(child, _state(child)) for child in live]
    for child, _ in states:
        child._begin()
        child._exemplars = None
    _retire_all(instrument)

    def restore_it() -> None:
        _retire_all(instrument)
        for child, state in states:
            restore(child)
            for name, value in state.items():
                setattr(child, name, value)
        family.children.update(children)
        family.guard.folded = folded

    return restore_it


def _retire_all(instrument: Instrument) -> None:
    for child in instrument._family.children.values():
        retire(child)
    instrument._family.clear()


def _state(child: Instrument) -> dict[str, Any]:
    names = {name for kind in type(child).__mro__ for name in getattr(kind, "__slots__", ())}
    return {name: getattr(child, name) for name in names - _FIXED}
