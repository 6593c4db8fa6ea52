"""Batches with the ids that their series have now, noted as in use: by each stage that gets or makes some."""

from __future__ import annotations

from dataclasses import replace

from metricsmith.model.batch import Batch, Layout
from metricsmith.model.series import SeriesTable


class _Cell:
    """What a layout remembers of retired series among its own, and when it was noted as in use."""

    __slots__ = ("current", "generation", "watch")

    def __init__(self, _: Layout) -> None:
        self.generation = self.watch = 0
        self.current: Layout | None = None


def in_use(table: SeriesTable, batch: Batch) -> Batch:
    """Return a batch with the ids that its series have now; who sends it may have held one too long.

    What passes here keeps its ids, also when nothing of it is ever stored: it
    may be dropped or renamed later on, and who does that remembers it by id.
    Costs a look-up where nothing has changed.
    """
    if table.generation == 0 and table.watch == 0:
        return batch
    cell = batch.layout.derive(table, _Cell)
    if cell.generation != (generation := table.generation):
        ids = table.current(batch.layout.ids)
        layout = Layout(ids, batch.layout.stream, batch.layout.metadata)
        cell.current = None if ids is batch.layout.ids else layout
        cell.generation, cell.watch = generation, 0
    if cell.watch != (watch := table.watch):
        table.note_in_use((batch.layout if cell.current is None else cell.current).ids)
        cell.watch = watch
    return batch if cell.current is None else replace(batch, layout=cell.current)
