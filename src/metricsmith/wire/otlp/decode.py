"""OTLP requests to batches, without a Python step per point for senders that repeat their shape."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from metricsmith.model.arrays import F64, I64
from metricsmith.model.batch import Batch, Layout
from metricsmith.model.series import SeriesTable
from metricsmith.wire.otlp.delta import DeltaSums
from metricsmith.wire.otlp.plan import Plan, PlanBuilder, Shape, build, padded, shape_of
from metricsmith.wire.otlp.reading import RequestReader
from metricsmith.wire.otlp.series import KnownSeries
from metricsmith.wire.otlp.settings import OtlpSettings
from metricsmith.wire.protobuf import BYTES, read_fields

MAX_SAMPLES = 2_000_000
NEW_LABEL_BYTES = 128 << 20
"""Most bytes of labels of series that one request may bring."""
PLANS_BYTES = 64 << 20
PLANS_ALIKE = 4
_SEEN = 10_000

_Sort = tuple[int, bytes]


@dataclass(frozen=True, slots=True)
class Decoded:
    """What a request holds.

    `rejected` counts points by reason, `message` is about the first of them.
    `commit` is to be called when the batch is accepted; None when there is nothing to remember.
    """

    batch: Batch
    points: int
    exemplars: int
    rejected: Counter[str]
    message: str
    commit: Callable[[], None] | None


class OtlpDecoder:
    """Decodes requests of any senders; remembers their shapes and series. For one thread at a time."""

    def __init__(self, series: SeriesTable, settings: OtlpSettings) -> None:
        self._settings = settings
        self._known = KnownSeries(series, settings)
        self._plans = _Plans(PLANS_BYTES)
        self._sums = DeltaSums(settings.delta_series, settings.delta_expiry)

    def decode(self, message: bytes, now_ms: int, max_samples: int = MAX_SAMPLES) -> Decoded:
        """Return the samples of an ExportMetricsServiceRequest in Protobuf, not compressed.

        The batch has a layout without stream; requests of one shape share it.

        Raises:
            LimitExceeded: too many samples, or bytes of labels.
            WireError: malformed.
        """
        data = padded(message)
        sort = (len(message), _first_resource(message))
        plan = self._plans.find(sort, data)
        if plan is None:
            columns = PlanBuilder(len(message))
            self._known.begin(NEW_LABEL_BYTES)
            RequestReader(data, self._settings, self._known, columns, max_samples).read(len(message))
            plan = build(columns)
            self._plans.remember(sort, data, columns, plan)
        times, values = plan.evaluate(data)
        if len(plan.deltas):
            return self._with_sums(plan, times, values, now_ms)
        batch = Batch(plan.layout, times, values, plan.stale)
        return Decoded(batch, plan.points, plan.exemplars, plan.rejected, plan.message, None)

    def _with_sums(self, plan: Plan, times: I64, values: F64, now_ms: int) -> Decoded:
        deltas, heads = plan.deltas, plan.delta_heads
        if plan.stale is not None:
            alive = ~plan.stale[deltas]
            deltas, heads = deltas[alive], heads[alive]
        summed = self._sums.add(plan.layout.ids[deltas], values[deltas], times[deltas], now_ms)
        values[deltas] = summed.totals
        rejected, message = plan.rejected.copy(), plan.message
        for reason, which in (("delta_out_of_order", summed.late), ("delta_not_summed", summed.unfit)):
            if which.any():
                rejected[reason] += max(1, int((which & heads).sum()))
                message = message or _WHY[reason]
        batch = Batch(plan.layout, times, values, plan.stale)
        dropped = summed.late | summed.unfit
        if dropped.any():
            kept = np.ones(len(values), dtype=np.bool_)
            kept[deltas[dropped]] = False
            layout = Layout(plan.layout.ids[kept], None, plan.layout.metadata)
            batch = batch.take(layout, np.flatnonzero(kept))
        return Decoded(batch, plan.points, plan.exemplars, rejected, message, summed.commit)


_WHY = {
    "delta_out_of_order": "a delta is not newer than the last one of its series",
    "delta_not_summed": "a delta is no finite number, or there are too many series of deltas"
    " (otlp.delta_series)",
}


class _Plans:
    """Plans by the length of requests and their first resource, the least used forgotten first."""

    def __init__(self, most_bytes: int) -> None:
        self._room = most_bytes
        self._plans: OrderedDict[_Sort, list[tuple[Shape, Plan]]] = OrderedDict()
        self._seen: set[int] = set()

    def find(self, sort: _Sort, data: bytes) -> Plan | None:
        """Return the plan for a message; None when none has been remembered."""
        plans = self._plans.get(sort)
        if plans is None:
            return None
        self._plans.move_to_end(sort)
        return next((plan for shape, plan in plans if shape.matches(data)), None)

    def remember(self, sort: _Sort, data: bytes, columns: PlanBuilder, plan: Plan) -> None:
        """Keep a plan if requests of its sort have come before: what comes once is not worth it."""
        seen = hash(sort)
        if seen not in self._seen:
            if len(self._seen) >= _SEEN:
                self._seen.clear()
            self._seen.add(seen)
            return
        plans = self._plans.setdefault(sort, [])
        plans.insert(0, (shape_of(data, columns), plan))
        self._room -= _size(plan, sort)
        while len(plans) > PLANS_ALIKE:
            self._room += _size(plans.pop()[1], sort)
        while self._room < 0 and self._plans:
            forgotten, old = self._plans.popitem(last=False)
            self._room += sum(_size(gone, forgotten) for _, gone in old)


def _size(plan: Plan, sort: _Sort) -> int:
    return 2 * sort[0] + 48 * len(plan.value_at)


def _first_resource(message: bytes) -> bytes:
    # Replicas send requests of one length; they differ in the resource that comes first.
    for number, kind, start, stop in read_fields(message, 0, len(message)):
        for inner, inner_kind, at, end in read_fields(message, start, stop) if kind == BYTES else ():
            return message[at:end] if (number, inner, inner_kind) == (1, 1, BYTES) else b""
        break
    return b""
