"""Which series have room, and which labels of the others are folded: limits on what one metric can hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from metricsmith.model.labels import NAME_LABEL

OVERFLOW = "__overflow__"
Key = TypeVar("Key")


@dataclass(frozen=True, slots=True)
class Limits:
    """Most series of a metric, most values of a label in a metric, and labels that are never folded."""

    series: int
    values: int
    values_of: Mapping[str, int]
    exempt: frozenset[str]


@dataclass(slots=True)
class _Metric:
    """What is known of one metric: how many of the admitted series have each value, or each label set."""

    values: dict[str, dict[str, int]] = field(default_factory=dict)
    outputs: dict[bytes, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Admission:
    """What a series becomes: the labels whose values are folded, and which limit did it.

    `full` says that the metric has no room for another series: all labels are
    folded that can be.
    """

    folded: tuple[str, ...]
    full: bool = False


class Room:
    """Counts the values and series of each metric that hold a place; a place is given back by `leave`.

    `output` is the key of what a series becomes, with no labels that tell the
    parts of a histogram or summary apart: those are in or out together.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._metrics: dict[str, _Metric] = {}

    def by_values(self, labels: Mapping[str, str]) -> Admission:
        """Return which labels of a new series have a value that there is no room for."""
        limits = self._limits
        known = self._metric(labels).values
        folded = []
        for name in self._counted(labels):
            values = known.get(name, {})
            if labels[name] not in values and len(values) >= limits.values_of.get(name, limits.values):
                folded.append(name)
        return Admission(tuple(folded))

    def has_room(self, labels: Mapping[str, str], output: bytes) -> bool:
        """Return whether a metric has, or can have, a series."""
        outputs = self._metric(labels).outputs
        return output in outputs or len(outputs) < self._limits.series

    def all_folded(self, labels: Mapping[str, str]) -> Admission:
        """Return that all labels are folded that can be."""
        return Admission(tuple(self._counted(labels)), full=True)

    def enter(self, labels: Mapping[str, str], admission: Admission, output: bytes) -> None:
        """Give a series its places."""
        metric = self._metric(labels)
        metric.outputs[output] = metric.outputs.get(output, 0) + 1
        for name in self._counted(labels):
            if name not in admission.folded:
                values = metric.values.setdefault(name, {})
                values[labels[name]] = values.get(labels[name], 0) + 1

    def leave(self, labels: Mapping[str, str], admission: Admission, output: bytes) -> None:
        """Take back the places of a series."""
        metric = self._metric(labels)
        _less(metric.outputs, output)
        for name in self._counted(labels):
            if name not in admission.folded:
                _less(metric.values[name], labels[name])
        if not metric.outputs:
            del self._metrics[labels.get(NAME_LABEL, "")]

    def _metric(self, labels: Mapping[str, str]) -> _Metric:
        return self._metrics.setdefault(labels.get(NAME_LABEL, ""), _Metric())

    def _counted(self, labels: Mapping[str, str]) -> list[str]:
        return [name for name in labels if name != NAME_LABEL and name not in self._limits.exempt]


def fold(labels: Mapping[str, str], admission: Admission) -> dict[str, str]:
    """Return labels with the values of some folded.

    >>> fold({"path": "/a", "code": "200"}, Admission(("path",)))
    {'path': '__overflow__', 'code': '200'}
    """
    return {name: OVERFLOW if name in admission.folded else value for name, value in labels.items()}


def _less(counts: dict[Key, int], key: Key) -> None:
    if counts[key] == 1:
        del counts[key]
    else:
        counts[key] -= 1
