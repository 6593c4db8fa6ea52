"""The SQL of views over blocks, for DuckDB: `samples` and `series`, right about duplicates and deletes.

Each block is a branch of a UNION of its own, bounded by constant times: an engine drops the branches
of blocks that a query's times exclude, and reads of the others the row groups whose series it joins.
"""

from __future__ import annotations

from collections.abc import Sequence

from metricsmith.model.labels import NAME_LABEL
from metricsmith.model.matchers import Matcher, MatchOp
from metricsmith.store.history_files import History, HistoryFiles
from metricsmith.store.tombstones import Tombstone

_NO_SAMPLES = (
    "SELECT NULL::TIMESTAMP AS time, NULL::VARCHAR AS name, NULL::MAP(VARCHAR, VARCHAR) AS labels,"
    " NULL::DOUBLE AS value WHERE false"
)
_NO_SERIES = (
    "SELECT NULL::VARCHAR AS name, NULL::MAP(VARCHAR, VARCHAR) AS labels, NULL::VARCHAR AS type,"
    " NULL::VARCHAR AS unit, NULL::VARCHAR AS help, NULL::BIGINT AS lo, NULL::BIGINT AS hi WHERE false"
)


def samples_sql(history: History) -> str:
    """Return the query of `samples(time, name, labels, value)`: every sample once, without staleness markers.

    Times are TIMESTAMP, UTC.
    """
    return "\nUNION ALL\n".join(_branch(block, history) for block in history.blocks) or _NO_SAMPLES


def series_sql(history: History) -> str:
    """Return the query of `series(name, labels, type, unit, help, first_time, last_time)`, each once.

    A series whose samples are all deleted, and not yet gone from its block, is left out.
    """
    branches = [
        "SELECT s.name, s.labels, s.type, s.unit, s.help, s.min_time_ms AS lo, s.max_time_ms AS hi"
        f" FROM read_parquet({text(str(block.series))}) s{_where(_whole(block, history.tombstones))}"
        for block in history.blocks
    ]
    union = "\nUNION ALL\n".join(branches) or _NO_SERIES
    return (
        "SELECT name, labels, max(type) AS type, max(unit) AS unit, max(help) AS help,"
        " make_timestamp_ms(min(lo)) AS first_time, make_timestamp_ms(max(hi)) AS last_time"
        f" FROM (\n{union}\n) GROUP BY name, labels"
    )


def _branch(block: HistoryFiles, history: History) -> str:
    lo, hi = block.meta.min_time_ms, block.meta.max_time_ms
    conditions = [
        f"make_timestamp_ms(v.time_ms) BETWEEN make_timestamp_ms({lo}) AND make_timestamp_ms({hi})",
        "v.value IS NOT NULL",
        *(_deleted(each) for each in history.tombstones if each.reaches(block.meta)),
        *(_replaced(block, later) for later in history.blocks if _is_over(later, block)),
    ]
    return (
        "SELECT make_timestamp_ms(v.time_ms) AS time, s.name, s.labels, v.value"
        f" FROM {_samples(block)} v JOIN {_series(block)} s USING (series){_where(conditions)}"
    )


def _is_over(later: HistoryFiles, block: HistoryFiles) -> bool:
    """Return whether a block may have the same samples, and is right about them."""
    return (
        later.meta.number > block.meta.number
        and later.meta.min_time_ms <= block.meta.max_time_ms
        and later.meta.max_time_ms >= block.meta.min_time_ms
    )


def _replaced(block: HistoryFiles, later: HistoryFiles) -> str:
    lo = max(block.meta.min_time_ms, later.meta.min_time_ms)
    hi = min(block.meta.max_time_ms, later.meta.max_time_ms)
    return (
        f"NOT EXISTS (SELECT 1 FROM {_samples(later)} w JOIN {_series(later)} t USING (series)"
        f" WHERE w.time_ms BETWEEN {lo} AND {hi}"
        " AND w.time_ms = v.time_ms AND t.name = s.name AND t.labels = s.labels)"
    )


def _deleted(tombstone: Tombstone) -> str:
    bounds = f"v.time_ms BETWEEN {tombstone.start_ms} AND {tombstone.end_ms}"
    return f"NOT ({bounds} AND {_selected(tombstone)})"


def _whole(block: HistoryFiles, tombstones: Sequence[Tombstone]) -> list[str]:
    return [
        f"NOT (s.min_time_ms >= {each.start_ms} AND s.max_time_ms <= {each.end_ms} AND {_selected(each)})"
        for each in tombstones
        if each.reaches(block.meta)
    ]


def _selected(tombstone: Tombstone) -> str:
    any_of = [" AND ".join(map(matcher_sql, matchers)) or "true" for matchers in tombstone.selectors]
    return "(" + " OR ".join(f"({each})" for each in any_of) + ")"


def matcher_sql(matcher: Matcher) -> str:
    """Return a condition on a row `s` with `name` and `labels`; an absent label is empty.

    Both engines have RE2's regular expressions.

    >>> matcher_sql(Matcher("job", MatchOp.NE, "it's"))
    "coalesce(s.labels['job'], '') <> 'it''s'"
    """
    value, wanted = f"coalesce(s.labels[{text(matcher.name)}], '')", text(matcher.value)
    if matcher.name == NAME_LABEL:
        value = "s.name"
    match matcher.op:
        case MatchOp.EQ:
            return f"{value} = {wanted}"
        case MatchOp.NE:
            return f"{value} <> {wanted}"
        case MatchOp.RE:
            return f"regexp_full_match({value}, {wanted}, 's')"
        case MatchOp.NRE:
            return f"NOT regexp_full_match({value}, {wanted}, 's')"


def _samples(block: HistoryFiles) -> str:
    return f"read_parquet({text(str(block.samples))})"


def _series(block: HistoryFiles) -> str:
    return f"read_parquet({text(str(block.series))})"


def _where(conditions: Sequence[str]) -> str:
    return "\n WHERE " + "\n AND ".join(conditions) if conditions else ""


def text(value: str) -> str:
    """Return a text as SQL writes it."""
    return "'" + value.replace("'", "''") + "'"
