"""The contracts: all that the author of a new source, processor, sink or store must read.

A part is a class with a pydantic `Config` (its typed settings, whose field descriptions become the
reference page) and a constructor `(config, context)`. `registry.py` has one line for it. What flows
between parts is `model.Batch`; a part owns the arrays that it creates until it hands them on, and
never writes to arrays that it was given.

Bounds: queues, back-off, retry and batching live in the runtime, not in parts. A part that waits for
somebody else (a server, a file, a socket) has a time-out and a limit on what it reads.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, TypeAlias, runtime_checkable

from pydantic import BaseModel, ConfigDict, Field

from metricsmith.model.arrays import I64
from metricsmith.model.batch import Batch, Layout
from metricsmith.model.clock import Clock
from metricsmith.model.findings import Findings
from metricsmith.model.origin import NoJournal, Position
from metricsmith.model.series import SeriesTable
from metricsmith.model.settings_types import DurationMs
from metricsmith.model.state import MemoryState
from metricsmith.model.targets import PoolStatus
from metricsmith.model.telemetry import Telemetry

Emit: TypeAlias = Callable[[Batch], Awaitable[None]]
"""Hand a batch on. Returns when it is accepted: processed, committed to the journal, readable.

Raises `DiskFull` when it cannot be accepted now; the batch is then not accepted in part. The `origin` of
a batch is committed with what is left of it, also when that is nothing; `OutOfOrder` says that it is not
the next.
"""


class PartConfig(BaseModel):
    """Base of all typed settings: an unknown key is an error, values do not change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class State(Protocol):
    """What a part must remember over restarts: small values under keys of its own.

    For verdicts and positions, not for samples: those are series. Safe to call
    from any thread; `commit` waits for the disk.
    """

    def items(self, prefix: str = "") -> list[tuple[str, bytes]]:
        """Return what is kept under keys that begin with `prefix`, in key order."""
        ...

    def commit(self, put: Mapping[str, bytes], delete: Iterable[str] = ()) -> None:
        """Keep and forget values, all or nothing, durable when this returns. What is not there is forgotten.

        Raises:
            DiskFull: nothing has changed.
            StoreError: nothing has changed.
        """
        ...


class JournalView(Protocol):
    """What parts that exchange batches with other agents must know of the journal. From any thread.

    `life` is another number in each run of the agent; batches from `begun_at`
    on have been numbered in this one.
    """

    @property
    def life(self) -> int: ...

    @property
    def begun_at(self) -> int: ...

    def position(self, producer: bytes) -> Position | None:
        """Return how far the journal of another agent is in ours, None when nothing of it is."""
        ...


@dataclass(frozen=True, slots=True)
class Context:
    """What a part may use of the agent.

    In one-shot commands, outside an agent, state lasts as long as the process.
    """

    name: str
    series: SeriesTable
    telemetry: Telemetry
    clock: Clock
    state: State = field(default_factory=MemoryState)
    journal: JournalView = field(default_factory=NoJournal)


@runtime_checkable
class Examined(Protocol):
    """A class of sources, processors, sinks or stores that can hold settings against reality.

    For `metricsmith doctor`, whether or not an agent runs with these settings.
    """

    async def examine(self, config: Any, context: Context, findings: Findings) -> None:
        """Tell `findings` what is reached, allowed and there, and what is not. A class method.

        It changes nothing, anywhere: no part is made, unless its constructor
        opens nothing. Cancelled after `findings.timeout_s`; calls that wait go
        into threads by `net.threads.in_thread`. Raising a MetricsmithError is a
        problem found, any other exception a defect.
        """
        ...


class Source(Protocol):
    """Collects: emits batches until told to stop."""

    Config: ClassVar[type[BaseModel]]

    async def run(self, emit: Emit, stop: asyncio.Event) -> None:
        """Emit batches until `stop` is set, then return soon (within two seconds).

        A failure to collect is counted, logged and retried here; raising ends
        the source and is reported as a defect.
        """
        ...


class PolledSource(Protocol):
    """Collects when asked, on an interval that the runtime keeps."""

    Config: ClassVar[type[BaseModel]]
    interval_ms: int

    def collect(self, now_ms: int) -> Batch:
        """Return what is true now. Called from a worker thread, never twice at once."""
        ...


@runtime_checkable
class TargetLister(Protocol):
    """A source that reads targets, and says of each how it is."""

    def targets(self) -> PoolStatus:
        """Return what is known of each target. Called from any thread."""
        ...


class Processor(Protocol):
    """Maps a batch to a batch; does no I/O and does not change its input."""

    Config: ClassVar[type[BaseModel]]

    def process(self, batch: Batch) -> Batch | None:
        """Return what goes on, or None for nothing. What depends on labels only is cached by layout."""
        ...


