"""Series to families, as a document must have them: together, grouped, of a type that their values allow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from metricsmith.model.arrays import F64, I64
from metricsmith.model.labels import PAIR
from metricsmith.model.metadata import Metadata, MetricType
from metricsmith.wire.exposition.comments import Comment
from metricsmith.wire.exposition.families import STRICT_SUFFIX
from metricsmith.wire.exposition.rules import SUFFIXES, check_structure, take_label
from metricsmith.wire.exposition.value_rules import Broken

_UNKNOWN = Metadata()
_COMPOUND = (MetricType.HISTOGRAM, MetricType.GAUGEHISTOGRAM, MetricType.SUMMARY)
_SAMPLE_ORDER = {b"": 0, b"_bucket": 1}


@dataclass(slots=True)
class Family:
    """One family to write: `rows` are the indices of its samples in order, `names` theirs.

    `name` is the text format's; counters end in `_total`, infos in `_info`.
    """

    name: str
    metadata: Metadata
    rows: list[int] = field(default_factory=list)
    names: set[str] = field(default_factory=set)

    @property
    def strict_name(self) -> str:
        """The name in OpenMetrics."""
        return self.name.removesuffix(STRICT_SUFFIX.get(self.metadata.type, ""))

    @property
    def strict_names(self) -> set[str]:
        """The names that its samples may have in OpenMetrics."""
        return {self.strict_name + s.decode() for s in SUFFIXES.get(self.metadata.type, (b"",))}

    @property
    def claimed(self) -> set[str]:
        """Names that no other family of an OpenMetrics document may have."""
        return {self.strict_name, *self.strict_names, *self.names}


def assemble(keys: Sequence[bytes], metadata: Mapping[str, Metadata]) -> list[Family]:
    """Return the families of series, in the order in which they come first."""
    owners: dict[bytes, Family] = {}
    families: dict[str, Family] = {}
    for row, key in enumerate(keys):
        name = key.partition(PAIR)[0]
        family = owners.get(name)
        if family is None:
            owner, known = _owner(name.decode(), metadata)
            family = owners[name] = families.setdefault(owner, Family(owner, known))
            family.names.add(name.decode())
        family.rows.append(row)
    for family in families.values():
        if family.metadata.type in _COMPOUND:
            family.rows = _grouped(family, keys)
    return list(families.values())


def fit(families: Sequence[Family], keys: Sequence[bytes], values: F64, times_ms: I64 | None) -> list[Family]:
    """Return families that together make a valid OpenMetrics document.

    A family whose series or values break the rules of its type (a histogram without its `+Inf`
    bucket, a counter that is NaN), or whose name another one claims, is split into families of unknown
    type, one per series name: better without a type than a document that nobody can read.
    """
    claims: dict[str, int] = {}
    for family in families:
        for name in family.claimed:
            claims[name] = claims.get(name, 0) + 1
    result: list[Family] = []
    for family in families:
        alone = all(claims[name] == 1 for name in family.claimed)
        if alone and _valid(family, keys, values, times_ms):
            result.append(family)
        else:
            result += _split(family, keys)
    return result


def _owner(name: str, metadata: Mapping[str, Metadata]) -> tuple[str, Metadata]:
    """The family that a series name belongs to, itself when nothing is known."""
    if name in metadata:
        return name, metadata[name]
    for type_, suffixes in SUFFIXES.items():
        for suffix in filter(None, suffixes):
            if name.endswith(suffix.decode()):
                family = name.removesuffix(suffix.decode()) + STRICT_SUFFIX.get(type_, "")
                if family in metadata and metadata[family].type is type_:
                    return family, metadata[family]
    return name, _UNKNOWN


def _grouped(family: Family, keys: Sequence[bytes]) -> list[int]:
    """Rows of a histogram or summary: label sets together, buckets by bound, then sum and count."""
    ranks: dict[bytes, int] = {}

    def position(row: int) -> tuple[int, int, float]:
        name, _, rest = keys[row].partition(PAIR)
        suffix = name[len(family.name.encode()) :]
        bound, group = take_label(rest, b"quantile" if suffix == b"" else b"le")
        rank = ranks.setdefault(group, len(ranks))
        try:
            return rank, _SAMPLE_ORDER.get(suffix, 2), float(bound or 0)
        except ValueError:
            return rank, _SAMPLE_ORDER.get(suffix, 2), 0.0

    return sorted(family.rows, key=position)


def _valid(family: Family, keys: Sequence[bytes], values: F64, times_ms: I64 | None) -> bool:
    """Whether OpenMetrics' rules allow the family's samples under its type."""
    if not family.names <= family.strict_names:
        return False
    comment = Comment(0, "TYPE", family.strict_name.encode(), "", family.metadata.type)
    rows = np.array(family.rows, dtype=np.int64)
    seconds = np.empty(0) if times_ms is None else times_ms[rows] / 1000.0
    timed = np.full(len(rows), times_ms is not None)
    moved = np.diff(seconds, prepend=np.nan) != 0 if len(seconds) else timed
    try:
        lines = list(range(1, len(rows) + 1))
        series = [keys[row] for row in family.rows]
        rules, _ = check_structure([comment], lines, series, timed, moved, {})
        rules.check(values[rows], seconds)
    except Broken:
        return False
    return True


def _split(family: Family, keys: Sequence[bytes]) -> list[Family]:
    parts: dict[str, Family] = {}
    plain = replace(family.metadata, type=MetricType.UNKNOWN)
    for row in family.rows:
        name = keys[row].partition(PAIR)[0].decode()
        parts.setdefault(name, Family(name, plain, names={name})).rows.append(row)
    return list(parts.values())
