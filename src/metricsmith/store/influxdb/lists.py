"""Names and values of all labels, from the server's own lists: they are of no time, and cost little."""

from __future__ import annotations

from collections.abc import Iterator

from metricsmith.model.labels import NAME_LABEL
from metricsmith.store.influxdb.schema import wanted_fields
from metricsmith.store.influxdb.server import rows_of, series_of
from metricsmith.wire.influxql import identifier
from metricsmith.wire.line_protocol_places import Places


def names_statement(database: str) -> str:
    """Return the question which tags there are."""
    return f"SHOW TAG KEYS ON {identifier(database)}"


def values_statement(database: str, label: str) -> str:
    """Return the question which values a tag has; a ValueError where InfluxQL cannot ask it."""
    return f"SHOW TAG VALUES ON {identifier(database)} WITH KEY = {identifier(label)}"


def tags_of(body: bytes, places: Places, column: str) -> set[str]:
    """Return a column of all rows about measurements of ours.

    Raises:
        as `series_of`.
    """
    return {
        str(row.get(column))
        for series in series_of(body)
        if places.is_ours(str(series.get("name")).encode())
        for row in rows_of(series)
    }


def told_by_fields(body: bytes, places: Places) -> Iterator[tuple[str, str]]:
    """Yield the labels that measurements and fields are, metric names among them, of SHOW FIELD KEYS.

    Raises:
        as `series_of`.
    """
    for wanted in wanted_fields(body, places, []):
        for measurement in wanted.measurements:
            for field in wanted.fields:
                if (name := places.metric(measurement, field)) is not None:
                    yield NAME_LABEL, name.decode()
            if (told := places.told(measurement)) is not None:
                yield told[0].decode(), told[1].decode()
