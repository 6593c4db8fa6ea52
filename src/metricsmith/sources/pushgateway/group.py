"""One group: the samples that its job last pushed, and when; it can be kept as bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

import numpy as np
import orjson

from metricsmith.errors import WireError
from metricsmith.model.labels import decode_labels, encode_labels
from metricsmith.model.metadata import SAMPLE_SUFFIXES, Metadata, MetricType
from metricsmith.wire.exposition import ExpositionFormat, ExpositionParser

PUSHED, FAILED = "push_time_seconds", "push_failure_time_seconds"
OWN = {
    PUSHED: Metadata(MetricType.GAUGE, "seconds", "Last Unix time when this group was pushed successfully."),
    FAILED: Metadata(MetricType.GAUGE, "seconds", "Last Unix time when a push to this group failed."),
}
Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Group:
    """A group as it is; `samples` maps the key of each series to its value."""

    labels: Labels
    samples: Mapping[bytes, float]
    metadata: Mapping[str, Metadata]
    pushed_ms: int
    failed_ms: int = 0

    @property
    def size_bytes(self) -> int:
        """About the memory that it takes."""
        return 200 + sum(len(key) + 130 for key in self.samples)

    def all_samples(self) -> tuple[list[bytes], list[float]]:
        """Return keys and values of all series, the times of pushes among them."""
        times = {PUSHED: self.pushed_ms / 1000, FAILED: self.failed_ms / 1000}
        own = {encode_labels({**dict(self.labels), "__name__": name}): value for name, value in times.items()}
        return [*self.samples, *own], [*self.samples.values(), *own.values()]

    def with_added(self, later: Group) -> Group:
        """Return this group, with the families of a later push in the place of those of the same name."""
        replaced = {later.family(key) for key in later.samples}
        kept = {key: value for key, value in self.samples.items() if self.family(key) not in replaced}
        metadata = {name: known for name, known in self.metadata.items() if name not in replaced}
        return replace(later, samples=kept | dict(later.samples), metadata=metadata | dict(later.metadata))

    def family(self, key: bytes) -> str:
        """Return the family of a series: `x` for `x_bucket` when x is a family of this group."""
        name = key.partition(b"\xff")[0].decode()
        for suffix in SAMPLE_SUFFIXES:
            if name.endswith(suffix) and name.removesuffix(suffix) in self.metadata:
                return name.removesuffix(suffix)
        return name

    def to_bytes(self) -> bytes:
        """Return what `from_bytes` reads."""
        head = {
            "labels": self.labels,
            "keys": [key.decode("latin-1") for key in self.samples],
            "metadata": {name: asdict(known) for name, known in self.metadata.items()},
            "pushed_ms": self.pushed_ms,
            "failed_ms": self.failed_ms,
        }
        return orjson.dumps(head) + b"\n" + np.array(list(self.samples.values()), dtype="<f8").tobytes()

    @classmethod
    def from_bytes(cls, data: bytes) -> Group:
        """Return the group that `to_bytes` wrote.

        Raises:
            ValueError, KeyError, TypeError: it did not.
        """
        head, _, values = data.partition(b"\n")
        found = orjson.loads(head)
        keys = [key.encode("latin-1") for key in found["keys"]]
        metadata = {
            name: Metadata(MetricType(known["type"]), known["unit"], known["help"])
            for name, known in found["metadata"].items()
        }
        samples = dict(zip(keys, np.frombuffer(values, dtype="<f8").tolist(), strict=True))
        labels = tuple((name, value) for name, value in found["labels"])
        return cls(labels, samples, metadata, found["pushed_ms"], found["failed_ms"])


def read_group(labels: Labels, body: bytes, format: ExpositionFormat, now_ms: int, most: int) -> Group:
    """Return the group of an exposition; its labels replace those that the document gives its series.

    Raises:
        ExpositionError, LimitExceeded: the document.
        WireError: a series with a timestamp, or two that are the same within the group.
    """
    parsed = ExpositionParser(format, max_samples=most).parse(body)
    if parsed.has_time is not None and parsed.has_time.any():
        raise WireError("pushed metrics must not have timestamps")
    samples: dict[bytes, float] = {}
    for key, value in zip(parsed.structure.keys, parsed.values.tolist(), strict=True):
        series = decode_labels(key) | dict(labels)
        if series["__name__"] in OWN:
            raise WireError(
                f"got the metric {series['__name__']}, wanted none of that name: it is told of every group"
            )
        full = encode_labels(series)
        if full in samples:
            raise WireError(f"got {series['__name__']} twice with the same labels, wanted each series once")
        samples[full] = value
    return Group(labels, samples, parsed.structure.metadata, now_ms)
