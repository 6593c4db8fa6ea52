"""Metrics from one's own code: instruments, a registry, and the text that scrapers read.

    from metricsmith.sdk import Counter

    ORDERS = Counter("shop_orders_total", "Orders taken.", ["payment"])
    ORDERS.labels("card").inc()

How it is built, for those who build on it:

- `instrument.Instrument` is what the application holds: a metric, or one label set of it (a child). Both
  are of the same class, as in `prometheus_client`. Counters, gauges and the rest add state and the methods
  that change it.
- `family.Family` is what the children of one metric share: names, the table of children, the limit, the lock.
  The methods that run for every event touch the instrument only.
- Updates take no lock. CPython switches threads only at calls and backward jumps, and none lies between
  reading a value and writing it back (`atomic.py`; a test reads the byte code, another counts under
  threads). Free-threaded builds and other interpreters get a lock per child from the same decorator. So an
  update is safe in a signal handler, in a callback of the garbage collector and after `fork`.
- `registry.Registry` knows metrics and collectors. `read()` yields `Reading`s, which is what exporters
  take; `collect()` yields the families of `prometheus_client`, so that either registry can be registered in
  the other.
- `exposition.expose(registry, accept)` returns the body and the content type; text of a label set is kept
  with it, only values are formatted.
- `guard.py` limits label sets, folds what is beyond into `__overflow__` and remembers which line of the
  application it was (`Registry.findings()`).

Importing this package loads the standard library's light modules only: no numpy, pydantic, aiohttp,
prometheus_client, logging, re or dataclasses. What needs more imports it when it is used.
"""

from metricsmith.sdk.buckets import DEFAULT_BUCKETS, MILLISECOND_BUCKETS
from metricsmith.sdk.counter import Counter
from metricsmith.sdk.exposition import expose, generate_latest
from metricsmith.sdk.gauge import Gauge
from metricsmith.sdk.guard import Policy
from metricsmith.sdk.histogram import Histogram
from metricsmith.sdk.instrument import Instrument
from metricsmith.sdk.reading import Exemplar, Reading, Sample
from metricsmith.sdk.registry import REGISTRY, Registry
from metricsmith.sdk.sampled import SampledHistogram
from metricsmith.sdk.states import Enum, Info
from metricsmith.sdk.summary import Summary

__all__ = [
    "DEFAULT_BUCKETS",
    "MILLISECOND_BUCKETS",
    "REGISTRY",
    "Counter",
    "Enum",
    "Exemplar",
    "Gauge",
    "Histogram",
    "Info",
    "Instrument",
    "Policy",
    "Reading",
    "Registry",
    "Sample",
    "SampledHistogram",
    "Summary",
    "expose",
    "generate_latest",
]
