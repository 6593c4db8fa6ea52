"""The same figures under the names that a JVM has for them, for dashboards and alerts made for one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from metricsmith.sdk.reading import Reading

_NAMES = {
    "python_memory_heap_used_bytes": "jvm_memory_heap_used_bytes",
    "python_memory_heap_max_bytes": "jvm_memory_heap_max_bytes",
    "python_memory_non_heap_used_bytes": "jvm_memory_non_heap_used_bytes",
    "python_gc_pause_seconds": "jvm_gc_pause_seconds",
    "python_gc_promoted_objects": "jvm_gc_promotion",
    "python_threads": "jvm_threads_total",
}


def as_of_a_jvm(readings: Iterable[Reading]) -> Iterator[Reading]:
    """Yield those readings that a JVM has, under its names."""
    for reading in readings:
        name = _NAMES.get(reading.name)
        if name is not None:
            # Of pauses the sum and the count, as a summary has them: buckets by generation are told once.
            kind = "summary" if reading.type == "histogram" else reading.type
            samples = [
                sample._replace(name=name + sample.name.removeprefix(reading.name))
                for sample in reading.samples
                if not sample.name.endswith("_bucket")
            ]
            yield Reading(name, kind, f"As {reading.name}.", reading.unit, samples)
