"""What a process has counted since it last told: deltas, taken from the metrics when they are pushed.

Nothing happens when a metric is updated. A cell remembers, for one label set, what was told of it; the
difference to what the metric has now is what is pushed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any, NamedTuple, TypeAlias
from weakref import WeakKeyDictionary

from metricsmith.sdk.gauge import Gauge
from metricsmith.sdk.instrument import Instrument
from metricsmith.sdk.reading import Reading, Sample
from metricsmith.sdk.registry import Registry
from metricsmith.sdk.sketch import Sketch
from metricsmith.sdk.states import Enum, Info
from metricsmith.sdk.summary import Summary

ADD = "add"
"""The mode of what is added up; all others are those of gauges."""
FACTS = "livemax"
"""Info: each of the facts that a process which lives tells of."""
OWN = "liveall"
"""What has no declared mode: one series for each process that lives."""

MAX_GONE = 10_000
"""Counters of collectors that are no longer told, and remembered in case they come back."""
Pairs: TypeAlias = tuple[tuple[str, str], ...]
Bins: TypeAlias = tuple[dict[int, int], dict[int, int], int]
"""Positive, negative, zero."""


class Shape(NamedTuple):
    """What many cells share. `lines` are full names of samples, and the labels that only these have.

    `whole`: all cells of the family have these lines, so that another version
    of the application with other buckets can be told from this one.
    """

    name: str
    type: str
    documentation: str
    unit: str
    mode: str
    whole: bool
    lines: tuple[tuple[str, Pairs], ...]
    sketch: tuple[tuple[float, ...], float, float] | None = None
    """Quantiles, relative error, seconds of the window."""


_NOTHING: Bins = ({}, {}, 0)


class Cell:
    """What was told of one label set."""

    __slots__ = (
        *("inherited", "label_names", "label_values", "seen", "shape", "size"),
        *("sketch", "taken", "told", "updates", "values"),
    )

    def __init__(self, shape: Shape, label_names: Sequence[str], label_values: Sequence[str]) -> None:
        self.shape = shape
        # As the metric has them: a cell of its own tuples would be twice as large.
        self.label_names, self.label_values = label_names, label_values
        pairs = [*label_names, *label_values, *(() if shape.whole else chain(*shape.lines[0][1]))]
        self.size = sum(map(len, pairs)) + 8 * len(pairs) + 32 * len(shape.lines) + len(shape.documentation)
        """Characters to tell of it, about."""
        self.values: Sequence[float] = [0.0] * len(shape.lines)
        self.updates: float = 0.0
        self.told = False
        """Whether the receiver knows of it, in this connection."""
        self.inherited: float | None = None
        """Of a gauge that the parent of this process has set: its updates until then."""
        self.seen = 0
        self.sketch: Sketch | None = None
        self.taken = _NOTHING
        """What was told of the sketch."""

    @property
    def labels(self) -> Pairs:
        """The labels that all its lines have."""
        return tuple(zip(self.label_names, self.label_values, strict=True))


class Change(NamedTuple):
    """What is to be told of a cell: `values` to add or to set, None when it is no more."""

    cell: Cell
    values: Sequence[float] | None
    bins: Bins | None = None


class Cells:
    """The cells of one registry. Used by one thread at a time."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._of_children: WeakKeyDictionary[Instrument, Cell] = WeakKeyDictionary()
        self._of_samples: dict[tuple[str, Pairs], Cell] = {}
        self._shapes: dict[Shape, Shape] = {}
        self._told: list[Cell] = []
        self._pass = 0
        self.not_finite = 0
        """Deltas that were left out because they are no finite numbers."""

    def changes(self) -> list[Change]:
        """Return what was not told yet, and note it as told."""
        self._pass += 1
        found: list[Change] = []
        told: list[Cell] = []
        for cell, change in self._read():
            if change is not None:
                cell = change.cell
                cell.told = True
                found.append(change)
            cell.seen = self._pass
            if cell.told:
                told.append(cell)
        found += [Change(cell, None) for cell in self._told if cell.seen != self._pass]
        self._told = told
        self._forget_samples()
        return found

    def skip_metrics(self) -> None:
        """Take what metrics have counted so far as told: it is the parent's, who forked this process.

        Gauges that the parent has set are its own until this process sets them. Takes no lock, and calls
        no function of the application.
        """
        for instrument in self._registry.instruments():
            for child in instrument._family.live(instrument):
                cell = self._of_children.get(child) or self._new(child)
                if cell.shape.mode == ADD:
                    self._child_change(child, cell, child._updates())
                else:
                    cell.inherited = child._updates()

    def skip_collectors(self) -> None:
        """Take what collectors of another kind have counted so far as told."""
        for source in self._registry.sources():
            if isinstance(source, Reading):
                for sample in source.samples:
                    self._sample_change(self._sample_cell(source, sample), float(sample.value))

    def announce(self) -> None:
        """Have all cells told of, in a new connection; of those that did not change, that they are there."""
        for cell in (*self._of_children.values(), *self._of_samples.values()):
            cell.told = False
        self._told = []

    def _forget_samples(self) -> None:
        """Forget what collectors no longer tell; a counter that comes back goes on, unless there are many."""
        gone = [key for key, cell in self._of_samples.items() if cell.seen != self._pass]
        adding = [key for key in gone if self._of_samples[key].shape.mode == ADD]
        kept = set(adding[-MAX_GONE:])
        for key in gone:
            self._of_samples[key].told = False
            if key not in kept:
                del self._of_samples[key]

    def _read(self) -> Iterator[tuple[Cell, Change | None]]:
        for source in self._registry.sources():
            if isinstance(source, Reading):
                for sample in source.samples:
                    cell = self._sample_cell(source, sample)
                    yield cell, self._sample_change(cell, float(sample.value))
                continue
            for child in source._family.live(source):
                cell = self._of_children.get(child) or self._new(child)
                updates = child._updates()
                if updates == cell.updates and (cell.told or cell.inherited == updates):
                    yield cell, None
                    continue
                try:
                    yield cell, self._child_change(child, cell, updates)
                except Exception as error:  # a gauge's function
                    child._failed(error)

    def _new(self, child: Instrument) -> Cell:
        cell = Cell(self._shared(shape_of(child)), child._family.labelnames, child._labelvalues)
        self._of_children[child] = cell
        return cell

    def _shared(self, shape: Shape) -> Shape:
        return self._shapes.setdefault(shape, shape)

    def _child_change(self, child: Any, cell: Cell, updates: float) -> Change | None:
        if isinstance(child, Info):
            shape = shape_of(child)
            if shape != cell.shape:
                # The old cell is told to be gone, as no child has it any more.
                cell = self._of_children[child] = Cell(shape, cell.label_names, cell.label_values)
        values = [child._count, child._sum] if isinstance(child, Summary) else child._values()
        if cell.shape.mode != ADD:
            return self._set(cell, values, updates)
        began_anew = updates < cell.updates
        bins = self._bins(child, cell) if isinstance(child, Summary) and child._quantiles else None
        return self._added(cell, values, updates, began_anew, bins)

    def _set(self, cell: Cell, values: Sequence[float], updates: float) -> Change | None:
        cell.updates = updates
        if cell.told and list(values) == list(cell.values):
            return None
        cell.values = list(values)
        return Change(cell, cell.values)

    def _added(
        self, cell: Cell, values: Sequence[float], updates: float, began_anew: bool, bins: Bins | None = None
    ) -> Change:
        before = [0.0] * len(values) if began_anew else cell.values
        delta = [now - then for now, then in zip(values, before, strict=True)]
        cell.values, cell.updates = list(values), updates
        if not all(value - value == 0 for value in delta):
            self.not_finite += 1
            # An infinite observation spoils the sum for ever, but neither the count nor the buckets.
            delta = [value if value - value == 0 else 0.0 for value in delta]
        return Change(cell, delta, bins)

    def _bins(self, child: Summary, cell: Cell) -> Bins:
        """Return what was added to a summary's sketch, which is another one from time to time."""
        current = child._window.current
        found = _NOTHING
        if cell.sketch is not None and cell.sketch is not current:
            found, cell.taken = _difference(_bins_of(cell.sketch), cell.taken), _NOTHING
        cell.sketch, now = current, _bins_of(current)
        found = _sum(found, _difference(now, cell.taken))
        cell.taken = now
        return found

    def _sample_cell(self, reading: Reading, sample: Sample) -> Cell:
        key = (sample.name, tuple(sample.labels.items()))
        cell = self._of_samples.get(key)
        if cell is None:
            family = (reading.name, reading.type, reading.documentation, reading.unit)
            shape = Shape(*family, _mode_of(reading.type, sample), False, ((sample.name, ()),))
            names, values = tuple(sample.labels), tuple(map(str, sample.labels.values()))
            cell = self._of_samples[key] = Cell(self._shared(shape), names, values)
        return cell

    def _sample_change(self, cell: Cell, value: float) -> Change | None:
        if cell.shape.mode != ADD:
            return self._set(cell, [value], value)
        if cell.told and value == cell.values[0]:
            return None
        # Sums may fall where observations may be negative; anything else that falls began at zero again.
        began_anew = value < cell.values[0] and not cell.shape.lines[0][0].endswith("_sum")
        return self._added(cell, [value], value, began_anew)


