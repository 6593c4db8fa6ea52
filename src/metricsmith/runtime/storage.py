"""Where samples go and are asked for: a store of this machine, or one that a sink writes."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from metricsmith import registry
from metricsmith.config.parts import STORAGE, Part
from metricsmith.contracts import Context, SinkConfig
from metricsmith.model.batch import Batch
from metricsmith.model.steady_time import SteadyTime
from metricsmith.runtime.last_values import LastValues
from metricsmith.store.admission import Admission
from metricsmith.store.datadir import DataDir
from metricsmith.store.manifest import Manifest
from metricsmith.store_contracts import Delivered, Keeper, Readable, Store, StoreConfig


class DeliveredKeeper:
    """Takes samples for a store that a sink writes: the journal keeps them until they are delivered.

    It holds the data folder, as the embedded store does: two agents never share one.
    """

    def __init__(self, config: StoreConfig, context: Context) -> None:
        """Raises as `DataDir.open`."""
        self._folder = DataDir(Path(config.path))
        self._folder.open()
        self._steady = SteadyTime(context.clock, None)
        self._admission = Admission(context.clock, self._steady, config.retention, context.telemetry)
        try:
            self.begins = _unwritten(self._folder.manifest)
            """Where a new sink begins: at what the embedded store, if it was used here, has not on disk."""
        except BaseException:
            self._folder.close()
            raise
        self._next: int | None = None
        self.last = LastValues(context.series)

    def cursor(self) -> int | None:
        """Return the number after the last batch: nothing is replayed, delivery has a cursor of its own."""
        return self._next

    def check_space(self) -> None:
        """Return: the journal says itself when it is full."""

    def admit(self, batch: Batch) -> Batch:
        """Return the samples whose times are accepted; the others are counted."""
        return self._admission.admit(batch)

    def apply(self, batch: Batch, sequence: int) -> None:
        """Take note of it: delivery reads the journal."""
        self._next = sequence + 1
        self.last.apply(batch)

    def tick(self, now_ms: int) -> None:
        """Have time go on: it must be asked every few seconds."""
        self._steady.now_ms()

    def close(self) -> None:
        """Release the data folder."""
        self._folder.close()


def _unwritten(manifest: Path) -> int | None:
    if not manifest.exists():
        return None
    embedded = Manifest(manifest)
    try:
        return embedded.cursor
    finally:
        embedded.close()


def open_store(part: Part, context: Context) -> tuple[Readable, Keeper]:
    """Return what answers queries, and what takes samples; the same where they are kept on this machine.

    Raises:
        StoreError: the data folder cannot be used.
    """
    cls = registry.load("stores", part.type)
    if not issubclass(cls, Delivered):
        store = cast(Store, cls(part.config, context))
        return store, store
    assert isinstance(part.config, StoreConfig)
    keeper = DeliveredKeeper(part.config, context)
    try:
        return cls(part.config, context), keeper
    except BaseException:
        keeper.close()
        raise


def writing_part(store: Readable) -> Part | None:
    """Return the sink that writes what a store reads; None where no sink does."""
    written = store.written_by() if isinstance(store, Delivered) else None
    if written is None:
        return None
    type_name, settings = written
    config: type[SinkConfig] = registry.load("sinks", type_name).Config
    return Part("sinks", type_name, STORAGE, config.model_construct(**settings))
