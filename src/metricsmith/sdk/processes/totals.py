"""What all processes have counted together: the state of the collecting process, without its sockets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from metricsmith.sdk.clock import Clock
from metricsmith.sdk.guard import OVERFLOW
from metricsmith.sdk.names import bound
from metricsmith.sdk.processes.cells import ADD, Bins, Pairs, Shape
from metricsmith.sdk.processes.gauges import GaugeCell, Told
from metricsmith.sdk.reading import Reading, Sample
from metricsmith.sdk.summary import Window

MAX_FAMILIES = 10_000
MAX_LABEL_SETS = 10_000
"""Of one metric; each process has its own limit before."""
MAX_CELLS = 500_000
_STAY = frozenset(("le", "quantile"))


class Total:
    """One label set of what is added up."""

    __slots__ = ("holders", "labels", "number", "shape", "values", "window")

    def __init__(self, number: int, shape: Shape, labels: Pairs, now_s: float) -> None:
        self.number, self.shape, self.labels = number, shape, labels
        self.values: list[float] = [0] * len(shape.lines)
        self.holders = 0
        """How many connected processes have this label set."""
        self.window = None if shape.sketch is None else Window(*shape.sketch[1:], now_s)

    def add(self, values: Sequence[float], bins: Bins | None) -> None:
        """Add what a process has counted."""
        self.values = [have + more for have, more in zip(self.values, values, strict=True)]
        if bins is not None and self.window is not None:
            sketch = self.window.current
            for mine, theirs in ((sketch.positive, bins[0]), (sketch.negative, bins[1])):
                for key, count in theirs.items():
                    mine[key] += count
            sketch.zero += bins[2]

    def samples(self, identity: Pairs, now_s: float) -> Iterator[Sample]:
        """Yield its lines."""
        labels = {**dict(identity), **dict(self.labels)}
        if self.window is not None and self.shape.sketch is not None:
            wanted = self.shape.sketch[0]
            for quantile, value in zip(wanted, self.window.quantiles(wanted, now_s), strict=True):
                yield Sample(self.shape.name, {**labels, "quantile": bound(quantile)}, value)
        for (name, extra), value in zip(self.shape.lines, self.values, strict=True):
            yield Sample(name, {**labels, **dict(extra)}, value)


class GaugeTotal:
    """One label set of a gauge."""

    __slots__ = ("cell", "labels", "shape")

    def __init__(self, shape: Shape, labels: Pairs) -> None:
        self.shape, self.labels, self.cell = shape, labels, GaugeCell(shape.mode)

    def samples(self, identity: Pairs) -> Iterator[Sample]:
        """Yield its lines; a label `pid` of the metric's own stays."""
        for own, values in self.cell.values():
            labels = {**dict(identity), **own, **dict(self.labels)}
            for (name, extra), value in zip(self.shape.lines, values, strict=True):
                yield Sample(name, {**labels, **dict(extra)}, value)


class Family:
    """One metric of one application. `identity` are labels of all its series that have none of that name."""

    def __init__(self, identity: Pairs, shape: Shape, order: int) -> None:
        self.identity, self.shape, self.order = identity, shape, order
        self.adding: dict[tuple[Pairs, Any], Total] = {}
        self.gauges: dict[tuple[Pairs, Any], GaugeTotal] = {}

    @property
    def size(self) -> int:
        """The number of label sets."""
        return len(self.adding) + len(self.gauges)

    def differs(self, shape: Shape) -> bool:
        """Return whether this is another metric of the same name: of other type, mode or buckets."""
        return _form(shape) != _form(self.shape)

    def read(self, now_s: float) -> Reading:
        """Return what it tells now. Of two processes with the same id, the later is shown."""
        samples = [sample for total in self.adding.values() for sample in total.samples(self.identity, now_s)]
        told = [sample for total in self.gauges.values() for sample in total.samples(self.identity)]
        if self.shape.mode.endswith("all") or not self.shape.whole:
            told = list({(s.name, tuple(s.labels.items())): s for s in told}.values())
        shape = self.shape
        return Reading(shape.name, shape.type, shape.documentation, shape.unit, samples + told)


def _form(shape: Shape) -> object:
    return (shape.type, shape.mode, shape.lines, shape.sketch) if shape.whole else shape.type


