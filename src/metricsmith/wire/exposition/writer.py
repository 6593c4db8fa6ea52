"""The writer: series and values to a document in either format."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from metricsmith.model.arrays import F64, I64
from metricsmith.model.labels import PAIR, VALUE, escape_value, split_key
from metricsmith.model.metadata import Metadata, MetricType
from metricsmith.wire.exposition.assembly import Family, assemble, fit
from metricsmith.wire.exposition.exposed import expose
from metricsmith.wire.exposition.formats import ExpositionFormat
from metricsmith.wire.exposition.series_text import LABEL, NAME

_NAME = re.compile(NAME.decode())
_LABEL = re.compile(LABEL.decode())
_PLAIN_KEY = re.compile(NAME + rb"(?:" + PAIR + LABEL + VALUE + rb'[^"\\\n' + PAIR + rb"]*)*")
_TEXT_TYPE = {
    MetricType.GAUGEHISTOGRAM: "untyped",
    MetricType.INFO: "gauge",
    MetricType.STATESET: "gauge",
    MetricType.UNKNOWN: "untyped",
}


class Document(NamedTuple):
    """A written document, and how many series it leaves out because they would stand there twice."""

    body: bytes
    left_out: int


def write_exposition(
    keys: Sequence[bytes],
    values: F64,
    metadata: Mapping[str, Metadata],
    format: ExpositionFormat,
    times_ms: I64 | None = None,
    *,
    utf8_names: bool = False,
    as_named: bool = False,
) -> Document:
    """Return a document of P series, each once, with what is known of their families.

    In both formats a counter's series gets `_total` when its name lacks it, but not when all is to be
    `as_named`. Names beyond the old character set are quoted with `utf8_names`, which not every reader
    understands, else get underscores.
    OpenMetrics is always valid: families that break its rules lose their type.

    Shapes:
        keys: P canonical keys.
        values, times_ms: (P,)
    Raises:
        ValueError: a series has no name, and so cannot be exposed.
    """
    strict = format is ExpositionFormat.OPENMETRICS
    rows, keys, metadata, left_out = expose(keys, metadata, utf8_names, as_named)
    if left_out:
        values, times_ms = values[rows], None if times_ms is None else times_ms[rows]
    families = assemble(keys, metadata)
    if strict:
        families = fit(families, keys, values, times_ms)
    tails = _tails(values, times_ms, strict)
    lines: list[str] = []
    for family in families:
        lines += _comments(family, strict)
        lines += [_series(keys[row]) + tails[row] for row in family.rows]
    if strict:
        lines.append("# EOF")
    return Document(("\n".join(lines) + "\n").encode() if lines else b"", left_out)


def history_lines(key: bytes, values: F64, times_ms: I64) -> bytes:
    """Return the lines of one series with all its samples, as OpenMetrics.

    Shapes:
        values, times_ms: (P,)
    Raises:
        ValueError: the series has no name, and so cannot be exposed.
    """
    series = _series(key)
    return "".join(f"{series}{tail}\n" for tail in _tails(values, times_ms, True)).encode()


def history_comments(name: str, known: Metadata) -> bytes:
    """Return what is told of the series of one name before their samples, as OpenMetrics.

    Only gauges keep their type: any values and any names are right for these.
    """
    kept = MetricType.GAUGE if known.type is MetricType.GAUGE else MetricType.UNKNOWN
    told = Family(name, Metadata(kept, known.unit, known.help))
    return "".join(f"{line}\n" for line in _comments(told, True)).encode()


def _comments(family: Family, strict: bool) -> Iterator[str]:
    known = family.metadata
    name = _quote(family.strict_name if strict else family.name, _NAME)
    if known.help:
        text = escape_value(known.help) if strict else known.help.replace("\\", r"\\").replace("\n", r"\n")
        yield f"# HELP {name} {text}"
    yield f"# TYPE {name} {known.type if strict else _TEXT_TYPE.get(known.type, known.type)}"
    if (
        strict
        and known.unit
        and family.strict_name.endswith(f"_{known.unit}")
        and known.type not in (MetricType.INFO, MetricType.STATESET)
    ):
        yield f"# UNIT {name} {known.unit}"


def _series(key: bytes) -> str:
    if _PLAIN_KEY.fullmatch(key):
        head, mark, rest = key.partition(PAIR)
        labels = b"{" + rest.replace(PAIR, b'",').replace(VALUE, b'="') + b'"}' if mark else b""
        return (head + labels).decode()
    name, pairs = split_key(key)
    if not name:
        raise ValueError(f"got the series {key!r} without a name, wanted only series that have one")
    terms = [f'{_quote(n.decode(), _LABEL)}="{escape_value(v.decode())}"' for n, v in pairs]
    text = name.decode()
    if not _NAME.fullmatch(text):
        return "{" + ",".join([f'"{escape_value(text)}"', *terms]) + "}"
    return f"{text}{{{','.join(terms)}}}" if terms else text


def _quote(name: str, plain: re.Pattern[str]) -> str:
    return name if plain.fullmatch(name) else f'"{escape_value(name)}"'


def _tails(values: F64, times_ms: I64 | None, strict: bool) -> list[str]:
    """What follows each series: blank, value and, when there are times, blank and timestamp."""
    numbers: list[Any] = pa.array(values).cast(pa.string()).to_pylist()
    for row in np.flatnonzero(~np.isfinite(values)).tolist():
        numbers[row] = "NaN" if np.isnan(values[row]) else ("+Inf" if values[row] > 0 else "-Inf")
    if times_ms is None:
        return [f" {number}" for number in numbers]
    times = times_ms.tolist()
    if strict:
        return [f" {n} {_seconds(t)}" for n, t in zip(numbers, times, strict=True)]
    return [f" {n} {t}" for n, t in zip(numbers, times, strict=True)]


def _seconds(millis: int) -> str:
    sign = "-" if millis < 0 else ""
    return f"{sign}{abs(millis) // 1000}.{abs(millis) % 1000:03d}"
