"""What the server tells of itself: retention, sizes, counts."""

from __future__ import annotations

from metricsmith.store.influxdb.server import malformed, rows_of, series_of
from metricsmith.wire.influx_answers import Policy, StatementRefused, policies_of


def policies(body: bytes) -> list[Policy]:
    """Return the retention policies of an answer to SHOW RETENTION POLICIES.

    Raises:
        as `series_of`.
    """
    try:
        return policies_of({"series": series_of(body)})
    except StatementRefused as error:
        raise malformed(error) from None


def series_count(body: bytes) -> int | None:
    """Return the number of an answer to SHOW SERIES CARDINALITY: tag sets, each of one or more fields.

    None where the server keeps it to administrators.

    Raises:
        as `series_of`.
    """
    values = [value for series in series_of(body) for row in rows_of(series) for value in row.values()]
    return sum(value for value in values if isinstance(value, int)) if body else None


def disk_bytes(body: bytes, database: str) -> int | None:
    """Return the bytes of a database's shards, of an answer to SHOW STATS; None where they are not told.

    Raises:
        as `series_of`.
    """
    shards = [
        rows_of(series)
        for series in series_of(body)
        if series.get("name") == "shard" and (series.get("tags") or {}).get("database") == database
    ]
    sizes = [row.get("diskBytes") for rows in shards for row in rows]
    known = [size for size in sizes if isinstance(size, int)]
    return sum(known) if known else None