@runtime_checkable
class Ticking(Protocol):
    """A processor that has samples of its own to give when time has passed."""

    def tick(self, now_ms: int) -> Batch | None:
        """Return what is due by now, to go on to the processors after this one; None for nothing.

        Asked every second, and again until nothing is due. Its stream's name is that of its source.
        """
        ...


@dataclass(frozen=True, slots=True)
class Delivery:
    """What a sink is given at once: batches of the journal, in its order.

    `sequences` has the journal's number of each batch; the parts of one that
    was split have the same. Who sends again sends the same numbers. Where
    batches are `whole`, one of which processors left nothing is there, empty.
    """

    sequences: Sequence[int]
    batches: Sequence[Batch]

    def __len__(self) -> int:
        """Return the number of samples and events."""
        return sum(batch.size for batch in self.batches)

    @property
    def events(self) -> int:
        """The number of events."""
        return sum(len(batch.events) for batch in self.batches)


class SinkConfig(PartConfig):
    """Base of the settings of all sinks: what the delivery engine does for each."""

    batch_size: int | None = Field(
        None, ge=1, le=1_000_000, description="Most samples sent at once; default `performance.batch_size`."
    )
    flush_interval: DurationMs | None = Field(
        None,
        ge=0,
        le=3_600_000,
        description="Longest wait for a full batch, 0 for none; default `performance.flush_interval`.",
    )
    worker_count: int | None = Field(
        None, ge=1, le=64, description="Concurrent sends; default `performance.worker_count`."
    )
    buffer_size: int | None = Field(
        None, ge=1, le=100_000_000, description="Samples held in memory; default `performance.buffer_size`."
    )
    allowed_lag: DurationMs | None = Field(
        None,
        ge=1000,
        description="The agent is not ready while samples have waited longer for this sink; default"
        " `performance.allowed_lag`.",
    )

    def conversions(self) -> Sequence[tuple[str, Mapping[str, Any]]]:
        """Return processors, by type and settings, that bring samples into the destination's form.

        They come last, after those that the user lists for the sink: these
        see the series as they were collected.
        """
        return ()


class Compressing(PartConfig):
    """Settings of a sink that compresses what it sends, where its destination takes it either way."""

    compression: bool = Field(True, description="Compress what is sent; default `performance.compression`.")


@dataclass(frozen=True, slots=True)
class SinkTraits:
    """What the delivery engine must know of a kind of sink.

    `max_age_ms`: older samples are refused there anyway; they are counted and
    not sent. `whole`: batches are neither split nor sent side by side, and
    each is sent again under its own number; those of events are among them.
    `events`: it takes events, in deliveries that hold nothing else. Other
    sinks are not given any, and that is no loss.
    """

    max_age_ms: int | None = None
    whole: bool = False
    events: bool = False


class Sink(Protocol):
    """Ships batches somewhere else. Filters, batching, retry, back-off and quarantine are the engine's.

    A sink whose constructor fails leaves nothing open; `close` is called once, last.
    """

    Config: ClassVar[type[SinkConfig]]
    traits: ClassVar[SinkTraits]

    async def send(self, delivery: Delivery) -> None:
        """Deliver samples: returning means delivered. Never called twice at once for one series.

        Raises:
            RetryLater: the destination is away; the same samples are sent again.
            TooLarge: the destination wants less at once; halves are sent.
            Rejected: the named series, or all when none is named, are refused for good. The others are
                delivered where some are named.
        """
        ...

    async def close(self) -> None:
        """Release connections."""
        ...


@runtime_checkable
class Preparing(Protocol):
    """A sink that makes something else of samples, after its processors and before they are cut and sent.

    What remembers from one batch to the next, such as differences of counters,
    belongs here: `send` may be called again for the same.
    """

    def prepare(self, batch: Batch) -> Batch | None:
        """Return what is to be sent, or None for nothing; called in the order of the journal."""
        ...


@runtime_checkable
class Grouping(Protocol):
    """A sink to which some series are one thing, such as a histogram: they are never sent apart."""

    def groups(self, layout: Layout) -> I64:
        """Return a number for each series, equal for those of a group; it follows from the series alone.

        Shapes:
            returns: (P,)
        """
        ...


@runtime_checkable
class TakesAside(Protocol):
    """A sink of whole batches that also takes samples that are not the journal's next: a trial, a retry."""

    async def send_aside(self, delivery: Delivery) -> str:
        """Deliver samples beside what `send` is given, also while that runs; return where they are.

        What was delivered by number stays so. Raises as `Sink.send`.
        """
        ...


@runtime_checkable
class Remarking(Protocol):
    """A sink that delivers, and knows that it may be in vain."""

    def remark(self) -> str:
        """Return what people should know of what was delivered, empty for nothing. From any thread."""
        ...
