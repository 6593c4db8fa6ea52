"""What the label sets of one metric share: names, the table of children, the limit, the text around values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from threading import RLock
from typing import TYPE_CHECKING, Any

from metricsmith.sdk.clock import Clock
from metricsmith.sdk.names import series

if TYPE_CHECKING:
    from metricsmith.sdk.instrument import Instrument

LabelValues = tuple[str, ...]
Extra = tuple[tuple[str, str], ...]


class Family:
    """One metric, with or without labels. All that happens once per label set or per reading happens here."""

    def __init__(
        self, type: str, name: str, documentation: str, labelnames: tuple[str, ...], unit: str, clock: Clock
    ) -> None:
        self.type, self.name, self.documentation, self.unit = type, name, documentation, unit
        self.labelnames = labelnames
        self.clock = clock
        self.children: dict[LabelValues, Any] = {}
        self.lock = RLock()

    def values_of(self, labelvalues: Sequence[object], labelkwargs: Mapping[str, object]) -> LabelValues:
        """Return label values as text, in the order of the names.

        Raises:
            ValueError: too few, too many, or other names.
        """
        if not self.labelnames:
            raise ValueError(f"{self.name}: got label values, but it was made without label names")
        if labelvalues and labelkwargs:
            raise ValueError(
                f"{self.name}: got label values by position and by name, wanted one or the other"
            )
        if labelkwargs:
            if len(labelkwargs) != len(self.labelnames) or any(n not in labelkwargs for n in self.labelnames):
                raise ValueError(
                    f"{self.name}: got the labels {tuple(labelkwargs)}, wanted {self.labelnames}"
                )
            labelvalues = [labelkwargs[name] for name in self.labelnames]
        elif len(labelvalues) != len(self.labelnames):
            raise ValueError(
                f"{self.name}: got {len(labelvalues)} label values, wanted {len(self.labelnames)}: {self.labelnames}"
            )
        return tuple([_text(value) for value in labelvalues])

    def child(self, key: LabelValues, make: Callable[[LabelValues], Any]) -> Any:
        """Return the child of these label values, made if there is none."""
        child = self.children.get(key)
        if child is None:
            with self.lock:
                child = self.children.get(key)
                if child is None:
                    child = self.children[key] = make(key)
        return child

    def remove_where(self, labels: Mapping[str, str]) -> None:
        """Forget the children that have these values.

        Raises:
            ValueError: no labels, or names that this metric has not.
        """
        if not labels or any(name not in self.labelnames for name in labels):
            raise ValueError(f"{self.name}: got the labels {labels}, wanted some of {self.labelnames}")
        places = {self.labelnames.index(name): _text(value) for name, value in labels.items()}
        with self.lock:
            for key in [k for k in self.children if all(k[at] == value for at, value in places.items())]:
                del self.children[key]

    def live(self, instrument: Instrument) -> list[Any]:
        """Return the instruments that have values: the children, or the one without labels."""
        return list(self.children.values()) if self.labelnames else [instrument]

    def template(self, labelvalues: LabelValues, shape: Sequence[tuple[str, Extra]]) -> str:
        """Return the lines of one child, with `%s` where a value goes."""
        labels = tuple(zip(self.labelnames, labelvalues, strict=True))
        lines = [series(self.name + suffix, (*labels, *extra)).replace("%", "%%") for suffix, extra in shape]
        return "".join([f"{line} %s\n" for line in lines])


def _text(value: object) -> str:
    # That of the text itself for an Enum which is a str: it is equal to its text, and found under it in the table.
    return str.__str__(value) if isinstance(value, str) else str(value)
