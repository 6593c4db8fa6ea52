"""Which measurements and fields a selector asks for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from metricsmith.model.labels import NAME_LABEL
from metricsmith.model.matchers import Matcher
from metricsmith.store.influxdb.server import rows_of, series_of
from metricsmith.store.influxdb.settings import InfluxdbConfig
from metricsmith.wire.influxql import identifier
from metricsmith.wire.line_protocol_places import ENDED_FIELD, Places

_NUMBERS = frozenset({"float", "integer", "unsigned", "boolean"})
_MAX_FIELDS = 32
_MAX_MEASUREMENTS = 200


@dataclass(frozen=True, slots=True)
class Wanted:
    """Fields that some measurements have in common, few enough for one statement.

    `told` is the label that the measurements tell, which is no tag in them;
    `ends` says that they have the field that lists what ended.
    """

    measurements: list[bytes]
    fields: list[bytes]
    told: str
    ends: bool


def source(config: InfluxdbConfig, measurement: bytes | None) -> str:
    """Return a measurement, or all of them, in the retention policy that is read."""
    policy = "" if config.retention_policy is None else identifier(config.retention_policy)
    name = "/.*/" if measurement is None else identifier(measurement.decode())
    return f"{identifier(config.database)}.{policy}.{name}"


def fields_statement(config: InfluxdbConfig, places: Places, matchers: Sequence[Matcher]) -> str | None:
    """Return the question which fields there are, where they matter; None when none can."""
    only = places.measurements(matchers)
    if only is None:
        sources = [source(config, None)]
    else:
        sources = [source(config, name) for name in only if b"\x00" not in name]
    statement = f"SHOW FIELD KEYS ON {identifier(config.database)} FROM "
    return statement + ", ".join(sources) if sources else None


def wanted_fields(body: bytes, places: Places, matchers: Sequence[Matcher]) -> list[Wanted]:
    """Return what to ask for, of an answer about the fields that there are.

    Raises:
        as `series_of`.
    """
    names = [matcher for matcher in matchers if matcher.name == NAME_LABEL]
    alike: defaultdict[tuple[tuple[bytes, ...], str, bool], list[bytes]] = defaultdict(list)
    for series in series_of(body):
        measurement = str(series.get("name")).encode()
        types: defaultdict[bytes, set[str]] = defaultdict(set)
        for row in rows_of(series):
            types[str(row.get("fieldKey")).encode()].add(str(row.get("fieldType")))
        fields = tuple(
            field
            for field, kinds in types.items()
            if kinds <= _NUMBERS
            and (metric := places.metric(measurement, field)) is not None
            and all(matcher.matches(metric.decode()) for matcher in names)
        )
        if fields and places.may_match(measurement, matchers):
            told = places.told(measurement)
            ends = "string" in types.get(ENDED_FIELD, ())
            alike[fields, "" if told is None else told[0].decode(), ends].append(measurement)
    return [
        Wanted(measurements[m : m + _MAX_MEASUREMENTS], list(fields[f : f + _MAX_FIELDS]), told, ends)
        for (fields, told, ends), measurements in alike.items()
        for m in range(0, len(measurements), _MAX_MEASUREMENTS)
        for f in range(0, len(fields), _MAX_FIELDS)
    ]
