"""The registry: which metrics and collectors there are, and what they tell."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from threading import Lock
from typing import TYPE_CHECKING, Any, Protocol

from metricsmith.sdk.clock import SYSTEM_CLOCK, Clock
from metricsmith.sdk.reading import Reading, Sample

if TYPE_CHECKING:
    from prometheus_client import Metric

    from metricsmith.sdk.instrument import Instrument

SUFFIXES = {
    "counter": ("_total", "_created"),
    "summary": ("_sum", "_count", "_created"),
    "histogram": ("_bucket", "_sum", "_count", "_created"),
    "gaugehistogram": ("_bucket", "_gsum", "_gcount"),
    "info": ("_info",),
}
"""Further names that a family of a type takes."""


class Readable(Protocol):
    """What can be exposed: a registry, or a part of one."""

    def sources(self) -> Iterator[Instrument | Reading]:
        """Yield our metrics as they are, and what collectors of another kind tell now."""
        ...


class Registry:
    """Metrics and collectors, each name once.

    Has the methods of `prometheus_client.CollectorRegistry`, takes what that
    takes, and can be registered in one itself.
    """

    def __init__(
        self,
        auto_describe: bool = False,
        target_info: Mapping[str, str] | None = None,
        *,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.clock = clock
        self._auto_describe = auto_describe
        self._lock = Lock()
        self._collector_to_names: dict[Any, list[str]] = {}
        self._names_to_collectors: dict[str, Any] = {}
        self._target_info: dict[str, str] = {}
        self.set_target_info(target_info)

    def register(self, collector: Any) -> None:
        """Add a metric, or a collector of prometheus_client's kind.

        Raises:
            ValueError: a name is taken.
        """
        names = self._names_of(collector)
        with self._lock:
            if taken := sorted(name for name in names if name in self._names_to_collectors):
                raise ValueError(f"Duplicated timeseries in Registry: {', '.join(taken)} is there already")
            self._names_to_collectors.update(dict.fromkeys(names, collector))
            self._collector_to_names[collector] = names

    def unregister(self, collector: Any) -> None:
        """Remove what was registered."""
        with self._lock:
            for name in self._collector_to_names.pop(collector):
                del self._names_to_collectors[name]

    def _names_of(self, collector: Any) -> list[str]:
        from metricsmith.sdk.instrument import Instrument

        if isinstance(collector, Instrument):
            described: Iterable[Any] = [collector._family]
        else:
            describe = getattr(collector, "describe", None) or (
                collector.collect if self._auto_describe else tuple
            )
            described = describe()
        return [m.name + suffix for m in described for suffix in ("", *SUFFIXES.get(m.type, ()))]

    def collectors(self) -> list[Any]:
        """Return what is registered, in the order of registration."""
        with self._lock:
            return list(self._collector_to_names)

    def sources(self) -> Iterator[Instrument | Reading]:
        """Yield our metrics as they are, and what collectors of another kind tell now."""
        from metricsmith.sdk.instrument import Instrument

        if self._target_info:
            sample = Sample("target_info", self._target_info, 1.0)
            yield Reading("target", "info", "Target metadata", "", [sample])
        for collector in self.collectors():
            if isinstance(collector, Instrument):
                yield collector
            else:
                from metricsmith.sdk.foreign import from_metrics

                yield from from_metrics(collector.collect())

    def read(self) -> Iterator[Reading]:
        """Yield what all metrics and collectors tell now."""
        for source in self.sources():
            yield source if isinstance(source, Reading) else source.read()

    def collect(self) -> Iterator[Metric]:
        """Yield the same as families of prometheus_client."""
        from metricsmith.sdk.foreign import to_metric

        return map(to_metric, self.read())

    def set_target_info(self, labels: Mapping[str, str] | None) -> None:
        """Set what `target_info` tells of this process, or nothing."""
        with self._lock:
            if labels and not self._target_info and "target_info" in self._names_to_collectors:
                raise ValueError("Registry already contains a target_info metric")
            self._target_info = dict(labels or {})

    def get_target_info(self) -> dict[str, str]:
        """Return what `target_info` tells."""
        return self._target_info

    def get_sample_value(self, name: str, labels: Mapping[str, str] | None = None) -> float | None:
        """Return the value of one sample, or None. Reads everything: for tests."""
        wanted = dict(labels or {})
        samples = (sample for reading in self.read() for sample in reading.samples)
        return next((s.value for s in samples if s.name == name and dict(s.labels) == wanted), None)


REGISTRY = Registry(auto_describe=True)
"""Where metrics register unless told otherwise."""
