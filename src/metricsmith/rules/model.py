"""What a rule is, once its file is read; and what rules ask of the query engine.

Threshold rules, anomalies and objectives are written shorter, and become these same rules when they
are loaded: there is one way to evaluate and one way to alert.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:  # the command line asks for `NoData` at its start, and numpy takes long to load
    from metricsmith.model.arrays import F64
    from metricsmith.store_contracts import Selectable


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
    replaces the one of the configuration; `threshold` is the number that a
    threshold rule compares with, for the webhook's payload.

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
    webhook_url: str | None = field(default=None, repr=False)  # such addresses hold secrets
    threshold: float | None = None
    origin: Origin = field(default_factory=Origin, compare=False)


Rule: TypeAlias = RecordingRule | AlertingRule


@dataclass(frozen=True, slots=True)
class Group:
    """Rules that are evaluated in order, at one time, each seeing what those before it recorded.

    `limit` bounds the series or alerts of each rule; 0 is none. Without
    `query_offset_ms` the agent's default holds, 0 elsewhere. File and name
    identify a group over reloads.

    Units:
        interval_ms, query_offset_ms: milliseconds.
    """

    name: str
    file: str
    interval_ms: int
    rules: tuple[Rule, ...]
    limit: int = 0
    query_offset_ms: int | None = None
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """File and name, as Prometheus joins them."""
        return f"{self.file};{self.name}"


class AlertState(StrEnum):
    """The states of an alert. An inactive one has ended, and is remembered while that is told to others."""

    PENDING = "pending"
    FIRING = "firing"
    INACTIVE = "inactive"


@dataclass(slots=True)
class Alert:
    """One alert: a label set for which a rule's expression holds, or held.

    `labels` are complete (with `alertname`) and identify it; `source` is the
    key, without name, of the series that it is about, and `asked` tells by what
    expression that was found (`remembered.question`). `threshold`, like the
    annotations, is of the rule as it was when it last held. 0 is a time that has
    not come; `no_data_since_ms` is when the series was first found without samples.

    Units:
        Times in milliseconds since the Unix epoch.
    """

    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    value: float
    active_at_ms: int
    source: bytes = b""
    asked: str = ""
    threshold: float | None = None
    state: AlertState = AlertState.PENDING
    fired_at_ms: int = 0
    resolved_at_ms: int = 0
    last_sent_ms: int = 0
    keep_firing_since_ms: int = 0
    no_data_since_ms: int = 0

    @property
    def active(self) -> bool:
        """Whether it is pending or firing."""
        return self.state is not AlertState.INACTIVE

    @property
    def no_data(self) -> bool:
        """Whether its series has no samples now."""
        return self.no_data_since_ms != 0


@dataclass(frozen=True, slots=True)
class Notification:
    """What is told of an alert: that it fires, and until when unless it is told again; or that it ended.

    It is `news` when it is told for the first time.

    Units:
        Times in milliseconds since the Unix epoch; `ends_at_ms` of a resolved alert is when it ended.
    """

    rule: AlertingRule
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    value: float
    resolved: bool
    starts_at_ms: int
    ends_at_ms: int
    sent_at_ms: int
    no_data: bool = False
    threshold: float | None = None
    news: bool = False


class Outbox(Protocol):
    """Takes notifications: durable in one commit with the state of their alerts, and sent afterwards."""

    def prepare(self, notifications: Sequence[Notification]) -> Mapping[str, bytes]:
        """Return what to keep in the rules' state until it is sent; the keys begin with `outbox/`."""
        ...

    def release(self, entries: Mapping[str, bytes]) -> None:
        """Send entries: they are committed now, or could not be and are sent all the same."""
        ...


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

    def instant(self, expr: str, time_ms: int, overlay: Selectable | None = None) -> Answer:
        """Return the result at one time; with an overlay, of its data instead of the store's.

        Raises:
            QueryError: it has no answer.
        """
        ...
