"""Info and Enum: text about a thing, and which of some states it is in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar, Unpack

from metricsmith.sdk.family import Extra
from metricsmith.sdk.guard import Limits
from metricsmith.sdk.instrument import AnyRegistry, Instrument
from metricsmith.sdk.names import check_labels, full_name
from metricsmith.sdk.registry import REGISTRY


class Info(Instrument):
    """Tells facts that are text, such as a version, as labels of a series of value 1."""

    __slots__ = ("_changes", "_facts")
    _type: ClassVar[str] = "info"
    _updating: ClassVar[tuple[str, ...]] = ("info",)
    _changes: int
    _facts: dict[str, str]

    def __init__(
        self,
        name: str,
        documentation: str,
        labelnames: Iterable[str] = (),
        namespace: str = "",
        subsystem: str = "",
        unit: str = "",
        registry: AnyRegistry | None = REGISTRY,
        **limits: Unpack[Limits],
    ) -> None:
        super().__init__(name, documentation, labelnames, namespace, subsystem, unit, registry, **limits)

    def _begin(self) -> None:
        self._facts = {}
        self._changes = 0

    def info(self, val: Mapping[str, str]) -> None:
        """Set the facts, in place of those before.

        Raises:
            ValueError: a fact has the name of a label, a name that labels cannot have, or no value.
        """
        self._require()
        family = self._family
        names = check_labels(family.name, val, family.labelnames)
        if missing := [name for name in names if val[name] is None]:
            raise ValueError(f"{family.name}: got None for {missing}, wanted text")
        self._facts = {name: str(val[name]) for name in names}
        self._changes += 1

    def _updates(self) -> float:
        return self._changes

    def _shape(self) -> Sequence[tuple[str, Extra]]:
        return (("_info", tuple(self._facts.items())),)

    def _make_template(self) -> str:
        # Made anew each time: facts may change while a document is written.
        return self._family.template(self._labelvalues, self._shape())

    def _values(self) -> Sequence[float]:
        return (1.0,)


class Enum(Instrument):
    """Tells which of some states holds, at first the first: one series per state, of value 1 or 0."""

    __slots__ = ("_at", "_changes", "_states")
    _type: ClassVar[str] = "stateset"
    _updating: ClassVar[tuple[str, ...]] = ("state",)
    _changes: int
    _at: int
    _states: tuple[str, ...]

    def __init__(
        self,
        name: str,
        documentation: str,
        labelnames: Sequence[str] = (),
        namespace: str = "",
        subsystem: str = "",
        unit: str = "",
        registry: AnyRegistry | None = REGISTRY,
        _labelvalues: None = None,
        states: Sequence[str] | None = None,
        **limits: Unpack[Limits],
    ) -> None:
        if not states:
            raise ValueError(f"{name}: got no states, wanted a list such as states=['starting', 'running']")
        if len(set(states)) < len(states):
            raise ValueError(f"{name}: got the states {list(states)}, wanted each once")
        full = full_name(self._type, name, namespace, subsystem, unit)
        if full in labelnames:
            raise ValueError(f"{full}: got it as a label name, too, but it is the label that tells the state")
        self._states = tuple(states)
        super().__init__(name, documentation, labelnames, namespace, subsystem, unit, registry, **limits)

    def _like(self, parent: Enum) -> None:
        self._states = parent._states

    def _begin(self) -> None:
        self._at = self._changes = 0

    def state(self, state: str) -> None:
        """Set which state holds.

        Raises:
            ValueError: not one of the states.
        """
        self._require()
        if state not in self._states:
            raise ValueError(
                f"{self._family.name}: got the state {state!r}, wanted one of {list(self._states)}"
            )
        self._at = self._states.index(state)
        self._changes += 1

    def _updates(self) -> float:
        return self._changes

    def _shape(self) -> Sequence[tuple[str, Extra]]:
        return [("", ((self._family.name, state),)) for state in self._states]

    def _values(self) -> Sequence[float]:
        at = self._at
        return [1.0 if i == at else 0.0 for i in range(len(self._states))]