class Totals:
    """All families of all applications. Not safe for several threads at once.

    `changed` and `removed` are numbers of totals since they were last kept on disk.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._families: dict[tuple[Pairs, str], Family] = {}
        self._next = 1
        self._cells = 0
        self._order = 0
        self.changed: dict[int, tuple[Pairs, Total]] = {}
        self.created: set[int] = set()
        self.removed: set[int] = set()
        self.folded = self.conflicts = self.refused = 0

    def bind(self, identity: Pairs, shape: Shape, labels: Pairs, order: int) -> Bound | None:
        """Return where changes of a label set go, None for nowhere.

        Of two versions of an application that disagree on a metric, the one whose process began later
        (`order`) has it, from zero.
        """
        family = self._family(identity, shape, order)
        if family is None:
            return None
        labels = tuple(sorted({name: value for name, value in labels if value}.items()))
        known: dict[Any, Any] = family.adding if shape.mode == ADD else family.gauges
        lines = None if shape.whole else shape.lines
        key = (labels, lines)
        if key not in known and (family.size >= MAX_LABEL_SETS or self._cells >= MAX_CELLS):
            self.folded += 1
            labels = tuple([(name, value if name in _STAY else OVERFLOW) for name, value in labels])
            key = (labels, lines)
        total = known.get(key)
        if total is None:
            self._cells += 1
            total = known[key] = self._new(identity, shape, labels)
        if isinstance(total, Total):
            total.holders += 1
        return Bound(self, family, key, total)

    def _family(self, identity: Pairs, shape: Shape, order: int) -> Family | None:
        family = self._families.get((identity, shape.name))
        if family is None:
            if len(self._families) >= MAX_FAMILIES:
                self.refused += 1
                return None
        elif not family.differs(shape):
            family.order = max(family.order, order)
            return family
        elif order < family.order:
            self.conflicts += 1
            return None
        else:
            self.conflicts += 1
            self._drop(family)
        family = self._families[identity, shape.name] = Family(identity, shape, order)
        return family

    def _new(self, identity: Pairs, shape: Shape, labels: Pairs) -> Total | GaugeTotal:
        if shape.mode != ADD:
            return GaugeTotal(shape, labels)
        total = Total(self._next, shape, labels, self._clock.monotonic())
        self._next += 1
        self.created.add(total.number)
        self.changed[total.number] = (identity, total)
        return total

    def restore(self, number: int, identity: Pairs, shape: Shape, labels: Pairs, values: list[float]) -> None:
        """Take up a total that was kept."""
        family = self._families.setdefault((identity, shape.name), Family(identity, shape, 0))
        total = Total(number, shape, labels, self._clock.monotonic())
        total.values = values
        family.adding[labels, None if shape.whole else shape.lines] = total
        self._next = max(self._next, number + 1)
        self._cells += 1

    def read(self) -> Iterator[Reading]:
        """Yield what all processes tell together; of an application, each family once."""
        now_s = self._clock.monotonic()
        for family in list(self._families.values()):
            reading = family.read(now_s)
            if reading.samples:
                yield reading

    def identities(self) -> set[Pairs]:
        """Return the applications."""
        return {identity for identity, _ in self._families}

    def forget(self, identity: Pairs) -> None:
        """Forget all metrics of an application."""
        for key in [key for key in self._families if key[0] == identity]:
            self._drop(self._families.pop(key))

    def next_order(self) -> int:
        """Return a number above all before it."""
        self._order += 1
        return self._order

    def gauges(self) -> Iterator[GaugeCell]:
        """Yield all cells of gauges."""
        for family in self._families.values():
            for total in family.gauges.values():
                yield total.cell

    def drop_empty(self) -> None:
        """Forget label sets of gauges that no process tells of."""
        for family in self._families.values():
            for key in [key for key, total in family.gauges.items() if not total.cell]:
                del family.gauges[key]
                self._cells -= 1

    def note_kept(self) -> None:
        """Note that what is on disk is what is here, or that nothing is to be there."""
        self.changed.clear()
        self.created.clear()
        self.removed.clear()

    def _drop(self, family: Family) -> None:
        self._cells -= family.size
        for total in family.adding.values():
            self._forget(total)

    def _forget(self, total: Total) -> None:
        self.changed.pop(total.number, None)
        self.created.discard(total.number)
        self.removed.add(total.number)


class Bound:
    """One label set, as one connected process has it."""

    __slots__ = ("_family", "_key", "_totals", "target")

    def __init__(self, totals: Totals, family: Family, key: Any, target: Any) -> None:
        self._totals, self._family, self._key = totals, family, key
        self.target: Total | GaugeTotal = target

    @property
    def lines(self) -> int:
        """The number of values that are wanted."""
        return len(self.target.shape.lines)

    def apply(self, session: int, pid: int, values: Sequence[float], bins: Bins | None) -> None:
        """Take what a process tells."""
        totals, target = self._totals, self.target
        if isinstance(target, GaugeTotal):
            if self._key not in self._family.gauges:
                totals._cells += 1
                self._family.gauges[self._key] = target
            target.cell.set(session, Told(pid, totals.next_order(), values))
        elif self._family.adding.get(self._key) is target:
            target.add(values, bins)
            totals.changed[target.number] = (self._family.identity, target)

    def gone(self, session: int) -> None:
        """Note that a process says that it has the label set no more."""
        target = self.target
        if isinstance(target, GaugeTotal):
            target.cell.remove(session)
        else:
            self.left()
            if not target.holders and self._family.adding.get(self._key) is target:
                del self._family.adding[self._key]
                self._totals._cells -= 1
                self._totals._forget(target)

    def left(self) -> None:
        """Note that a process is no longer connected."""
        if isinstance(self.target, Total):
            self.target.holders -= 1
