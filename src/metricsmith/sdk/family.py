"""What the label sets of one metric share: names, the table of children, limits, the text around values."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from threading import RLock
from typing import TYPE_CHECKING, Any

from metricsmith.sdk.expiry import Expiry, restore
from metricsmith.sdk.forks import renew_lock_after_fork
from metricsmith.sdk.guard import Guard, Limits, Policy
from metricsmith.sdk.names import pairs

if TYPE_CHECKING:
    from metricsmith.sdk.instrument import Instrument

LabelValues = tuple[str, ...]
NAME_SUFFIXES = {"counter": ("_total",), "info": ("_info",)}
"""What series have after the name of their family, where all have the same."""
Extra = tuple[tuple[str, str], ...]


class Family:
    """One metric, with or without labels. All that happens once per label set or per reading happens here."""

    def __init__(
        self,
        type: str,
        name: str,
        documentation: str,
        labelnames: tuple[str, ...],
        unit: str,
        policy: Policy,
        limits: Limits,
    ) -> None:
        self.type, self.name, self.documentation, self.unit = type, name, documentation, unit
        self.labelnames = labelnames
        self.policy, self.clock = policy, policy.clock
        self.children: dict[LabelValues, Any] = {}
        self.lock = RLock()
        renew_lock_after_fork(self)
        limit = limits.get("max_label_sets", policy.max_label_sets)
        self.guard = Guard(name, labelnames, limit, policy.findings)
        self.guard.check_names()
        ttl_s = limits.get("label_set_ttl_s", policy.label_set_ttl_s)
        self.expiry = None if ttl_s is None else Expiry(ttl_s)
        self.make: Callable[[LabelValues], Any]
        """Makes a child; set by the metric."""
        self._unwanted: Any = None

    def values_of(self, labelvalues: Sequence[object], labelkwargs: Mapping[str, object]) -> LabelValues:
        """Return label values as text, in the order of the names.

        Raises:
            ValueError: too few, too many, or other names.
        """
        names = self.labelnames
        if not names:
            raise ValueError(f"{self.name}: got label values, but it was made without label names")
        if labelvalues and labelkwargs:
            raise ValueError(
                f"{self.name}: got label values by position and by name, wanted one or the other"
            )
        if labelkwargs:
            if len(labelkwargs) != len(names) or any(name not in labelkwargs for name in names):
                raise ValueError(f"{self.name}: got the labels {tuple(labelkwargs)}, wanted {names}")
            labelvalues = [labelkwargs[name] for name in names]
        elif len(labelvalues) != len(names):
            raise ValueError(
                f"{self.name}: got {len(labelvalues)} label values, wanted {len(names)}: {names}"
            )
        return as_text(labelvalues)

    def child(self, key: LabelValues, make: Callable[[LabelValues], Any] | None = None) -> Any:
        """Return the child of these label values, or the one that stands for it; made if there is none."""
        child = self.children.get(key)
        if child is not None:
            return child
        make = make or self.make
        with self.lock:
            # Another thread may have made it meanwhile, and so have taken the last place.
            admitted = key if key in self.children else self._admitted(key)
            if admitted is None:
                self._unwanted = self._unwanted or make(key)
                return self._unwanted
            child = self.children.get(admitted)
            if child is None:
                child = self.children[admitted] = make(admitted)
        if admitted != key:
            self.guard.tell(key)
        return child

    def _admitted(self, key: LabelValues) -> LabelValues | None:
        """Return the label values under which these are kept; None where filters leave them out."""
        if self.policy.rules and not self.keeps(key):
            return None
        if self.expiry and len(self.children) >= self.guard.limit:
            self._sweep(self.expiry)
        return self.guard.admit(key, self.children)

    def _sweep(self, expiry: Expiry) -> None:
        before = expiry.expired
        expiry.sweep(self.children, self.clock.monotonic())
        if expiry.expired > before:
            self.guard.room_was_made()

    def revived(self, child: Any) -> Any:
        """Return what takes the updates of an expired child: itself again, or the one in its place."""
        own = child._labelvalues
        return self.child(own, lambda key: restore(child) if key == own else self.make(key))

    def in_order(self, labelkwargs: Mapping[str, object]) -> tuple[object, ...]:
        """Return label values given by name in the order of the names, as they are.

        Raises:
            KeyError: one is missing.
        """
        return tuple([labelkwargs[name] for name in self.labelnames])

    def remove(self, key: LabelValues) -> None:
        """Forget one child."""
        with self.lock:
            self.children.pop(key, None)

    def clear(self) -> None:
        """Forget all children."""
        with self.lock:
            self.children.clear()
            self.guard.room_was_made()

    def remove_where(self, labels: Mapping[str, str]) -> None:
        """Forget the children that have these values.

        Raises:
            ValueError: no labels, or names that this metric has not.
        """
        if not labels or any(name not in self.labelnames for name in labels):
            raise ValueError(f"{self.name}: got the labels {labels}, wanted some of {self.labelnames}")
        places = dict(zip(map(self.labelnames.index, labels), as_text(labels.values()), strict=True))
        self._forget(lambda key: all(key[at] == value for at, value in places.items()))

    def keeps(self, key: LabelValues) -> bool:
        """Return whether filters let a label set in. A counter is known with and without `_total`."""
        names = [self.name, *map(self.name.__add__, NAME_SUFFIXES.get(self.type, ()))]
        return self.policy.keeps(names, self.labels_of(key))

    def refilter(self) -> None:
        """Forget the children that filters leave out."""
        self._forget(lambda key: not self.keeps(key))

    def _forget(self, unwanted: Callable[[LabelValues], bool]) -> None:
        with self.lock:
            for key in list(self.children):
                if unwanted(key):
                    self.children.pop(key, None)

    def live(self, instrument: Instrument) -> list[Any]:
        """Return the instruments that are to be read: the children, or the one without labels."""
        if not self.labelnames:
            return [instrument] if self.keeps(()) else []
        if self.expiry:
            with self.lock:
                self._sweep(self.expiry)
        return list(self.children.values())

    def labels_of(self, key: LabelValues) -> dict[str, str]:
        """Return label values by name."""
        return dict(zip(self.labelnames, key, strict=False))

    def template(self, labelvalues: LabelValues, shape: Sequence[tuple[str, Extra]]) -> str:
        """Return the lines of one child, with `%s` where a value goes."""
        own = pairs(self.labels_of(labelvalues).items())
        lines: list[str] = []
        for suffix, extra in shape:
            both = ",".join(filter(None, (own, pairs(extra))))
            lines.append(f"{self.name}{suffix}{{{both}}}" if both else f"{self.name}{suffix}")
        return "".join([line.replace("%", "%%") + " %s\n" for line in lines])


def as_text(labelvalues: Iterable[object]) -> LabelValues:
    """Return label values as text.

    That of the text itself for an Enum which is a str: it is equal to its text, and found under it.
    """
    return tuple(
        [v if type(v) is str else str.__str__(v) if isinstance(v, str) else str(v) for v in labelvalues]
    )
