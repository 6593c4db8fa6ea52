"""What a rule is, once its file is read; and what rules ask of the query engine.

Threshold rules, anomalies and objectives are written shorter, and become these same rules when they
are loaded: there is one way to evaluate and one way to alert.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol, TypeAlias

from metricsmith.contracts import Queryable
from metricsmith.model.arrays import F64


class NoData(StrEnum):
    """What happens to an alert whose series have no samples any more: that is not \"all is well\"."""

    KEEP = "keep"
    """It stays as it is, marked as being without data."""
    FIRE = "fire"
    """It fires, for label sets that have been seen."""
    RESOLVE = "resolve"
    """It ends, as in Prometheus."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a rule is written. Equal rules are equal wherever they stand."""

    file: str = ""
    line: int = 0


@dataclass(frozen=True, slots=True)
class RecordingRule:
    """Keeps the result of `expr` as series named `name`; `labels` are added, and win."""

    name: str
    expr: str
    labels: Mapping[str, str] = field(default_factory=dict)
    origin: Origin = field(default_factory=Origin, compare=False)


@dataclass(frozen=True, slots=True)
class AlertingRule:
    """Each series in the result of `expr` is an alert. Label and annotation values are templates.

    `no_data` of None is the default of the configuration. `webhook_url`
    replaces the one of the configuration.

    Units:
        for_ms, keep_firing_for_ms: milliseconds.
    """

    name: str
    expr: str
    for_ms: int = 0
    keep_firing_for_ms: int = 0
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    no_data: NoData | None = None
    webhook_url: str | None = None
    origin: Origin = field(default_factory=Origin, compare=False)


Rule: TypeAlias = RecordingRule | AlertingRule


@dataclass(frozen=True, slots=True)
class Group:
    """Rules that are evaluated in order, at one time, each seeing what those before it recorded.

    `limit` bounds the series or alerts of each rule; 0 is none. File and name
    identify a group over reloads.

    Units:
        interval_ms, query_offset_ms: milliseconds.
    """

    name: str
    file: str
    interval_ms: int
    rules: tuple[Rule, ...]
    limit: int = 0
    query_offset_ms: int = 0
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """File and name, as Prometheus joins them."""
        return f"{self.file};{self.name}"


@dataclass(frozen=True, slots=True)
class Answer:
    """The result of an instant query: series by canonical key, one value each, and what was remarked.

    Shapes:
        keys: S canonical keys, without duplicates; a scalar is one series without labels.
        values: (S,)
    """

    keys: list[bytes]
    values: F64
    warnings: tuple[str, ...] = ()
    samples: int = 0


class Engine(Protocol):
    """What rules ask of PromQL; the runtime connects it. Safe to call from any thread.

    Expressions are parsed once: asking again with the same text costs nothing.
    """

    def check(self, expr: str) -> None:
        """Return when the expression can stand in a rule.

        Raises:
            QueryError: it is not PromQL, or gives no scalar or instant vector.
        """
        ...

    def reads(self, expr: str) -> frozenset[str]:
        """Return the metric names that the selectors of an expression ask for; "" for one without a name."""
        ...

    def with_data(self, expr: str) -> str | None:
        """Return an expression whose result has every series that has data, true or not.

        It is the expression without the comparison that filters it; None where
        there is none such (`absent(x)`, a bare selector).
        """
        ...

    def instant(self, expr: str, time_ms: int, overlay: Queryable | None = None) -> Answer:
        """Return the result at one time; with an overlay, of its data instead of the store's.

        Raises:
            QueryError: it has no answer.
        """
        ...
