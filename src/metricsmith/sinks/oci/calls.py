"""A delivery as bodies of calls: points of streams, and what is not sent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import orjson

from metricsmith.contracts import Delivery
from metricsmith.model.arrays import I64, Bool
from metricsmith.model.batch import Batch
from metricsmith.sinks.oci.settings import MAX_STREAMS
from metricsmith.sinks.oci.streams import Streams

MAX_AHEAD_MS = 600_000
_AHEAD = "its time is over 10 minutes ahead; check the clock of where it comes from"


@dataclass(frozen=True, slots=True)
class Calls:
    """What is sent of a delivery: `bodies`, each of at most as many streams as the service takes.

    `series` are those sent; `refused` says why others cannot be, by series.
    `unsent` counts, by reason, samples that the service has no form or use for.
    """

    bodies: Sequence[bytes]
    series: frozenset[int]
    refused: Mapping[int, str]
    unsent: Mapping[str, int]


class CallWriter:
    """Writes calls; a sample costs the text of its value."""

    def __init__(
        self, streams: Streams, namespace: str, compartment_id: str, resource_group: str | None
    ) -> None:
        self._streams = streams
        common = {"namespace": namespace, "compartmentId": compartment_id}
        if resource_group is not None:
            common["resourceGroup"] = resource_group
        self._tail = f"],{orjson.dumps(common).decode()[1:]}"

    def write(self, delivery: Delivery, now_ms: int) -> Calls:
        """Return the calls for a delivery; all points of a stream are in one object."""
        refused: dict[int, str] = {}
        unsent: Counter[str] = Counter()
        candidates: list[Bool] = []
        for batch in delivery.batches:
            candidates.append(self._candidates(batch, unsent))
            refused |= self._refused(batch, candidates[-1], now_ms + MAX_AHEAD_MS)
        points: dict[str, list[str]] = {}
        series: set[int] = set()
        for batch, wanted in zip(delivery.batches, candidates, strict=True):
            ids = batch.layout.ids
            if refused:
                wanted = wanted & ~np.isin(ids, np.fromiter(refused, dtype=np.uint32))
            places = np.flatnonzero(wanted)
            series.update(ids[places].tolist())
            heads = self._streams.plan(batch.layout).heads
            columns = places.tolist(), _stamps(batch, places), batch.value[places].tolist()
            for place, stamp, value in zip(*columns, strict=True):
                point = f'{{"timestamp":"{stamp}","value":{value!r}}}'
                points.setdefault(heads[place], []).append(point)
        metrics = [f'{head},"datapoints":[{",".join(own)}{self._tail}' for head, own in points.items()]
        bodies = [_body(metrics[at : at + MAX_STREAMS]) for at in range(0, len(metrics), MAX_STREAMS)]
        return Calls(bodies, frozenset(series), refused, unsent)

    def _candidates(self, batch: Batch, unsent: Counter[str]) -> Bool:
        """Return which samples are to be sent: those with a number, and no ends of series."""
        finite: Bool = np.isfinite(batch.value)
        alive = ~batch.stales()
        created = self._streams.plan(batch.layout).created
        unsent["not_finite"] += int((alive & ~finite).sum())
        unsent["created"] += int((alive & finite & created).sum())
        return alive & finite & ~created

    def _refused(self, batch: Batch, wanted: Bool, latest_ms: int) -> Mapping[int, str]:
        """Return why series of a batch are not sent."""
        ids, plan = batch.layout.ids, self._streams.plan(batch.layout)
        refused = {series: plan.refused[series] for series in ids[wanted & ~plan.has_stream].tolist()}
        if isinstance(batch.time_ms, int) and batch.time_ms <= latest_ms:
            return refused
        return refused | dict.fromkeys(ids[wanted & (batch.times() > latest_ms)].tolist(), _AHEAD)


def _body(metrics: Sequence[str]) -> bytes:
    return f'{{"metricData":[{",".join(metrics)}]}}'.encode()


def _stamps(batch: Batch, places: I64) -> list[str]:
    if isinstance(batch.time_ms, int):
        return [_rfc3339(batch.time_ms)] * len(places) if len(places) else []
    return [_rfc3339(time_ms) for time_ms in batch.time_ms[places].tolist()]


def _rfc3339(time_ms: int) -> str:
    moment = datetime.fromtimestamp(time_ms // 1000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{time_ms % 1000:03d}Z"
