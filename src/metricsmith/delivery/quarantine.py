"""What destinations refused: a JSON file per refusal, for people to look at, send again, or drop."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from metricsmith.contracts import Delivery
from metricsmith.errors import DeliveryError
from metricsmith.model.batch import Batch, Layout, event_batch
from metricsmith.model.clock import Clock
from metricsmith.model.durable_files import make_private, replace_file, sync_folder
from metricsmith.model.events import Event
from metricsmith.model.labels import NAME_LABEL, encode_labels
from metricsmith.model.series import SeriesTable

log = logging.getLogger(__name__)

MAX_BYTES = 256 << 20
MAX_FILES = 10_000
SUFFIX = ".json"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Samples and events that were set aside at once. `id` names them among all.

    `series` is how many they are of, `metric` the name of the first; none of events.
    """

    id: str
    sink: str
    at_ms: int
    reason: str
    samples: int
    events: int
    series: int
    metric: str


class NotInQuarantine(DeliveryError):
    """There is nothing of that id."""


class Quarantine:
    """Samples set aside. Safe to use from any thread; waits for the disk.

    A file is `{sink, at_ms, reason, samples: [{labels, time_ms, value}], events:
    [{time_ms, summary, category, attributes}]}`; a value is a text, as it may be
    `nan` or `inf`, and null for a staleness marker.
    """

    def __init__(self, folder: Path, series: SeriesTable, clock: Clock, max_bytes: int = MAX_BYTES) -> None:
        self._folder, self._series, self._clock, self._max_bytes = folder, series, clock, max_bytes
        self._lock = threading.Lock()
        for unfinished in self._folder.glob(f"*{SUFFIX}.new"):
            unfinished.unlink(missing_ok=True)
        sizes = [path.stat().st_size for path in self._paths()]
        self._files, self._bytes = len(sizes), sum(sizes)

    def put(self, sink: str, delivery: Delivery, reason: str) -> int:
        """Keep samples and events durably; return how many there was room for: all, or none."""
        samples = [sample for batch in delivery.batches for sample in self._samples(batch)]
        events = [asdict(event) for batch in delivery.batches for event in batch.events]
        at_ms = self._clock.now_ms()
        text = orjson.dumps(
            {"sink": sink, "at_ms": at_ms, "reason": reason, "samples": samples, "events": events}
        )
        with self._lock:
            try:
                if self._files >= MAX_FILES or self._bytes + len(text) > self._max_bytes:
                    return 0
                if not self._folder.is_dir():
                    make_private(self._folder)
                    sync_folder(self._folder.parent)
                replace_file(self._new_path(at_ms), text)
                self._files, self._bytes = self._files + 1, self._bytes + len(text)
            except OSError as error:
                log.warning("%s: cannot be written: %s", self._folder, error)
                return 0
        return len(samples) + len(events)

    def refusals(self, sink: str = "", limit: int | None = None) -> list[Refusal]:
        """Return what is there, oldest first: of one sink if named, and only the newest so many.

        A file that cannot be read is told of in the log.
        """
        found: list[Refusal] = []
        for path in reversed(self._paths()):
            if len(found) == limit:
                break
            try:
                refusal = _refusal(path, _document(path))
            except NotInQuarantine:
                continue  # dropped meanwhile
            except DeliveryError as error:
                log.warning("quarantine: %s", error)
            else:
                found += [refusal] if sink in ("", refusal.sink) else []
        return found[::-1]

    def samples(self, id: str) -> tuple[Refusal, list[dict[str, Any]]]:
        """Return a refusal and its samples, then its events.

        Raises:
            NotInQuarantine: there is none.
            DeliveryError: the file cannot be read.
        """
        document = _document(path := self._path(id))
        return _refusal(path, document), [*document["samples"], *document.get("events", ())]

    def delivery(self, id: str) -> tuple[str, Delivery]:
        """Return the sink of a refusal, and what it holds as it can be sent again; raises as `samples`."""
        refusal, content = self.samples(id)
        samples, events = content[: refusal.samples], [Event(**each) for each in content[refusal.samples :]]
        ids = self._series.intern_many(encode_labels(each["labels"]) for each in samples)
        times = np.array([each["time_ms"] for each in samples], dtype=np.int64)
        values = np.array([float(each["value"] or "nan") for each in samples])
        stale = np.array([each["value"] is None for each in samples])
        batches = [Batch(Layout(ids), times, values, stale if stale.any() else None)] if samples else []
        batches += [event_batch(events, refusal.at_ms)] if events else []
        return refusal.sink, Delivery([0] * len(batches), batches)

    def drop(self, id: str) -> None:
        """Forget a refusal.

        Raises:
            NotInQuarantine: there is none.
        """
        path = self._path(id)
        with self._lock:
            try:
                size = path.stat().st_size
                path.unlink()
            except FileNotFoundError:
                raise _unknown(id) from None
            self._files, self._bytes = self._files - 1, self._bytes - size

    def _paths(self) -> list[Path]:
        return sorted(self._folder.glob(f"*{SUFFIX}"))

    def _path(self, id: str) -> Path:
        if not all(part.isascii() and part.isdigit() for part in id.split("-")):
            raise _unknown(id)  # also what would lead out of the folder
        return self._folder / f"{id}{SUFFIX}"

    def _new_path(self, at_ms: int) -> Path:
        for number in range(MAX_FILES + 1):
            path = self._path(f"{at_ms:013d}-{number:04d}")
            if not path.exists():
                return path
        raise FileExistsError(f"{self._folder}: too many refusals within a millisecond")

    def _samples(self, batch: Batch) -> Iterator[dict[str, object]]:
        columns = zip(
            batch.layout.ids.tolist(),
            batch.times().tolist(),
            batch.value.tolist(),
            batch.stales().tolist(),
            strict=True,
        )
        for series, time_ms, value, stale in columns:
            labels = self._series.labels(series)
            yield {"labels": labels, "time_ms": time_ms, "value": None if stale else repr(value)}


def _document(path: Path) -> dict[str, Any]:
    try:
        document = orjson.loads(path.read_bytes())
        if not isinstance(document["samples"], list):
            raise TypeError("samples is no list")
    except FileNotFoundError:
        raise _unknown(path.stem) from None
    except (OSError, orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise DeliveryError(f"{path}: cannot be read: {error}") from None
    return dict(document)


def _refusal(path: Path, document: dict[str, Any]) -> Refusal:
    try:
        reason, sink, at_ms = str(document["reason"]), str(document["sink"]), int(document["at_ms"])
        labels = [each["labels"] for each in document["samples"]]
        metric = str(labels[0].get(NAME_LABEL, "")) if labels else ""
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise DeliveryError(f"{path}: cannot be read: {error}") from None
    series, events = len(set(map(orjson.dumps, labels))), len(document.get("events", ()))
    return Refusal(path.stem, sink, at_ms, reason, len(labels), events, series, metric)


def _unknown(id: str) -> NotInQuarantine:
    return NotInQuarantine(f'got "{id[:100]}", wanted the id of a refusal, as `quarantine list` shows it')
