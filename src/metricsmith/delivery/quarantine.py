"""What destinations refused: one JSON line per refusal, in a file per sink, for people to look at."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

import orjson

from metricsmith.contracts import Delivery
from metricsmith.model.batch import Batch
from metricsmith.model.clock import Clock
from metricsmith.model.series import SeriesTable

log = logging.getLogger(__name__)

MAX_BYTES = 64 << 20
SUFFIX = ".jsonl"


class Quarantine:
    """Samples set aside, by sink. Safe to use from any thread.

    A line is `{at_ms, reason, samples: [{labels, time_ms, value}]}`; a value is
    a text, as it may be `nan` or `inf`, and null for a staleness marker.
    """

    def __init__(self, folder: Path, series: SeriesTable, clock: Clock, max_bytes: int = MAX_BYTES) -> None:
        self._folder, self._series, self._clock, self._max_bytes = folder, series, clock, max_bytes
        self._lock = threading.Lock()

    def put(self, sink: str, delivery: Delivery, reason: str) -> int:
        """Keep samples; return how many there was room for: all, or none."""
        samples = [sample for batch in delivery.batches for sample in self._samples(batch)]
        line = orjson.dumps({"at_ms": self._clock.now_ms(), "reason": reason, "samples": samples}) + b"\n"
        path = self._folder / f"{sink}{SUFFIX}"
        with self._lock:
            try:
                self._folder.mkdir(parents=True, exist_ok=True)
                size = path.stat().st_size if path.exists() else 0
                if size + len(line) > self._max_bytes:
                    return 0
                with path.open("ab") as file:
                    file.write(line)
            except OSError as error:
                log.warning("%s: cannot be written: %s", path, error)
                return 0
        return len(samples)

    def _samples(self, batch: Batch) -> list[dict[str, object]]:
        columns = zip(
            batch.layout.ids.tolist(),
            batch.times().tolist(),
            batch.value.tolist(),
            batch.stales().tolist(),
            strict=True,
        )
        return [
            {
                "labels": self._series.labels(series),
                "time_ms": time_ms,
                "value": None if stale else repr(value),
            }
            for series, time_ms, value, stale in columns
        ]
