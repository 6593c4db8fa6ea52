"""The contracts of stores: what queries ask of data, and what the author of a store must read.

A store is a part as those of `contracts.py` are. One on this machine keeps what the journal commits;
another is written by a sink, and only reads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from pydantic import Field

from metricsmith.contracts import PartConfig
from metricsmith.model.arrays import U32
from metricsmith.model.batch import Batch
from metricsmith.model.matchers import Matcher
from metricsmith.model.metadata import Metadata
from metricsmith.model.progress import Progress
from metricsmith.model.query_result import Result
from metricsmith.model.selection import Selection
from metricsmith.model.settings_types import DurationMs


class Selectable(Protocol):
    """What the PromQL engine asks of data. Safe to call from any thread."""

    def select(
        self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, limit: int | None = None
    ) -> Selection:
        """Return all samples of the matching series in the closed range [start_ms, end_ms].

        Raises:
            QueryLimitExceeded: they are more than `limit`; that many are never in memory.
        """
        ...


@runtime_checkable
class Layered(Selectable, Protocol):
    """Data of a store, but for some metrics."""

    def differs(self, names: Set[str]) -> bool:
        """Return whether selectors of these metrics may find else than in the store; "" is any metric."""
        ...


class QueryEngine(Protocol):
    """Answers PromQL: our engine over a store, or a server that has the samples. Safe from any thread."""

    def instant(
        self,
        text: str,
        time_ms: int,
        *,
        timeout_s: float | None = None,
        lookback_ms: int | None = None,
        progress: Progress | None = None,
    ) -> Result:
        """Return the answer at one time; a scalar, vector, string, or raw matrix.

        Raises:
            QueryError: it has no answer.
            StoreUnavailable: the server is away.
        """
        ...

    def range(
        self,
        text: str,
        start_ms: int,
        end_ms: int,
        step_ms: int,
        *,
        timeout_s: float | None = None,
        lookback_ms: int | None = None,
        progress: Progress | None = None,
    ) -> Result:
        """Return the answer at each step from start to end, always a matrix.

        Raises:
            as `instant`.
        """
        ...


@runtime_checkable
class EvaluatesQueries(Protocol):
    """A store whose server evaluates PromQL: whole expressions go there, and not the samples come here."""

    def query_engine(
        self, *, lookback_ms: int, timeout_s: float, max_series: int, max_points: int
    ) -> QueryEngine:
        """Return what asks the server, within limits on time and answer unless a query says less."""
        ...


class Queryable(Selectable, Protocol):
    """What the API asks of a store besides. Safe to call from any thread."""

    def series(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> list[bytes]:
        """Return the sorted keys of matching series that may have samples in the range."""
        ...

    def label_names(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> list[str]:
        """Return the sorted label names of those series."""
        ...

    def label_values(self, name: str, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> list[str]:
        """Return the sorted values that a label has in those series."""
        ...

    def metadata(self) -> Mapping[str, Metadata]:
        """Return what is known of each metric family."""
        ...


@dataclass(frozen=True, slots=True)
class StoreStatus:
    """What `/storage/status` and `/status` show of a store; None is what nobody tells."""

    type: str
    status: str  # "connected", "full", "error"
    database: str
    retention_ms: int | None
    disk_usage_bytes: int | None
    series: int | None
    blocks: int | None
    head_samples: int | None
    last_sample_ms: int | None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Cardinality:
    """Where series come from: counts over those that have recent samples, the largest of each kind.

    `bytes_by_label` adds the lengths of a label's distinct values; a pair is
    named `label=value`. Times are those of the recent samples, None without any.
    """

    series: int
    label_pairs: int
    series_by_metric: list[tuple[str, int]]
    values_by_label: list[tuple[str, int]]
    bytes_by_label: list[tuple[str, int]]
    series_by_pair: list[tuple[str, int]]
    first_ms: int | None = None
    last_ms: int | None = None


class StoreConfig(PartConfig):
    """Base of the settings of all stores: the agent's data folder, and how long samples are of use."""

    path: str = Field(
        "./data",
        description="Folder of the agent's data: journal, state, quarantine, and the samples that are kept on"
        " this machine.",
    )
    retention: DurationMs = Field(
        30 * 86_400_000,
        ge=60_000,
        description="Samples older than this are refused, and deleted; a server with Prometheus' API deletes"
        " by its own retention.",
    )


class Readable(Queryable, Protocol):
    """What every store does: answers queries, and tells of itself. Safe to call from any thread.

    Raises:
        StoreUnavailable: by whatever asks a server that is away. `status` says so in what it returns.
    """

    def status(self) -> StoreStatus:
        """Return the state for people and pages."""
        ...

    def cardinality(self, limit: int) -> Cardinality:
        """Return what makes many series, at most `limit` of each kind."""
        ...

    def close(self) -> None:
        """Release what is held: files, connections; queries that run end. Called once, last."""
        ...


@runtime_checkable
class Delivered(Readable, Protocol):
    """A store that a sink writes: it only reads. Its settings extend `StoreConfig`.

    The agent has the sink fed by delivery, as any other: samples wait in the
    journal while the destination is away. So what is accepted can be read a
    moment later, and not at once.
    """

    def written_by(self) -> tuple[str, Mapping[str, Any]] | None:
        """Return the sink that writes what this store reads: its type, and values of its `Config`.

        None when its server collects by itself.
        They are checked already, as those of the store are, and in the types
        that they have after loading: a duration is a number of milliseconds.
        """
        ...


class Keeper(Protocol):
    """Takes samples as the journal commits them. For one thread.

    Where samples are kept on this machine that is the store itself; the store
    of a sink has the journal keep them.
    """

    def cursor(self) -> int | None:
        """Return the journal sequence number of the first frame that a restart must replay; None for none."""
        ...

    def check_space(self) -> None:
        """Return when samples can be accepted; asked before a batch goes into the journal.

        Raises:
            DiskFull: not now; the sender must retry.
        """
        ...

    def admit(self, batch: Batch) -> Batch:
        """Return the samples whose times are accepted; the others are counted. Asked before the journal.

        What is in the journal was acknowledged: the clock has no say in it any more.
        """
        ...

    def apply(self, batch: Batch, sequence: int) -> None:
        """Make all of a committed batch readable at once, where samples are kept here.

        `sequence` is that of the batch's journal frame; calls come in that order.
        """
        ...

    def tick(self, now_ms: int) -> None:
        """Do housekeeping that is due (start a flush, retention); returns soon, works in the background."""
        ...

    def close(self) -> None:
        """Wait for background work, flush what is in memory, release the directory."""
        ...


@runtime_checkable
class RemembersSeries(Protocol):
    """A keeper that knows after a start which series it had before."""

    def series_since(self, start_ms: int) -> U32:
        """Return the ids, each once, of series that may have samples at or after a time."""
        ...


@runtime_checkable
class Store(Readable, Keeper, Protocol):
    """Keeps samples on this machine and answers queries. Its settings extend `StoreConfig`."""
