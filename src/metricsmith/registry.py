"""One line per part. The strings are imported only when a configuration names them.

Third parties add theirs through the entry-point groups `metricsmith.sources`, `metricsmith.processors`,
`metricsmith.stores` and `metricsmith.sinks`.
"""

from __future__ import annotations

import importlib
from importlib.metadata import entry_points
from typing import Any

from metricsmith.errors import MissingExtra

BUILT_IN: dict[str, dict[str, str]] = {
    "sources": {
        "scrape": "metricsmith.sources.scrape:ScrapeSource",
        "kafka": "metricsmith.sources.kafka.source:KafkaSource",
        "host": "metricsmith.sources.host.source:HostSource",
        "exec": "metricsmith.sources.exec.source:ExecSource",
        "python": "metricsmith.sources.python.source:PythonSource",
        "application": "metricsmith.sources.application:ApplicationSource",
        "bus": "metricsmith.sources.bus.source:BusSource",
        "bus_kafka": "metricsmith.sources.bus.kafka:KafkaBusSource",
        "transfer": "metricsmith.sources.transfer.source:TransferSource",
        "pushgateway": "metricsmith.sources.pushgateway.source:PushgatewaySource",
        "processes": "metricsmith.sources.processes:ProcessesSource",
        "self": "metricsmith.sources.own:OwnMetricsSource",
    },
    "processors": {
        "relabel": "metricsmith.process.relabel:RelabelProcessor",
        "filter": "metricsmith.process.filter:FilterProcessor",
        "rename": "metricsmith.process.rename:RenameProcessor",
        "average": "metricsmith.process.average:AverageProcessor",
        "rate": "metricsmith.process.rate:RateProcessor",
        "delta": "metricsmith.process.rate:DeltaProcessor",
        "aggregate": "metricsmith.process.aggregate:AggregateProcessor",
        "sample": "metricsmith.process.sample:SampleProcessor",
        "cardinality_guard": "metricsmith.process.cardinality:CardinalityGuardProcessor",
    },
    "stores": {
        "embedded": "metricsmith.store.embedded:EmbeddedStore",
        "file": "metricsmith.store.file.store:FileStore",
        "influxdb": "metricsmith.store.influxdb.store:InfluxdbStore",
        "prometheus": "metricsmith.store.prometheus.store:PrometheusStore",
    },
    "sinks": {
        "bus": "metricsmith.sinks.bus:BusSink",
        "newrelic": "metricsmith.sinks.newrelic.sink:NewRelicSink",
        "bus_kafka": "metricsmith.sinks.bus_kafka:KafkaBusSink",
        "transfer": "metricsmith.sinks.transfer:TransferSink",
        "file": "metricsmith.sinks.file.sink:FileSink",
        "remote_write": "metricsmith.sinks.remote_write:RemoteWriteSink",
        "oci": "metricsmith.sinks.oci.sink:OciSink",
        "otlp": "metricsmith.sinks.otlp.sink:OtlpSink",
        "influxdb": "metricsmith.sinks.influxdb.sink:InfluxdbSink",
    },
}


def known(group: str) -> list[str]:
    """Return the type names of a group, built in and from entry points, sorted."""
    return sorted({*BUILT_IN[group], *(e.name for e in entry_points(group=f"metricsmith.{group}"))})


def load(group: str, type_name: str) -> Any:
    """Return the class of a part.

    Raises:
        KeyError: no part of that type.
        MissingExtra: a library that it needs is not installed.
    """
    target = BUILT_IN[group].get(type_name)
    if target is None:
        for entry in entry_points(group=f"metricsmith.{group}"):
            if entry.name == type_name:
                try:
                    return entry.load()
                except ImportError as error:  # the part's own package knows what it needs
                    raise MissingExtra(f"{entry.value}: {error}") from error
        raise KeyError(type_name)
    module, _, name = target.partition(":")
    return getattr(importlib.import_module(module), name)
