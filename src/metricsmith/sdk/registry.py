"""The registry: which metrics and collectors there are, and what they tell."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from threading import RLock, local
from typing import TYPE_CHECKING, Any, Protocol

from metricsmith.sdk.clock import Clock
from metricsmith.sdk.filters import Rule
from metricsmith.sdk.findings import Finding
from metricsmith.sdk.forks import renew_lock_after_fork
from metricsmith.sdk.guard import DEFAULT_POLICY, Policy
from metricsmith.sdk.instrument import Instrument
from metricsmith.sdk.own import own_readings
from metricsmith.sdk.reading import Reading, Sample, checked, merged

if TYPE_CHECKING:
    from prometheus_client import Metric

SUFFIXES = {
    "counter": ("_total", "_created"),
    "summary": ("_sum", "_count", "_created"),
    "histogram": ("_bucket", "_sum", "_count", "_created"),
    "gaugehistogram": ("_bucket", "_gsum", "_gcount"),
    "info": ("_info",),
}
"""Further names that a family of a type takes."""
_reading = local()


class Readable(Protocol):
    """What can be exposed: a registry, or a part of one."""

    def sources(self) -> Iterator[Instrument | Reading]:
        """Yield our metrics as they are, and what collectors of another kind tell now."""
        ...


class Registry:
    """Metrics and collectors, each name once.

    Has the methods of `prometheus_client.CollectorRegistry`, takes what that takes, and can be registered in
    one itself. A collector has `read()`, which returns Readings, or `collect()`, which returns families of
    prometheus_client; one that fails is left out and told of in `findings()`.
    """

    def __init__(
        self,
        auto_describe: bool = False,
        target_info: Mapping[str, str] | None = None,
        *,
        policy: Policy | None = None,
        joins_prometheus_client: bool = False,
    ) -> None:
        """With `joins_prometheus_client`, what the default registry of that library has is exposed, too."""
        self.policy = Policy() if policy is None else policy
        self.joins_prometheus_client = joins_prometheus_client
        self._auto_describe = auto_describe
        self.lock = RLock()
        renew_lock_after_fork(self)
        self._collector_to_names: dict[Any, list[str]] = {}
        self._names_to_collectors: dict[str, Any] = {}
        self._target_info: dict[str, str] = {}
        self.set_target_info(target_info)

    @property
    def clock(self) -> Clock:
        """The clock of the policy."""
        return self.policy.clock

    def register(self, collector: Any) -> None:
        """Add a metric, or a collector.

        Raises:
            ValueError: a name is taken.
        """
        names = self._names_of(collector)
        with self.lock:
            if taken := sorted(name for name in names if name in self._names_to_collectors):
                raise ValueError(f"Duplicated timeseries in Registry: {', '.join(taken)} is there already")
            self._names_to_collectors.update(dict.fromkeys(names, collector))
            self._collector_to_names[collector] = names

    def unregister(self, collector: Any) -> None:
        """Remove what was registered."""
        with self.lock:
            for name in self._collector_to_names.pop(collector):
                del self._names_to_collectors[name]

    def _names_of(self, collector: Any) -> list[str]:
        if isinstance(collector, Instrument):
            described: Iterable[Any] = [collector._family]
        else:
            describe = getattr(collector, "describe", None)
            if describe is None and self._auto_describe:
                describe = getattr(collector, "read", None) or collector.collect
            described = describe() if describe else ()
        return [m.name + suffix for m in described for suffix in ("", *SUFFIXES.get(m.type, ()))]

    def collectors(self) -> list[Any]:
        """Return what is registered, in the order of registration."""
        with self.lock:
            return list(self._collector_to_names)

    def instruments(self) -> list[Instrument]:
        """Return the metrics of ours among what is registered."""
        return [collector for collector in self.collectors() if isinstance(collector, Instrument)]

    def findings(self) -> list[Finding]:
        """Return what is wrong with metrics: too many label sets, label names without end, failures."""
        return self.policy.findings.all()

    def drop(self, name: str = "*", /, **labels: str) -> None:
        """Leave out metrics by name, or label sets by name and label values. Patterns are globs: `http_*`."""
        self._filter(Rule(name, labels, keep=False))

    def keep(self, name: str = "*", /, **labels: str) -> None:
        """Keep what an earlier `drop` leaves out."""
        self._filter(Rule(name, labels, keep=True))

    def _filter(self, rule: Rule) -> None:
        self.policy.rules.append(rule)
        for instrument in self.instruments():
            instrument._family.refilter()

    def sources(self) -> Iterator[Instrument | Reading]:
        """Yield our metrics as they are, and what collectors of another kind tell now."""
        return self._sources([*self.collectors(), *self._joined()])

    def _joined(self) -> list[Any]:
        module = sys.modules.get("prometheus_client") if self.joins_prometheus_client else None
        theirs = getattr(module, "REGISTRY", None)  # not there yet while another thread imports it
        return [] if theirs is None else [theirs]

    def _sources(self, collectors: Iterable[Any], told: Iterable[str] = ()) -> Iterator[Instrument | Reading]:
        """Yield what collectors tell, each family once; metrics of ours go before others of the same name."""
        if self in getattr(_reading, "registries", ()):
            return  # registered in one that is registered in this
        told, own = frozenset(told), set[str]()
        readings: list[Reading] = []
        if self._target_info:
            target = Sample("target_info", self._target_info, 1.0)
            readings.append(Reading("target", "info", "Target metadata", "", [target]))
        for collector in collectors:
            if not isinstance(collector, Instrument):
                readings += self._read(collector)
            elif collector._family.name not in told:
                own.add(collector._family.name)
                yield collector
        readings += own_readings(self.policy.findings, self.instruments())
        for reading in merged(readings):
            if reading.name in own:
                text = "a collector tells a family of this name, which is left out: there is a metric of it"
                self.policy.findings.note("name_taken", reading.name, lambda text=text: text)  # type: ignore[misc]
            elif reading.name not in told:
                yield reading

    def _read(self, collector: Any) -> list[Reading]:
        around = getattr(_reading, "registries", ())
        _reading.registries = (*around, self)
        try:
            if hasattr(collector, "read"):
                return list(map(checked, collector.read()))
            from metricsmith.sdk.foreign import from_metrics

            return list(map(checked, from_metrics(collector.collect())))
        except Exception as error:
            text = f"the collector failed: {error!r}"
            self.policy.findings.note("collector_failed", type(collector).__name__, lambda: text)
            return []
        finally:
            _reading.registries = around

    def read(self) -> Iterator[Reading]:
        """Yield what all metrics and collectors tell now."""
        return _read(self.sources())

    def describe(self) -> list[Metric]:
        """Return the families of our metrics, without samples.

        A registry of prometheus_client asks this with its lock held when it takes this one; it must not ask
        `collect`, which may ask it in turn.
        """
        return [metric for instrument in self.instruments() for metric in instrument.describe()]

    def collect(self) -> Iterator[Metric]:
        """Yield the same as families of prometheus_client.

        Without what a registry tells that this one is registered in: it is that which asks.
        """
        collectors = [*self.collectors(), *self._joined()]
        around = [c for c in collectors if self in getattr(c, "_collector_to_names", ())]
        theirs = {
            name for c in around for name, teller in c._names_to_collectors.items() if teller is not self
        }
        return _collect(self._sources([c for c in collectors if c not in around], theirs))

    def restricted_registry(self, names: Iterable[str]) -> Part:
        """Return what has only samples of these names; collectors without them are not asked."""
        with self.lock:
            wanted = frozenset(names)
            collectors = {
                self._names_to_collectors[name]: None for name in wanted if name in self._names_to_collectors
            }
        return Part(lambda: self._sources(collectors), wanted)

    def set_target_info(self, labels: Mapping[str, str] | None) -> None:
        """Set what `target_info` tells of this process, or nothing."""
        with self.lock:
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


class Part:
    """The part of a registry that has some names."""

    def __init__(self, sources: Callable[[], Iterator[Instrument | Reading]], names: frozenset[str]) -> None:
        self._sources, self._names = sources, names

    def sources(self) -> Iterator[Reading]:
        """Yield the families that have samples of these names, with only those."""
        for reading in _read(self._sources()):
            samples = [sample for sample in reading.samples if sample.name in self._names]
            if samples:
                yield reading._replace(samples=samples)

    read = sources

    def collect(self) -> Iterator[Metric]:
        """Yield the same as families of prometheus_client."""
        return _collect(self.sources())


def _read(sources: Iterable[Instrument | Reading]) -> Iterator[Reading]:
    return (source if isinstance(source, Reading) else source.read() for source in sources)


def _collect(sources: Iterable[Instrument | Reading]) -> Iterator[Metric]:
    from metricsmith.sdk.foreign import to_metric

    return map(to_metric, _read(sources))


REGISTRY = Registry(auto_describe=True, policy=DEFAULT_POLICY, joins_prometheus_client=True)
"""Where metrics register unless told otherwise."""