def shape_of(child: Instrument) -> Shape:
    """Return the shape of a label set of a metric of ours."""
    family, sketch, lines = child._family, None, child._shape()
    if isinstance(child, Summary):
        sketch, lines = (child._quantiles, *child._options) if child._quantiles else None, lines[-2:]
    mode = child.multiprocess_mode if isinstance(child, Gauge) else ADD
    if isinstance(child, Info | Enum):
        mode = FACTS if isinstance(child, Info) else OWN
    full = tuple([(family.name + suffix, tuple(extra)) for suffix, extra in lines])
    head = (family.name, family.type, family.documentation, family.unit)
    return Shape(*head, mode, not isinstance(child, Info), full, sketch)


def _mode_of(type: str, sample: Sample) -> str:
    if type in ("counter", "histogram") or (type == "summary" and "quantile" not in sample.labels):
        return ADD
    return FACTS if type == "info" else OWN


def _bins_of(sketch: Sketch) -> Bins:
    return dict(sketch.positive), dict(sketch.negative), sketch.zero


def _difference(now: Bins, then: Bins) -> Bins:
    return _grown(now[0], then[0]), _grown(now[1], then[1]), now[2] - then[2]


def _grown(now: dict[int, int], then: dict[int, int]) -> dict[int, int]:
    return {key: count - then.get(key, 0) for key, count in now.items() if count != then.get(key, 0)}


def _sum(one: Bins, other: Bins) -> Bins:
    return _both(one[0], other[0]), _both(one[1], other[1]), one[2] + other[2]


def _both(one: dict[int, int], other: dict[int, int]) -> dict[int, int]:
    return {key: one.get(key, 0) + other.get(key, 0) for key in {**one, **other}}
