"""Collectors in what a file, a module or an entry point holds."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from metricsmith.collector import MARK, Options, options_of
from metricsmith.errors import SourceError
from metricsmith.model.duration import parse_duration
from metricsmith.model.metadata import Metadata
from metricsmith.sources.python.clients import REGISTRY, CollectorRegistry, MetricWrapperBase
from metricsmith.sources.python.values import described

LISTED = "COLLECTORS"
"""A module that has this list says which its collectors are."""


@dataclass(frozen=True)
class Unit:
    """One collector: what to call, and what it says of itself before it is called."""

    name: str
    call: Callable[[], Any]
    options: Options
    described: Mapping[str, Metadata]
    origin: str

    @property
    def plain(self) -> str:
        """The name of a number that it gives without one."""
        return self.name.rpartition(".")[2]


def units_of(found: Any, prefix: str, origin: str, registered: Iterable[Any] = ()) -> list[Unit]:
    """Return the collectors of a module, or of one thing in it; `registered` were given to a registry.

    A class is made an object here, once, and asked to describe itself.

    Raises:
        SourceError: nothing that collects.
    """
    if isinstance(found, ModuleType):
        things = _in_module(found, list(registered))
    else:
        things = [(_name(found, "collector"), found)]
    taken = Counter[str]()
    units = []
    for name, thing in things:
        taken[name] += 1
        named = name if taken[name] == 1 else f"{name}{taken[name]}"
        units.append(_unit(thing, named, prefix, origin))
    if not units:
        wanted = "wanted a function with @collector or a class with collect()"
        raise SourceError(f"got no collector in it, {wanted}")
    return units


def _in_module(module: ModuleType, registered: list[Any]) -> list[tuple[str, Any]]:
    """Return what a module means to be collectors, each with its name there."""
    listed = vars(module).get(LISTED)
    if listed is not None:
        return [(_name(thing, "collector"), thing) for thing in listed]
    known = {id(each) for each in registered}
    own = {n: v for n, v in vars(module).items() if not n.startswith("__") and id(v) not in known}
    instruments = [each for each in registered if isinstance(each, MetricWrapperBase)]
    custom = [each for each in registered if not isinstance(each, MetricWrapperBase)]
    registries = [(n, v) for n, v in own.items() if isinstance(v, CollectorRegistry) and v is not REGISTRY]
    # Objects beside a registry of the module's own are in it.
    objects = [] if registries else [(n, v) for n, v in own.items() if _is_collector(v)]
    made = {type(each) for each in (*custom, *(v for _, v in objects))}
    classes = [(n, cls) for n, cls in _to_be_made(module, own, bool(registries)) if cls not in made]
    found = [
        *([("metrics", _Instruments(instruments))] if instruments else []),
        *((_name(each, "collector"), each) for each in custom),
        *registries,
        *((n, v) for n, v in own.items() if _is_marked_function(v, module)),
        *objects,
        *((n, cls) for n, cls in classes if not _missing(cls)),
    ]
    return found or classes  # one that needs arguments is told when there is nothing else


def _is_marked_function(thing: Any, module: ModuleType) -> bool:
    return inspect.isfunction(thing) and options_of(thing) is not None and thing.__module__ == module.__name__


def _is_collector(thing: Any) -> bool:
    """Whether a thing in a module is an object that collects, and none that came with prometheus_client."""
    others = CollectorRegistry | MetricWrapperBase | ModuleType | type
    imported = type(thing).__module__.startswith("prometheus_client.")
    return not isinstance(thing, others) and not imported and _collects(thing)


def _collects(thing: Any) -> bool:
    return callable(getattr(type(thing), "collect", None))


def _to_be_made(module: ModuleType, own: Mapping[str, Any], has_registry: bool) -> Iterator[tuple[str, type]]:
    """Yield the classes of a module that are collectors, but those that others in it are made from."""
    classes = [v for v in own.values() if inspect.isclass(v) and v.__module__ == module.__name__]
    bases = {base for cls in classes for base in cls.__mro__[1:]}
    for name, cls in own.items():
        if cls not in classes or cls in bases or inspect.isabstract(cls) or name.startswith("_"):
            continue
        if callable(getattr(cls, "collect", None)) and (MARK in vars(cls) or not has_registry):
            yield name, cls


def _missing(cls: type) -> list[str]:
    """Return the arguments that a class cannot do without."""
    return [
        p.name
        for p in inspect.signature(cls).parameters.values()
        if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    ]


def _unit(thing: Any, name: str, prefix: str, origin: str) -> Unit:
    options = options_of(thing) or Options()
    if inspect.isclass(thing):
        missing = _missing(thing)
        if missing:
            hint = f"make an object of it in the module, or name it in {LISTED}"
            raise SourceError(f"{name}: got a class that needs {', '.join(missing)} ({hint})")
        thing = thing()
    call = thing if inspect.isroutine(thing) or not _collects(thing) else thing.collect
    if not callable(call):
        raise SourceError(f"{name}: got {thing!r:.80}, wanted a function or a class with collect()")
    if call is not thing:
        options = _with_attributes(options, thing)
    describe = getattr(thing, "describe", None) if call is not thing else None
    families = dict(map(described, describe() or ())) if callable(describe) else {}
    return Unit(options.name or f"{prefix}.{name}", call, options, families, origin)


def _with_attributes(options: Options, thing: Any) -> Options:
    """Take `interval` and `timeout` of a class, where the decorator does not say."""
    found = {}
    for name in ("interval", "timeout"):
        given = getattr(options, f"{name}_ms")
        text = getattr(thing, name, None)
        if given is None and isinstance(text, str):
            try:
                given = parse_duration(text)
            except ValueError as error:
                raise SourceError(f"{type(thing).__name__}.{name}: {error}") from None
        found[name] = given
    return Options(
        options.name,
        found["interval"],
        found["timeout"],
        options.max_samples,
        options.max_series,
        options.labels,
    )


def _name(thing: Any, otherwise: str) -> str:
    name = getattr(thing, "__name__", None) or type(thing).__name__
    return name if isinstance(name, str) else otherwise


class _Instruments:
    """The counters and gauges that a module has made for itself, as one collector."""

    def __init__(self, instruments: list[Any]) -> None:
        self._instruments = instruments

    def collect(self) -> Iterator[Any]:
        """Yield their families."""
        for instrument in self._instruments:
            yield from instrument.collect()
