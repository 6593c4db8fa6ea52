"""What the author of a collector should know of the names and labels that it gives."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from metricsmith.model.metadata import Metadata, MetricType
from metricsmith.sources.python.values import Name

MANY_VALUES = 50
"""So many values of one label are asked about."""
_METRIC = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_UNITS = {
    "ms": "seconds", "millis": "seconds", "milliseconds": "seconds", "us": "seconds",
    "microseconds": "seconds", "ns": "seconds", "nanoseconds": "seconds", "sec": "seconds", "secs": "seconds",
    "minutes": "seconds", "hours": "seconds", "days": "seconds", "kb": "bytes", "kib": "bytes",
    "kilobytes": "bytes", "mb": "bytes", "mib": "bytes", "megabytes": "bytes", "gb": "bytes",
    "gib": "bytes", "gigabytes": "bytes", "bits": "bytes",
}  # fmt: skip
_SIZED = {
    **dict.fromkeys(("duration", "latency", "age", "delay", "elapsed", "uptime", "time"), "seconds"),
    **dict.fromkeys(("size", "memory", "heap", "rss"), "bytes"),
}
"""Last words of names that say what is measured, and not in which unit."""
_STATE_WORD = re.compile(r"(^|_)(up|state|status|active|enabled|connected|healthy|running|ready|depth)$")
_STATE_HELP = re.compile(r"(shows? |says? |tells? )?(whether|if) |1 (if|when|while) ", re.IGNORECASE)
_LIKE_AN_ID = re.compile(
    r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F-]{18,}|[0-9a-fA-F]{24,}|\d{9,}|[^@\s]+@[^@\s]+\.\w+"
    r"|\d{4}-\d\d-\d\d[T ].*|\w+://.*\?.*"
)
_PARTS = ("_bucket", "_count", "_sum", "_created")
_COMPOUND = (MetricType.HISTOGRAM, MetricType.GAUGEHISTOGRAM, MetricType.SUMMARY)


def advice(names: Sequence[Name], metadata: Mapping[str, Metadata]) -> list[str]:
    """Return warnings on samples and what is known of their families, in the order of the families.

    Source:
        Prometheus' naming conventions, and what `promtool check metrics` says.
    """
    said = dict.fromkeys(line for name, known in metadata.items() for line in _family(name, known))
    said |= dict.fromkeys(_untyped({metric for metric, _ in names}, metadata))
    said |= dict.fromkeys(_labels(names))
    return list(said)


def _family(name: str, known: Metadata) -> Iterator[str]:
    if not _METRIC.fullmatch(name):
        yield f"{name}: a name has letters, digits and _ only, and begins with no digit"
    elif ":" in name:
        yield f"{name}: colons are for what rules record"
    elif name != name.lower():
        yield f"{name}: names are lower_case_with_underscores"
    if not known.help:
        yield f"{name}: has no help"
    if known.type is MetricType.COUNTER:
        if _is_state(name, known):
            yield f"{name}: a state goes up and down: make it a gauge"
        if not name.endswith("_total"):
            yield f"{name}: a counter's name ends in _total"
    elif name.endswith("_total"):
        yield f"{name}: only a counter's name ends in _total"
    yield from _unit(name, known)


def _is_state(name: str, known: Metadata) -> bool:
    plain = name.removesuffix("_total")
    return _STATE_WORD.search(plain) is not None or _STATE_HELP.match(known.help) is not None


def _unit(name: str, known: Metadata) -> Iterator[str]:
    words = name.removesuffix("_total").removesuffix("_info").lower().split("_")
    for word in words:
        if word in _UNITS:
            yield f"{name}: give it in {_UNITS[word]}, not in {word}"
            return
    if words[-1] in _SIZED and known.type is not MetricType.INFO:
        yield f"{name}: has no unit: end the name in _{_SIZED[words[-1]]} if it is that"
    elif known.unit and known.unit not in words:
        yield f"{name}: its unit is {known.unit}: the name says so, too, at its end"


def _untyped(given: set[str], metadata: Mapping[str, Metadata]) -> Iterator[str]:
    for name in sorted(given):
        family = next((name.removesuffix(p) for p in _PARTS if name.removesuffix(p) in metadata), name)
        known = metadata.get(name) or metadata.get(family)
        if known is None or known.type is MetricType.UNKNOWN:
            yield f"{name}: has no type: give gauge(…) or counter(…) of metricsmith.collector"
        if known is None:
            yield from (line for line in _family(name, Metadata(help="-")))


def _labels(names: Iterable[Name]) -> Iterator[str]:
    values: dict[tuple[str, str], set[str]] = defaultdict(set)
    for metric, labels in names:
        for label, value in labels:
            values[metric, label].add(value)
    for (metric, label), found in sorted(values.items()):
        if not _LABEL.fullmatch(label):
            yield f"{metric}: label {label}: has letters, digits and _ only, and begins with no digit"
        elif label.startswith("__"):
            yield f"{metric}: label {label}: names that begin with __ are not for you"
        if label in ("le", "quantile"):
            continue
        if len(found) > MANY_VALUES:
            yield f"{metric}: label {label} has {len(found)} values: each is a series that is kept"
        elif any(_LIKE_AN_ID.fullmatch(value) for value in found):
            example = next(value for value in sorted(found) if _LIKE_AN_ID.fullmatch(value))
            yield f"{metric}: label {label} looks like an id ({example:.40}): new values are new series"
