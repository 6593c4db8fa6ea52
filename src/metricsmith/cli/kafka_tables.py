"""Tables of a Kafka cluster, with bars; they fit a terminal of 80 columns."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from metricsmith.cli.table import printable
from metricsmith.model.duration import format_duration
from metricsmith.model.settings_types import format_size

if TYPE_CHECKING:
    from metricsmith.runtime.kafka_reports import LagRow, TopicRow
    from metricsmith.runtime.kafka_scores import BalanceRow, Health
    from metricsmith.sources.kafka.tombstone_counts import TombstoneCount

BAR_WIDTH = 10
WIDE = 10_000
MANY = 100
"""A rate from here on is shown without decimals."""
UNKNOWN = "?"
NEVER = "never"
_EIGHTHS = " ▏▎▍▌▋▊▉█"
SCORE_STYLES = ((80.0, "green"), (50.0, "yellow"), (-math.inf, "red"))
_REASON_STYLES = {
    "lost": "bold red",
    "stalled": "red",
    "idle": "red",
    "growing": "red",
    "stable": "yellow",
    "rewound": "yellow",
    "shrinking": "green",
    "caught_up": "green",
    "txn_tail": "green",
}


def bar(share: float | None, style: str = "cyan") -> Text:
    """Return a bar of fixed width; nothing where the share is not known.

    >>> bar(0.55).plain
    '█████▌    '
    """
    if share is None or not math.isfinite(share):
        return Text(" " * BAR_WIDTH)
    eighths = round(min(1.0, max(0.0, share)) * BAR_WIDTH * 8)
    if not eighths and share > 0:
        eighths = 1  # little is not nothing
    whole, rest = divmod(eighths, 8)
    return Text(("█" * whole + _EIGHTHS[rest].strip()).ljust(BAR_WIDTH), style=style)


def number(value: float | None) -> str:
    """Return a count for people: all digits up to a million, then a unit.

    >>> number(12345), number(2_500_000), number(None)
    ('12,345', '2.50M', '?')
    """
    if value is None:
        return UNKNOWN
    for unit, size in (("T", 1e12), ("G", 1e9), ("M", 1e6)):
        if value >= size:
            return f"{value / size:.2f}{unit}"
    return f"{value:,.0f}"


def duration(seconds: float | None) -> str:
    """Return a time for people, its two largest units; +Inf is never.

    >>> duration(0.25), duration(93_784.0), duration(math.inf), duration(None)
    ('250ms', '1d2h', 'never', '?')
    """
    if seconds is None:
        return UNKNOWN
    if math.isinf(seconds):
        return NEVER
    if seconds < 1:
        return f"{seconds * 1000:.0f}ms" if seconds else "0s"
    for unit, smaller in ((86_400, 3600), (3600, 60)):
        if seconds >= unit:
            return format_duration(int(seconds // smaller * smaller) * 1000)
    return format_duration(int(seconds) * 1000)


def fitted(table: Table, console: Console) -> Table:
    """Return a table, without its bars where names would be folded to make room for them."""
    wide = console.options.update(max_width=WIDE)
    if console.measure(table, options=wide).maximum > console.width:
        table.columns = [column for column in table.columns if column.header]
    return table


def topic_table(rows: Sequence[TopicRow]) -> Table:
    """Return topics with sizes, rates and settings; the bar compares sizes."""
    largest = max((row.bytes or 0 for row in rows), default=0)
    table = _table(
        "topic", "part", "repl", "under", "off", "records", "bytes", "|", "rec/s", "keep", "*policy"
    )
    table.collapse_padding = True  # it has many columns
    for row in rows:
        table.add_row(
            printable(row.topic),
            str(row.partitions),
            str(row.replicas),
            _count(row.under_replicated, "yellow"),
            _count(row.offline, "red"),
            number(row.records),
            UNKNOWN if row.bytes is None else format_size(row.bytes),
            bar(row.bytes / largest if row.bytes is not None and largest else None),
            _rate(row.records_per_second),
            _retention(row),
            printable(row.cleanup_policy or UNKNOWN),
        )
    return table


def _rate(value: float | None) -> str:
    return f"{value:.1f}" if value is not None and value < MANY else number(value)


def _retention(row: TopicRow) -> str:
    seconds, size = row.retention_seconds, row.retention_bytes
    if seconds is None and size is None:
        return UNKNOWN
    if "delete" not in (row.cleanup_policy or "delete"):
        return "-"  # compaction alone keeps the last record of each key, whatever its age
    limits = [] if seconds is None or math.isinf(seconds) else [duration(seconds)]
    if size is not None and math.isfinite(size):
        limits.append(format_size(size))
    return "/".join(limits) or "ever"


def lag_table(rows: Sequence[LagRow], partitions: bool) -> Table:
    """Return how far groups are behind; the bar compares lags."""
    shown = [row for row in rows if partitions or row.partition is None]
    largest = max((row.lag or 0 for row in shown), default=0)
    table = _table(
        "group", "*topic", *(["part"] if partitions else []), "lag", "|", "behind", "gone in", "*reason"
    )
    for row in shown:
        table.add_row(
            printable(row.group),
            printable(row.topic),
            *([_partition(row.partition)] if partitions else []),
            number(row.lag),
            bar(row.lag / largest if row.lag is not None and largest else None),
            ("≥ " if row.at_least else "") + duration(row.lag_seconds),
            duration(row.catch_up_seconds),
            Text(row.reason.value, style=_REASON_STYLES.get(row.reason.value, "")),
            style="bold" if partitions and row.partition is None else "",
        )
    return table


def tombstone_table(counts: Sequence[TombstoneCount], partitions: bool) -> Table:
    """Return ratios of tombstones with their intervals; the bar is the ratio."""
    table = _table(
        "topic",
        *(["part"] if partitions else []),
        "read",
        "tombst.",
        "empty",
        "ratio",
        "|",
        "95 %",
        "coverage",
    )
    for one in counts:
        if not partitions and one.partition is not None:
            continue
        share = None if one.ratio_percent is None else one.ratio_percent / 100
        table.add_row(
            printable(one.topic),
            *([_partition(one.partition)] if partitions else []),
            number(one.records),
            number(one.tombstones),
            number(one.empty_values),
            UNKNOWN if one.ratio_percent is None else f"{one.ratio_percent:.1f} %",
            bar(share, "magenta"),
            _interval(one),
            f"{100 * one.coverage:.3g} %",
            style="bold" if partitions and one.partition is None else "",
        )
    return table


def balance_table(rows: Sequence[BalanceRow]) -> Table:
    """Return scores of brokers and topics; the bar is the score."""
    table = _table("topic", "*of", "score", "|")
    for row in rows:
        table.add_row(
            Text("(brokers)", style="dim") if row.topic is None else printable(row.topic),
            row.kind,
            f"{row.score:.1f}",
            _score_bar(row.score),
        )
    return table


def health_table(found: Health) -> Group:
    """Return the score, its components, and the worst topics and groups."""
    whole = _table("*", "score", "|", "*")
    sure = UNKNOWN if found.confidence is None else f"{found.confidence:.3g}"
    whole.add_row("cluster", _score(found.score), _score_bar(found.score), f"confidence {sure}", style="bold")
    parts = _table("component", "score", "|", "weight", "input")
    for one in found.components:
        given = UNKNOWN if one.input is None else f"{one.input:,.5g}"
        weight = UNKNOWN if one.weight is None else f"{one.weight:g}"
        parts.add_row(one.name, _score(one.score), _score_bar(one.score), weight, given)
    worst = _table("worst", "*", "score", "|")
    for scope, name, score in found.worst:
        worst.add_row(scope, printable(name), _score(score), _score_bar(score))
    whole.show_header = False
    return Group(whole, "", parts, "", worst) if found.worst else Group(whole, "", parts)


def _score(score: float | None) -> str:
    return UNKNOWN if score is None else f"{score:.1f}"


def _score_bar(score: float | None) -> Text:
    if score is None:
        return bar(None)
    style = next(style for least, style in SCORE_STYLES if score >= least)
    return bar(score / 100, style)


def _interval(one: TombstoneCount) -> str:
    if one.interval_low is None or one.interval_high is None:
        return UNKNOWN
    return f"{one.interval_low:.1f}–{one.interval_high:.1f}"


def _partition(number: int | None) -> str:
    return "all" if number is None else str(number)


def _count(value: int, style: str) -> Text:
    return Text(str(value), style=style if value else "")


def _table(*columns: str) -> Table:
    """A table: names fold, `*` marks words, `|` a bar, all else are numbers."""
    table = Table(box=None, pad_edge=False, padding=(0, 1))
    for place, column in enumerate(columns):
        if column == "|":
            table.add_column("", no_wrap=True, min_width=BAR_WIDTH)
        elif column == "*reason":
            table.add_column("reason", no_wrap=True)
        elif not place or column.startswith("*"):
            table.add_column(column.lstrip("*"), overflow="fold")
        else:
            table.add_column(column, justify="right", no_wrap=True)
    return table
